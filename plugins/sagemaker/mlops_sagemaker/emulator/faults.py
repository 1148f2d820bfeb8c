"""Failures of steps in the terms of the service, and the retry policies that apply to them."""

from __future__ import annotations

from enum import StrEnum


class FaultKind(StrEnum):
    """The kind of a failure, with which its failure reason begins."""

    CLIENT = "ClientError"
    ALGORITHM = "AlgorithmError"
    INTERNAL = "InternalServerError"
    CAPACITY = "CapacityError"
    LIMIT = "ResourceLimitExceeded"
    THROTTLING = "ThrottlingException"
    SERVICE = "ServiceFault"


RETRIED_BY = {
    FaultKind.INTERNAL: "SageMaker.JOB_INTERNAL_ERROR",
    FaultKind.CAPACITY: "SageMaker.CAPACITY_ERROR",
    FaultKind.LIMIT: "SageMaker.RESOURCE_LIMIT",
    FaultKind.THROTTLING: "Step.THROTTLING",
    FaultKind.SERVICE: "Step.SERVICE_FAULT",
}
"""Exception type in retry policies, by kind of fault. Faults of the user's code or arguments are never retried."""


class StepFault(Exception):  # noqa: N818  a term of the service; it becomes a failure reason, never a traceback
    """A failure of a step; its text is the failure reason."""

    def __init__(self, kind: FaultKind, text: str) -> None:
        """Create a fault; retry policies depend on its kind."""
        self.kind = kind
        super().__init__(f"{kind}: {text}")


class StepStopped(Exception):  # noqa: N818  not an error
    """The execution was stopped while the step ran."""
