"""A job and its nodes, as the workspace describes them, and what they mean for the steps of a run."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_azureml.compiler.nodes import node_names
from mlops_azureml.layout import GATE_NODE, REGISTER_NODE, TRIAL
from mlops_core.runners import Search, StepRecord
from mlops_core.runners import StepStatus as Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlops_azureml.service.workspace import Workspace
    from mlops_core import Pipeline, Step

Json = Any

COMPLETED, FAILED, CANCELED = "Completed", "Failed", "Canceled"
FINAL = (COMPLETED, FAILED, CANCELED)
DELETED = "Deleted"
"""The status of a job that the workspace no longer has; ours, not a word of the service."""
DOUBTFUL = ("NotResponding", "Paused", "Unknown")
"""Statuses that a job can leave again, or never."""
_STATUSES = {COMPLETED: Status.DONE, FAILED: Status.FAILED, CANCELED: Status.STOPPED, "NotStarted": Status.PENDING}
_REUSED_FROM = "azureml.reusedrunid"
_BEST_TRIAL = "best_child_run_id"
_HYPERPARAMETERS = "hyperparameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRun:
    """A run of the history: a node of a job, or a trial of a sweep.

    Attributes:
        run: id of the run.
        node: name of the node in the job.
        status: in the words of the service.
        started: ISO 8601 in UTC; empty before.
        ended: ISO 8601 in UTC; empty before.
        error: message of a failure; empty where there is none.
        properties: its properties.
        tags: its tags.
    """

    run: str
    node: str
    status: str
    started: str = ""
    ended: str = ""
    error: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def reused_from(self) -> str:
        """The run whose outputs the service took instead of executing the node; empty if it was executed."""
        return self.properties.get(_REUSED_FROM, "")

    @property
    def best_trial(self) -> str:
        """The run of the best trial of a sweep; empty before its end, and for any other node."""
        return self.properties.get(_BEST_TRIAL, "")

    @property
    def output_run(self) -> str:
        """The run below whose id the outputs are: of the best trial for a sweep, of the earlier run when reused."""
        return self.best_trial or self.reused_from or self.run


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """A job.

    Attributes:
        name: name of the job.
        status: in the words of the service, or `DELETED`.
        created: when it was submitted, ISO 8601 in UTC.
        ended: when its last node ended, ISO 8601 in UTC; empty while it runs.
        nodes: the nodes that have begun, by name.
        error: message of a failure; empty where there is none.
        studio: address of its page; empty where the service names none.
    """

    name: str
    status: str
    created: str = ""
    ended: str = ""
    nodes: Mapping[str, NodeRun] = field(default_factory=dict)
    error: str = ""
    studio: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the status can no longer change."""
        return self.status in (*FINAL, DELETED)

    def node(self, name: str) -> NodeRun | None:
        """Return a node; None if it has not begun."""
        return self.nodes.get(name)


def read_job(workspace: Workspace, name: str) -> JobRun:
    """Return a job with its nodes.

    Raises:
        RunnerError: the workspace cannot be asked.
    """
    job = workspace.job(name)
    if job is None:
        return JobRun(name=name, status=DELETED)
    properties = job.get("properties") or {}
    status = str(properties.get("status") or "Unknown")
    nodes = {each.node: each for each in map(_node, workspace.children(name))}
    services = properties.get("services") or {}
    created = str((job.get("systemData") or {}).get("createdAt") or "")
    is_final = status in FINAL
    ended = max((each.ended for each in nodes.values()), default="") or created
    return JobRun(
        name=name,
        status=status,
        created=_time(created),
        ended=_time(ended) if is_final else "",
        nodes=nodes,
        error=_error(properties),
        studio=str((services.get("Studio") or {}).get("endpoint") or ""),
    )


def read_trials(workspace: Workspace, sweep: NodeRun) -> tuple[NodeRun, ...]:
    """Return the trials of a sweep that have begun.

    Raises:
        RunnerError: the workspace cannot be asked.
    """
    return tuple(map(_node, workspace.children(sweep.run)))


def step_records(pipeline: Pipeline, job: JobRun) -> dict[str, StepRecord]:
    """Return the records of all steps of the pipeline by name, in the order of execution."""
    return {step.name: _record(step, job) for step in pipeline.ordered()}


