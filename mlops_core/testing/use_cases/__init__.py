"""The contract kit for use cases: what an author declares, the session of one use case, and the checks."""
