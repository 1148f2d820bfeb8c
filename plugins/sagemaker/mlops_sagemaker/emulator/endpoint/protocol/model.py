"""botocore's service model of SageMaker."""

from __future__ import annotations

import functools
from typing import Any

import botocore.session


@functools.cache
def service_model() -> Any:
    """Return the service model; loading it takes a moment."""
    return botocore.session.Session().get_service_model("sagemaker")


@functools.cache
def operations() -> frozenset[str]:
    """Return the names of all operations of the service."""
    return frozenset(service_model().operation_names)


def input_shape(operation: str) -> Any:
    """Return the shape of an operation's request."""
    return service_model().operation_model(operation).input_shape


def output_shape(operation: str) -> Any:
    """Return the shape of an operation's response; None if it is empty."""
    return service_model().operation_model(operation).output_shape
