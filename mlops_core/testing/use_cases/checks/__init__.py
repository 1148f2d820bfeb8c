"""The checks of use cases, one module per phase; `mlops_core.testing.use_cases.registry` collects them."""