def trial_records(search: Search, trials: Iterable[NodeRun]) -> dict[str, StepRecord]:
    """Return the records of the trials of a search, by step name."""
    records = {}
    for trial in trials:
        index = trial_index(trial)
        if index is not None and 0 <= index < len(search.trials):
            name = search.trials[index].name
            records[name] = _one(name, trial)
    return records


def trial_index(trial: NodeRun) -> int | None:
    """Return the index that a trial of a sweep was given; None if the service does not say."""
    text = trial.tags.get(_HYPERPARAMETERS) or trial.properties.get(_HYPERPARAMETERS) or ""
    try:
        return int(json.loads(text)[TRIAL])
    except (ValueError, KeyError, TypeError):
        return None


def is_accepted(job: JobRun) -> bool | None:
    """Return whether the gate let the model pass; None if the gate did not end by itself."""
    gate = job.node(GATE_NODE)
    if gate is None or gate.status not in (COMPLETED, FAILED):
        return None
    return gate.status == COMPLETED


def registration_node(job: JobRun) -> NodeRun | None:
    """Return the node that registered the model; None if it has not succeeded."""
    node = job.node(REGISTER_NODE)
    return node if node is not None and node.status == COMPLETED else None


def step_nodes(step: Step, job: JobRun) -> tuple[NodeRun, ...]:
    """Return the nodes of a step that have begun, in the order of execution."""
    if step.trial is not None:
        return ()
    return tuple(found for name in node_names(step) if (found := job.node(name)))


def seconds(start: str, end: str) -> float:
    """Return the seconds between two times; an empty end means now, an empty start gives 0."""
    if not start:
        return 0.0
    last = dt.datetime.fromisoformat(end) if end else dt.datetime.now(dt.UTC)
    return max(0.0, (last - dt.datetime.fromisoformat(start)).total_seconds())


def _record(step: Step, job: JobRun) -> StepRecord:
    nodes = step_nodes(step, job)
    if not nodes:
        return StepRecord(name=step.name, status=Status.SKIPPED if job.is_final else Status.PENDING)
    bad = next((each for each in nodes if each.status in (FAILED, CANCELED)), None)
    is_open = len(nodes) < len(node_names(step)) or any(each.status not in FINAL for each in nodes)
    record = _one(step.name, bad or nodes[-1])
    if bad is None and is_open:
        status = Status.STOPPED if job.is_final else Status.RUNNING
        if status is Status.RUNNING and all(each.status == "NotStarted" for each in nodes):
            status = Status.PENDING
        return StepRecord(name=step.name, status=status, started=nodes[0].started, attempts=1)
    duration_s = sum(seconds(each.started, each.ended) for each in nodes if each.ended)
    is_reused = bad is None and all(each.reused_from for each in nodes)
    return StepRecord(
        name=step.name,
        status=Status.REUSED if is_reused else record.status,
        started=nodes[0].started,
        duration_s=duration_s,
        attempts=1,
        reused_from=nodes[-1].reused_from if is_reused else "",
        because="equal arguments in an earlier job" if is_reused else "executed by the job",
        error=record.error,
    )


def _one(name: str, run: NodeRun) -> StepRecord:
    return StepRecord(
        name=name,
        status=_STATUSES.get(run.status, Status.RUNNING),
        started=run.started,
        duration_s=seconds(run.started, run.ended) if run.ended else 0.0,
        attempts=1,
        because="executed by the job",
        error=run.error,
    )


def _node(data: Json) -> NodeRun:
    return NodeRun(
        run=str(data["runId"]),
        node=str(data.get("displayName") or data["runId"]),
        status=str(data.get("status") or "Unknown"),
        started=_time(data.get("startTimeUtc")),
        ended=_time(data.get("endTimeUtc")),
        error=_error(data),
        properties={str(key): str(value) for key, value in (data.get("properties") or {}).items()},
        tags={str(key): str(value) for key, value in (data.get("tags") or {}).items()},
    )


def _error(data: Json) -> str:
    inner = (data.get("error") or {}).get("error") or {}
    return " ".join(str(inner.get("message") or "").split())


def _time(text: Json) -> str:
    """Return a time of the service as ISO 8601 in UTC; it has up to seven digits after the second."""
    if not text:
        return ""
    try:
        moment = dt.datetime.fromisoformat(str(text))
    except ValueError:
        return ""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
