"""The logs of an execution's jobs: from CloudWatch into the run's folder, where those of local steps are too."""

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

_GROUPS = {"Processing": "/aws/sagemaker/ProcessingJobs", "Training": "/aws/sagemaker/TrainingJobs"}
_NOT_THERE = ("ResourceNotFoundException",)


def fetch_logs(account: Account, execution: ExecutionRecord, step: Step, *, folder: Path) -> tuple[Path, ...]:
    """Write the logs of a step's jobs to ``<job>.log`` or, with several machines, ``<job>.<index>.log``.

    Args:
        account: of the execution.
        execution: its state.
        step: of the pipeline.
        folder: for the logs.

    Returns:
        The files; none when CloudWatch has nothing of the step yet.

    Raises:
        RunnerError: CloudWatch refuses.
    """
    found: list[Path] = []
    for name in job_names(step):
        state = execution.step(name)
        if state is not None and job_name(state):
            found += _fetch(account, state, folder=folder)
    return tuple(found)


def _fetch(account: Account, state: ExecutionStep, *, folder: Path) -> Iterator[Path]:
    group = _GROUPS[state.type]
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
        found = account.pages("logs", "describe_log_streams", "logStreams", **request)
        return sorted(stream["logStreamName"] for stream in found)
    except RunnerError as error:
        if code_of(error) in _NOT_THERE:  # no job of this kind has written anything yet
            return []
        raise


def _lines(account: Account, group: str, stream: str) -> Iterator[str]:
    """Yield all lines; the service ends a log by giving the same token twice."""
    request = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
    while True:
        page = account.call("logs", "get_log_events", **request)
        yield from (event["message"].rstrip("\n") for event in page["events"])
        if page["nextForwardToken"] == request.get("nextToken"):
            return
        request["nextToken"] = page["nextForwardToken"]
