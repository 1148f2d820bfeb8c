"""The service's own model, as botocore ships it: which arguments a step takes and which properties it has.

The only module of the checker that imports botocore; nothing is asked of the network.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any, TypeAlias

Shape: TypeAlias = Any
"""A botocore shape."""

ARGUMENTS = {
    "Processing": "CreateProcessingJobRequest",
    "Training": "CreateTrainingJobRequest",
    "Transform": "CreateTransformJobRequest",
    "Model": "CreateModelInput",
    "RegisterModel": "CreateModelPackageInput",
    "Tuning": "CreateHyperParameterTuningJobRequest",
    "AutoML": "CreateAutoMLJobRequest",
}
PROPERTIES = {
    "Processing": ("DescribeProcessingJobResponse",),
    "Training": ("DescribeTrainingJobResponse",),
    "Transform": ("DescribeTransformJobResponse",),
    "Model": ("DescribeModelOutput",),
    "RegisterModel": ("DescribeModelPackageOutput",),
    "Tuning": (
        "DescribeHyperParameterTuningJobResponse",
        "ListTrainingJobsForHyperParameterTuningJobResponse",
    ),
    "AutoML": ("DescribeAutoMLJobResponse",),
}
OPTIONAL = {
    "CreateProcessingJobRequest": ("ProcessingJobName",),
    "CreateTrainingJobRequest": ("TrainingJobName",),
    "CreateTransformJobRequest": ("TransformJobName",),
    "CreateModelInput": ("ModelName",),
    "CreateHyperParameterTuningJobRequest": ("HyperParameterTuningJobName",),
    "CreateAutoMLJobRequest": ("AutoMLJobName",),
}
"""Required by the calls themselves, and given by the service when a pipeline makes them."""


def has_service_model() -> bool:
    """Tell whether botocore is installed."""
    return importlib.util.find_spec("botocore") is not None


class ServiceModel:
    """Shapes by step type."""

    def arguments(self, step_type: str) -> Shape | None:
        """Return the shape of a step's arguments; None for types whose arguments are not a call's."""
        name = ARGUMENTS.get(step_type)
        return _model().shape_for(name) if name else None

    def properties(self, step_type: str) -> tuple[Shape, ...]:
        """Return the shapes whose members are a step's properties; empty where they are not known."""
        return tuple(_model().shape_for(name) for name in PROPERTIES.get(step_type, ()))


@cache
def _model() -> Any:
    from botocore.session import Session

    return Session().get_service_model("sagemaker")
