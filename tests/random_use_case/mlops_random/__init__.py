"""A use case whose steps, metrics and gate are drawn from a seed, to compare runners on many pipelines."""
