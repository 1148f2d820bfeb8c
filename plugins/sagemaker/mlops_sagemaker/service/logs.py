"""Copies the logs of an execution's jobs from CloudWatch to the folder of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.runners import RunnerError
from mlops_sagemaker.service.account import code_of
from mlops_sagemaker.service.outcomes import job_names
from mlops_sagemaker.service.states import job_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core import Step
    from mlops_sagemaker.service.account import Account
    from mlops_sagemaker.service.executions import ExecutionRecord, ExecutionStep

_GROUPS = {
    "Processing": "/aws/sagemaker/ProcessingJobs",
    "Training": "/aws/sagemaker/TrainingJobs",
    "Transform": "/aws/sagemaker/TransformJobs",
}
_MISSING = ("ResourceNotFoundException",)


def fetch_logs(account: Account, execution: ExecutionRecord, step: Step, *, folder: Path) -> tuple[Path, ...]:
    """Write the logs of a step's jobs to ``<job>.log`` or, with several machines, ``<job>.<index>.log``.

    Args:
        account: account of the execution.
        execution: state of the execution.
        step: step of the pipeline.
        folder: folder for the logs.

    Returns:
        The paths of the files; empty if CloudWatch has no logs of the step yet.

    Raises:
        RunnerError: CloudWatch refuses.
    """
    paths: list[Path] = []
    for name in job_names(step):
        state = execution.step(name)
        if state is not None and job_name(state):
            paths += _fetch(account, state, folder=folder)
    return tuple(paths)


def _fetch(account: Account, state: ExecutionStep, *, folder: Path) -> Iterator[Path]:
    group = _GROUPS.get(state.type, _GROUPS["Training"])
    streams = _streams(account, group, job_name(state))
    folder.mkdir(parents=True, exist_ok=True)
    for index, stream in enumerate(streams):
        path = folder / (f"{state.name}.log" if len(streams) == 1 else f"{state.name}.{index}.log")
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in _lines(account, group, stream))
        partial.replace(path)
        yield path


def _streams(account: Account, group: str, job: str) -> list[str]:
    request = {"logGroupName": group, "logStreamNamePrefix": f"{job}/"}
    try:
        streams = account.pages("logs", "describe_log_streams", "logStreams", **request)
        return sorted(stream["logStreamName"] for stream in streams)
    except RunnerError as error:
        if code_of(error) in _MISSING:  # no job of this kind has written anything yet
            return []
        raise


def _lines(account: Account, group: str, stream: str) -> Iterator[str]:
    """Yield all lines; the service marks the end of a log by returning the same token twice."""
    request = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
    while True:
        page = account.call("logs", "get_log_events", **request)
        yield from (event["message"].rstrip("\n") for event in page["events"])
        if page["nextForwardToken"] == request.get("nextToken"):
            return
        request["nextToken"] = page["nextForwardToken"]
