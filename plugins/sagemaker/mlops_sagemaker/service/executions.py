"""What is kept of an execution, in the service's words: statuses, failure reasons, metadata, cache hits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ANY_STEP_FAILED = "Step failure: One or multiple steps failed."


class ExecutionStatus(StrEnum):
    """How an execution stands."""

    EXECUTING = "Executing"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"

    @property
    def is_final(self) -> bool:
        """Whether it can change no more."""
        return self not in (ExecutionStatus.EXECUTING, ExecutionStatus.STOPPING)


class ExecutionStepStatus(StrEnum):
    """How a step stands; steps that were never started have no record, as in the service."""

    STARTING = "Starting"
    EXECUTING = "Executing"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStep:
    """One step of an execution.

    Attributes:
        name: of the step.
        type: of the step, for example ``Processing``.
        status: how it stands.
        start: ISO 8601, UTC.
        end: the same; empty while it runs.
        attempts: how often it was started.
        failure: the failure reason; empty when there is none.
        metadata: what the service lists for its type, for example ``{"Condition": {"Outcome": "True"}}``.
        cache_source: ARN of the execution whose result was taken; empty when it was executed.
        signature: digest of the arguments that decide whether a result may be taken again.
        properties: what the service would describe of the finished job.
        logs: paths of its log files, relative to the execution's folder.
    """

    name: str
    type: str
    status: ExecutionStepStatus
    start: str
    end: str = ""
    attempts: int = 1
    failure: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    cache_source: str = ""
    signature: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    logs: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return it as ``ListPipelineExecutionSteps`` lists it."""
        listed: dict[str, Any] = {
            "StepName": self.name,
            "StepDisplayName": self.name,
            "StartTime": self.start,
            "EndTime": self.end,
            "StepStatus": str(self.status),
            "AttemptCount": self.attempts,
            "FailureReason": self.failure,
            "Metadata": dict(self.metadata),
        }
        if self.cache_source:
            listed["CacheHitResult"] = {"SourcePipelineExecutionArn": self.cache_source}
        return {name: value for name, value in listed.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """One execution.

    Attributes:
        arn: of the execution.
        pipeline: name of the pipeline.
        status: how it stands.
        start: ISO 8601, UTC.
        end: the same; empty while it runs.
        parameters: the value of each parameter.
        failure: the failure reason; empty when there is none.
        steps: in the order in which they were started.
    """

    arn: str
    pipeline: str
    status: ExecutionStatus
    start: str
    end: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    steps: tuple[ExecutionStep, ...] = ()

    @property
    def execution_id(self) -> str:
        """The last part of the ARN."""
        return self.arn.rpartition("/")[2]

    def step(self, name: str) -> ExecutionStep | None:
        """Return the step `name`, if it was started."""
        return next((step for step in self.steps if step.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types only."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExecutionRecord:
        """Return the record that `to_json` wrote."""
        steps = tuple(
            ExecutionStep(**{**step, "status": ExecutionStepStatus(step["status"]), "logs": tuple(step["logs"])})
            for step in data["steps"]
        )
        return cls(**{**data, "status": ExecutionStatus(data["status"]), "steps": steps})
