"""What an execution of a job leaves behind: the states of its nodes and trials, as JSON."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class JobStatus(StrEnum):
    """The states of jobs and nodes that occur here, as the service names them."""

    NOT_STARTED = "NotStarted"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"

    @property
    def is_final(self) -> bool:
        """Whether it never changes again."""
        return self not in (JobStatus.NOT_STARTED, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """The state of a node, or of a trial of a sweep.

    Attributes:
        name: of the node.
        run_id: of the service's run for it; unique.
        status: its state.
        start: ISO 8601; empty before it has begun.
        end: ISO 8601; empty before it has ended.
        error: why it failed, one line.
        exit_code: of its command.
        outputs: port -> address of the folder.
        reused_from: the job that has executed it; empty if it was executed here.
        log: name of its log in the folder of logs of the job that executed it.
        trials: the trials of a sweep, by index.
        best: index of the best trial; None for none.
        metric: the primary metric of a trial; None if it was not logged.
    """

    name: str
    run_id: str = ""
    status: JobStatus = JobStatus.NOT_STARTED
    start: str = ""
    end: str = ""
    error: str = ""
    exit_code: int = 0
    outputs: Mapping[str, str] = field(default_factory=dict)
    reused_from: str = ""
    log: str = ""
    trials: tuple[NodeRecord, ...] = ()
    best: int | None = None
    metric: float | None = None

    @property
    def duration_s(self) -> float:
        """Seconds from its start to its end; 0 before it has ended."""
        if not (self.start and self.end):
            return 0.0
        return (dt.datetime.fromisoformat(self.end) - dt.datetime.fromisoformat(self.start)).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types only."""
        return {**asdict(self), "outputs": dict(self.outputs), "trials": [trial.to_json() for trial in self.trials]}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """The state of a job.

    Attributes:
        name: of the job.
        status: its state.
        start: ISO 8601.
        end: ISO 8601; empty before it has ended.
        nodes: node -> its state, in the order of the document.
    """

    name: str
    status: JobStatus
    start: str
    end: str = ""
    nodes: Mapping[str, NodeRecord] = field(default_factory=dict)

    @property
    def failed(self) -> NodeRecord | None:
        """The first node that failed; None for none."""
        failed = [node for node in self.nodes.values() if node.status is JobStatus.FAILED]
        return min(failed, key=lambda node: node.end) if failed else None

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types only."""
        nodes = {name: node.to_json() for name, node in self.nodes.items()}
        return {"name": self.name, "status": str(self.status), "start": self.start, "end": self.end, "nodes": nodes}


def now() -> str:
    """Return the current time in UTC as ISO 8601, with microseconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
