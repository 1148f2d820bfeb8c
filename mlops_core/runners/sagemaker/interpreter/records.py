"""What is kept of an execution, in the service's words: statuses, failure reasons, metadata, cache hits."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from mlops_core.workspace.artifacts import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

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


class StepStatus(StrEnum):
    """How a step stands; steps that were never started have no record, as in the service."""

    STARTING = "Starting"
    EXECUTING = "Executing"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExecution:
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
    status: StepStatus
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
    steps: tuple[StepExecution, ...] = ()

    @property
    def execution_id(self) -> str:
        """The last part of the ARN."""
        return self.arn.rpartition("/")[2]

    def step(self, name: str) -> StepExecution | None:
        """Return the step `name`, if it was started."""
        return next((step for step in self.steps if step.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types only."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExecutionRecord:
        """Return the record that `to_json` wrote."""
        steps = tuple(
            StepExecution(**{**step, "status": StepStatus(step["status"]), "logs": tuple(step["logs"])})
            for step in data["steps"]
        )
        return cls(**{**data, "status": ExecutionStatus(data["status"]), "steps": steps})


class ExecutionHistory(Protocol):
    """Keeps the records of executions."""

    def save(self, record: ExecutionRecord) -> None:
        """Keep the newest state of an execution."""

    def newest_first(self, pipeline: str) -> Iterator[ExecutionRecord]:
        """Yield the executions of a pipeline."""


class FolderHistory:
    """Keeps each record as ``<folder>/<execution id>/execution.json``."""

    def __init__(self, folder: Path) -> None:
        """Keep them in `folder`."""
        self.folder = folder

    def execution_folder(self, execution_id: str) -> Path:
        """Return the folder of an execution, which exists."""
        path = self.folder / execution_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def save(self, record: ExecutionRecord) -> None:
        """Write the record in place of its former state."""
        path = self.execution_folder(record.execution_id) / "execution.json"
        write_atomically(path, json.dumps(record.to_json(), indent=1, ensure_ascii=False))

    def newest_first(self, pipeline: str) -> Iterator[ExecutionRecord]:
        """Yield the executions of a pipeline, that which changed last first; a record is read when it is asked for."""
        paths = sorted(self.folder.glob("*/execution.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in paths:
            record = ExecutionRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
            if record.pipeline == pipeline:
                yield record


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the microsecond."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
