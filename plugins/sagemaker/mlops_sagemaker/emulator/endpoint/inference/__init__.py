"""Models that the endpoint serves: transform jobs, and the endpoints of ``CreateEndpoint`` with their invocations."""
