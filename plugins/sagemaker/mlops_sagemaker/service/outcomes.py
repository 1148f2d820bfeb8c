"""Converts the steps and failures of an execution to the records and errors of a run."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_core import DatasetError, MlopsError, PluginError, StepError
from mlops_core.runners import ExitCode, RunnerError, StepRecord
from mlops_core.runners import StepStatus as Status
from mlops_sagemaker.compiler.job_graph import MERGE_SUFFIX
from mlops_sagemaker.service.executions import ExecutionStepStatus

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core import Pipeline, Step
    from mlops_sagemaker.service.executions import ExecutionRecord, ExecutionStep

STATUSES = {
    ExecutionStepStatus.SUCCEEDED: Status.DONE,
    ExecutionStepStatus.FAILED: Status.FAILED,
    ExecutionStepStatus.STOPPED: Status.STOPPED,
}
NO_MESSAGE = "See job logs for more information"
"""Failure reason of the service for a container that wrote no message."""
_FAILURE = re.compile(r"(?:[A-Za-z]+: )?(?P<message>.*?)(?:, exit code: (?P<code>\d+))?\Z", re.DOTALL)
_ERRORS: dict[int, type[MlopsError]] = {ExitCode.DATASET: DatasetError, ExitCode.PLUGIN: PluginError}


def failure_of(record: ExecutionRecord, pipeline: Pipeline, *, logs: Path) -> MlopsError:
    """Return the error that a local run would have raised.

    Args:
        record: record of an execution that did not reach its gate.
        pipeline: pipeline that was compiled.
        logs: folder with the logs of the run.
    """
    failed = next((step for step in record.steps if step.status is ExecutionStepStatus.FAILED), None)
    if failed is None:
        return RunnerError(f"the execution ended with status {record.status} before its gate: {record.failure}")
    if failed.name.removesuffix(MERGE_SUFFIX) not in {step.name for step in pipeline.steps}:
        return RunnerError(f"step '{failed.name}' of the definition failed: {failed.failure}")
    log = logs / f"{failed.name}.log"
    message = _explained(message_of(failed.failure), log)
    prefix = "" if message.startswith("step '") else f"step '{failed.name}' failed: "
    kind = _ERRORS.get(_exit_code(failed.failure), StepError)
    return kind(f"{prefix}{message}; log: {log}")


def job_names(step: Step) -> tuple[str, ...]:
    """Return the names of the jobs of a step, in the order of execution."""
    return (step.name,) if step.shards == 1 else (step.name, f"{step.name}{MERGE_SUFFIX}")


def origin_of(state: ExecutionStep, run_id: str) -> str:
    """Return the ID of the execution that has the logs of a step."""
    return state.cache_source.rpartition("/")[2] or run_id


def step_record(name: str, states: tuple[ExecutionStep, ...]) -> StepRecord:
    """Return the record of a step from the states of its jobs."""
    worst = next((state for state in states if state.status is not ExecutionStepStatus.SUCCEEDED), states[-1])
    sources = {state.cache_source for state in states}
    status = STATUSES.get(worst.status, Status.STOPPED)
    source = states[-1].cache_source.rpartition("/")[2]
    if status is Status.DONE and "" not in sources:
        status = Status.REUSED
    return StepRecord(
        name=name,
        status=status,
        started=states[0].start,
        duration_s=sum(_seconds(state) for state in states),
        attempts=max(state.attempts for state in states),
        reused_from=source if status is Status.REUSED else "",
        because="equal arguments in an earlier execution" if status is Status.REUSED else "executed by the definition",
        error=message_of(worst.failure).removeprefix(f"step '{name}' failed: "),
    )


def message_of(failure: str) -> str:
    """Return the message of the container from a failure reason."""
    match = _FAILURE.match(failure)
    return match["message"] if match else failure


def _explained(message: str, log: Path) -> str:
    """Return the message or, if the container wrote none, the last line of its log."""
    if message != NO_MESSAGE or not log.is_file():
        return message
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"its container wrote no message; last line of its log: {lines[-1] if lines else 'none'}"


def _exit_code(failure: str) -> int:
    match = _FAILURE.match(failure)
    return int(match["code"] or 0) if match else 0


def _seconds(state: ExecutionStep) -> float:
    if not state.end:
        return 0.0
    return (datetime.fromisoformat(state.end) - datetime.fromisoformat(state.start)).total_seconds()
