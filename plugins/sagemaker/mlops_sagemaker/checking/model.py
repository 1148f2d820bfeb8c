"""The service model of botocore: the arguments and properties of steps, by type.

This is the only module of the checker that imports botocore; it makes no network requests.
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
    "ClarifyCheck": "CreateProcessingJobRequest",
    "QualityCheck": "CreateProcessingJobRequest",
    "EndpointConfig": "CreateEndpointConfigInput",
    "Endpoint": "CreateEndpointInput",
    "InferenceComponent": "CreateInferenceComponentInput",
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
    "EndpointConfig": ("DescribeEndpointConfigOutput",),
    "Endpoint": ("DescribeEndpointOutput",),
    "InferenceComponent": ("DescribeInferenceComponentOutput",),
}
OPTIONAL = {
    "CreateProcessingJobRequest": ("ProcessingJobName",),
    "CreateTrainingJobRequest": ("TrainingJobName",),
    "CreateTransformJobRequest": ("TransformJobName",),
    "CreateModelInput": ("ModelName",),
    "CreateHyperParameterTuningJobRequest": ("HyperParameterTuningJobName",),
    "CreateAutoMLJobRequest": ("AutoMLJobName",),
    "CreateEndpointConfigInput": ("EndpointConfigName",),
    "CreateEndpointInput": ("EndpointName",),
    "CreateInferenceComponentInput": ("InferenceComponentName",),
}
"""Arguments that the operations require, but that the service sets for steps of a pipeline."""


def has_service_model() -> bool:
    """Return whether botocore is installed."""
    return importlib.util.find_spec("botocore") is not None


class ServiceModel:
    """The shapes of arguments and properties, by step type."""

    def arguments(self, step_type: str) -> Shape | None:
        """Return the shape of a step's arguments; None if the type has no operation."""
        name = ARGUMENTS.get(step_type)
        return _model().shape_for(name) if name else None

    def properties(self, step_type: str) -> tuple[Shape, ...]:
        """Return the shapes whose members are the properties of a step; empty if they are unknown."""
        return tuple(_model().shape_for(name) for name in PROPERTIES.get(step_type, ()))


@cache
def _model() -> Any:
    from botocore.session import Session

    return Session().get_service_model("sagemaker")
