"""The checks, one module a phase, in the order of a pipeline's life; `mlops_core.testing.checks` collects them."""
