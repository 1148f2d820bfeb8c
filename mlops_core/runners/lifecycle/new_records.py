"""The record of a run that begins: its id, its time, and the environment of its steps."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING

from mlops_core.runners.environment import describe_environment
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord

if TYPE_CHECKING:
    from mlops_core.pipeline import Pipeline
    from mlops_core.runners.request import RunRequest


def new_run_id() -> str:
    """Return a unique id that starts with the time of creation."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def new_record(request: RunRequest, *, runner: str) -> RunRecord:
    """Return the record of a run that begins now."""
    return RunRecord(
        run_id=new_run_id(),
        use_case=request.use_case.name,
        plugin=f"{request.use_case.installed.distribution} {request.use_case.installed.version}",
        runner=runner,
        status=RunStatus.RUNNING,
        created=utc_now(),
        seed=request.seed,
        parameters=dict(request.parameters),
        config=request.config.to_yaml(),
        pipeline=request.pipeline.to_json(),
        steps=tuple(StepRecord(name=step.name) for step in request.pipeline.ordered()),
        environment=_environment(request.pipeline),
    )


def _environment(pipeline: Pipeline) -> dict[str, str]:
    packages = ("mlops-usecases", *sorted({package for step in pipeline.steps for package in step.packages}))
    return describe_environment(packages)
