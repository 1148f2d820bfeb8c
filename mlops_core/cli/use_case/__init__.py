"""Commands that run a use case."""
