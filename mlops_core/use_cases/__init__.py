"""Use cases: discovery from package metadata, and the façade over pluggy."""
