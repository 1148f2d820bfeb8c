"""A use case whose steps, metrics and gate are drawn from a number, to compare runners on many different pipelines."""
