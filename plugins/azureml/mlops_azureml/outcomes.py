"""Converts the nodes and failures of an executed job to the records and errors of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_azureml.interpreter.records import JobStatus, NodeRecord
from mlops_azureml.parity import step_of_node
from mlops_core import DatasetError, MlopsError, PluginError, StepError
from mlops_core.runners import ExitCode, RunnerError, StepRecord, StepStatus, search_failure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_azureml.interpreter.records import JobRecord
    from mlops_core import Pipeline, Step
    from mlops_core.runners import Search

STATUSES = {
    JobStatus.COMPLETED: StepStatus.DONE,
    JobStatus.FAILED: StepStatus.FAILED,
    JobStatus.CANCELED: StepStatus.STOPPED,
}
_ERRORS: dict[int, type[MlopsError]] = {ExitCode.DATASET: DatasetError, ExitCode.PLUGIN: PluginError}


def step_record(name: str, nodes: tuple[NodeRecord, ...]) -> StepRecord:
    """Return the record of a step from the states of its nodes."""
    begun = tuple(node for node in nodes if node.start)
    if not begun:
        return StepRecord(name=name, status=StepStatus.SKIPPED)
    worst = next((node for node in nodes if node.status is JobStatus.FAILED), None)
    worst = worst or next((node for node in nodes if node.status is not JobStatus.COMPLETED), nodes[-1])
    status = STATUSES.get(worst.status, StepStatus.STOPPED)
    if status is StepStatus.DONE and all(node.reused_from for node in nodes):
        status = StepStatus.REUSED
    return StepRecord(
        name=name,
        status=status,
        started=begun[0].start,
        duration_s=sum(node.duration_s for node in nodes),
        attempts=1,
        reused_from=nodes[-1].reused_from if status is StepStatus.REUSED else "",
        because="equal inputs in an earlier job" if status is StepStatus.REUSED else "executed by the job",
        error=worst.error.removeprefix(f"step '{name}' failed: "),
    )


def trial_records(search: Search, node: NodeRecord | None) -> dict[str, StepRecord]:
    """Return the records of the trials of a search, by the names of their steps."""
    trials = node.trials if node else ()
    records = {}
    for step in search.trials:
        index = step.trial or 0
        if index < len(trials) and trials[index].start:
            own = trials[index]
            records[step.name] = step_record(step.name, (own,))
        else:
            records[step.name] = StepRecord(name=step.name, status=StepStatus.SKIPPED)
    return records


def search_error(search: Search, records: Mapping[str, StepRecord]) -> StepError | None:
    """Return the error of a search of which no trial has a result; None if there is none."""
    trials = [records[step.name] for step in search.trials]
    if records[search.name].status is StepStatus.FAILED and all(t.status is StepStatus.FAILED for t in trials):
        return StepError(f"step '{search.name}' failed: {search_failure(trials)}")
    return None


def failure_of(record: JobRecord, pipeline: Pipeline, *, logs: Path) -> MlopsError:
    """Return the error that a local run would have raised.

    Args:
        record: of a job that did not reach its gate, or whose gate or registration broke.
        pipeline: pipeline that was compiled.
        logs: folder with the logs of the run.
    """
    failed = record.failed
    if failed is None:
        return RunnerError(f"the job ended with status {record.status} before its gate")
    owner = step_of_node(pipeline).get(failed.name)
    if owner is None:
        return RunnerError(f"node '{failed.name}' of the job failed: {failed.error}")
    log = logs / log_name(pipeline.step(owner), failed.name)
    prefix = "" if failed.error.startswith("step '") else f"step '{owner}' failed: "
    kind = _ERRORS.get(failed.exit_code, StepError)
    return kind(f"{prefix}{failed.error}; log: {log}")


def log_name(step: Step, node: str) -> str:
    """Return the name of a node's log in the folder of a run: ``train.log``, ``split.0.log``, ``split-merge.log``."""
    _, separator, index = node.rpartition("_shard_")
    if step.shards == 1:
        return f"{step.name}.log"
    return f"{step.name}.{index}.log" if separator else f"{step.name}-merge.log"
