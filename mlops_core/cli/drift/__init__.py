"""Commands of drift detection without a server."""
