"""The pipeline for clips with several labels: that for single labels, with one sigmoid per class and other metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_aed import pipeline_steps
from mlops_core import Parameter, ParameterType

if TYPE_CHECKING:
    from mlops_aed.config import AedConfig
    from mlops_core import Step

_OTHER_CODE = {
    "mlops_aed.steps.train:train": "mlops_aed.steps.train_labels:train",
    "mlops_aed.steps.evaluate:evaluate": "mlops_aed.steps.evaluate_labels:evaluate",
    "mlops_aed.steps.evaluate:compare": "mlops_aed.steps.evaluate_labels:compare",
}


def steps(config: AedConfig) -> tuple[Step, ...]:
    """Return split → preprocess → train (or load) → quantize, if asked → evaluate."""
    return tuple(replace(step, run=_OTHER_CODE.get(step.run, step.run)) for step in pipeline_steps.steps(config))


def parameter() -> Parameter:
    """Return the threshold of the gate."""
    from mlops_aed.evaluation.multilabel import MAP_THRESHOLD

    return Parameter(
        name=MAP_THRESHOLD,
        type=ParameterType.FLOAT,
        default=0.3,
        minimum=0,
        maximum=1,
        description="The mean average precision that a model must reach.",
    )
