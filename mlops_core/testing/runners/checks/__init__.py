"""The checks of runners, one module per phase; `mlops_core.testing.runners.registry` collects them."""
