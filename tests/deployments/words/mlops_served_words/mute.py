"""A use case without a predictor."""

from mlops_toy.plugin import (  # noqa: F401
    mlops_compute_metrics,
    mlops_get_config_model,
    mlops_get_datasets,
    mlops_get_gate,
    mlops_get_metrics,
    mlops_get_steps,
)
