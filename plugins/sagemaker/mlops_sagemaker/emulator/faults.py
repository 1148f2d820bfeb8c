"""Why a step of an execution failed, in the service's words; which retry policies answer which failure."""

from __future__ import annotations

from enum import StrEnum


class FaultKind(StrEnum):
    """The beginning of a failure reason."""

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
"""Fault -> exception type of a retry policy. A fault of the user's own code or call is never retried."""


class StepFault(Exception):  # noqa: N818  the service's word; it becomes a failure reason and never reaches a user as an exception
    """A step failed; the text is its failure reason after the kind."""

    def __init__(self, kind: FaultKind, text: str) -> None:
        """Keep kind and text apart, since retry policies look at the kind."""
        self.kind = kind
        super().__init__(f"{kind}: {text}")


class StepStopped(Exception):  # noqa: N818  no fault either
    """The execution was stopped while the step ran."""
