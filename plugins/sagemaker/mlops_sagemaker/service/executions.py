"""Records of executions in the terms of the service: statuses, failure reasons, metadata, cache hits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ANY_STEP_FAILED = "Step failure: One or multiple steps failed."


class ExecutionStatus(StrEnum):
    """Status of an execution."""

    EXECUTING = "Executing"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"

    @property
    def is_final(self) -> bool:
        """Whether the status can no longer change."""
        return self not in (ExecutionStatus.EXECUTING, ExecutionStatus.STOPPING)


class ExecutionStepStatus(StrEnum):
    """Status of a step; as in the service, steps that were never started have no record."""

    STARTING = "Starting"
    EXECUTING = "Executing"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStep:
    """A step of an execution.

    Attributes:
        name: name of the step.
        type: type of the step, for example ``Processing``.
        status: status of the step.
        start: start time, ISO 8601 in UTC.
        end: end time, ISO 8601 in UTC; empty while the step runs.
        attempts: number of attempts.
        failure: failure reason; empty if the step did not fail.
        metadata: metadata that the service lists for the type, for example ``{"Condition": {"Outcome": "True"}}``.
        cache_source: ARN of the execution whose result was reused; empty if the step was executed.
        signature: digest of the arguments that determine whether a result can be reused.
        properties: properties that the service would describe for the finished job.
        logs: paths of the log files, relative to the folder of logs.
        display_name: display name of the definition; empty for the name of the step.
        description: description of the definition.
        selected_from: ARN of the execution whose result a selective execution uses; empty if there is none.
        written: ``s3://`` URIs of the objects and prefixes that the step wrote.
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
    display_name: str = ""
    description: str = ""
    selected_from: str = ""
    written: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return the step in the form of ``ListPipelineExecutionSteps``."""
        listed: dict[str, Any] = {
            "StepName": self.name,
            "StepDisplayName": self.display_name or self.name,
            "StepDescription": self.description,
            "StartTime": self.start,
            "EndTime": self.end,
            "StepStatus": str(self.status),
            "AttemptCount": self.attempts,
            "FailureReason": self.failure,
            "Metadata": dict(self.metadata),
        }
        if self.cache_source:
            listed["CacheHitResult"] = {"SourcePipelineExecutionArn": self.cache_source}
        if self.selected_from:
            listed["SelectiveExecutionResult"] = {"SourcePipelineExecutionArn": self.selected_from}
        return {name: value for name, value in listed.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """An execution of a pipeline.

    Attributes:
        arn: ARN of the execution.
        pipeline: name of the pipeline.
        status: status of the execution.
        start: start time, ISO 8601 in UTC.
        end: end time, ISO 8601 in UTC; empty while the execution runs.
        parameters: parameter values by name.
        failure: failure reason; empty if the execution did not fail.
        steps: steps in the order in which they were started.
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
        """The ID of the execution, which is the last part of its ARN."""
        return self.arn.rpartition("/")[2]

    def step(self, name: str) -> ExecutionStep | None:
        """Return a step by name; None if it was not started."""
        return next((step for step in self.steps if step.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExecutionRecord:
        """Return the record from the result of `to_json`."""
        steps = tuple(
            ExecutionStep(
                **{
                    **step,
                    "status": ExecutionStepStatus(step["status"]),
                    "logs": tuple(step["logs"]),
                    "written": tuple(step.get("written", ())),
                }
            )
            for step in data["steps"]
        )
        return cls(**{**data, "status": ExecutionStatus(data["status"]), "steps": steps})
