"""Why a job failed: the error that a run on this machine would have raised, from its nodes and their logs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_azureml.service.jobs import CANCELED, DELETED, FAILED
from mlops_core import DatasetError, MlopsError, PluginError, StepError
from mlops_core.runners import ExitCode, RunnerError

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_azureml.service.jobs import JobRun, NodeRun
    from mlops_core import Pipeline

_CODE = re.compile(r"status code (\d+)|exit(?:ed with)? code:? (\d+)")
_MESSAGE = "mlops: error: "
_ERRORS: dict[int, type[MlopsError]] = {ExitCode.DATASET: DatasetError, ExitCode.PLUGIN: PluginError}
_NO_ENTRY_POINT = (
    "No module named mlops",
    "No module named 'mlops",
    "python3: not found",
    "python3: command not found",
)


def failure_of(job: JobRun, pipeline: Pipeline, *, use_case: str, logs: Path) -> MlopsError:
    """Return the error that a local run would have raised.

    Args:
        job: a job that ended before its gate, or whose gate or registration failed.
        pipeline: pipeline that was compiled.
        use_case: name of the use case.
        logs: folder with the logs of the run.
    """
    if job.status == DELETED:
        return RunnerError(f"job {job.name} does not exist in the workspace any more: it was deleted; start a new run")
    failed = next((node for node in job.nodes.values() if node.status == FAILED), None)
    if failed is None:
        ended = next((node.node for node in job.nodes.values() if node.status == CANCELED), "")
        where = f" while node '{ended}' was running" if ended else ""
        return RunnerError(f"the job ended with status {job.status}{where}: {job.error or 'no node failed'}")
    log = logs / f"{failed.node}.log"
    lines = _lines(log)
    if any(sign in line for line in lines[-5:] for sign in _NO_ENTRY_POINT):
        return RunnerError(
            f"node '{failed.node}' failed: {lines[-1]}; the step image lacks mlops-usecases, mlops-azureml or the "
            f"plugin of {use_case}: build it with mlops package --usecase {use_case}, push it, and pass it with --image"
        )
    message = _message(failed, lines)
    if failed.node not in {name.replace("-", "_").replace(".", "_") for name in _step_names(pipeline)}:
        return RunnerError(f"node '{failed.node}' of the job failed: {message}; log: {log}")
    prefix = "" if message.startswith("step '") else f"step '{failed.node}' failed: "
    kind = _ERRORS.get(_exit_code(failed), StepError)
    return kind(f"{prefix}{message}; log: {log}")


def step_error(node: NodeRun, logs: Path) -> str:
    """Return the message of a failed node, without the name of its step."""
    message = _message(node, _lines(logs / f"{node.node}.log"))
    return re.sub(r"^step '[^']*' failed: ", "", message)


def _step_names(pipeline: Pipeline) -> set[str]:
    names = {step.name for step in pipeline.steps}
    return names | {f"{step.name}_shard_{index}" for step in pipeline.steps for index in range(step.shards)}


def _message(node: NodeRun, lines: list[str]) -> str:
    """Return the last error that core printed; else the service's message and the last line of the log."""
    printed = next((line for line in reversed(lines) if line.startswith(_MESSAGE)), "")
    if printed:
        return printed.removeprefix(_MESSAGE)
    last = f"; last line of its log: {lines[-1]}" if lines else ""
    return f"{node.error or 'the service gives no reason'}{last}"


def _lines(log: Path) -> list[str]:
    if not log.is_file():
        return []
    text = log.read_text(encoding="utf-8", errors="replace")
    return [line for line in text.splitlines() if line.strip()]


def _exit_code(node: NodeRun) -> int:
    match = _CODE.search(node.error)
    return int(match[1] or match[2]) if match else 0
