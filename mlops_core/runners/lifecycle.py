"""What every runner writes in the same way: the record of a run that begins, and the model of one that was accepted."""

from __future__ import annotations

import datetime as dt
import platform
import secrets
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mlops_core.steps.execution import TEST_SET_NOTE
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord
from mlops_core.workspace.registry import ModelVersion, Registry

if TYPE_CHECKING:
    from mlops_core.metrics import MetricReport
    from mlops_core.runners import RunRequest
    from mlops_core.workspace.store import Store


def new_run_id() -> str:
    """Return an id that starts with the time of creation and is unique."""
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
        environment=_environment(request),
    )


def register_model(
    store: Store, record: RunRecord, *, request: RunRequest, artifact: str, report: MetricReport
) -> RunRecord:
    """Register the model of an accepted run and return the run's record with its version; ``best`` may move.

    Args:
        store: the workspace.
        record: of the run.
        request: that the run carried out.
        artifact: digest of the model.
        report: the metrics by which it was judged.

    Raises:
        AssertionError: the gate has not accepted it; nothing else may ever be registered.
    """
    assert record.verdict is not None and record.verdict.accepted  # noqa: S101, PT018  see above
    dataset, metric = record.dataset, request.pipeline.metrics[0]
    registry = Registry(store)
    registered = registry.register(
        ModelVersion(
            use_case=record.use_case,
            version=0,
            run_id=record.run_id,
            created=utc_now(),
            artifact=artifact,
            metrics={name: value.value for name, value in report.values.items()},
            compared_by=metric.name,
            direction=metric.direction,
            test_set=str(report.notes.get(TEST_SET_NOTE, "")),
            dataset=dataset.name if dataset else "",
            dataset_digest=dataset.digest if dataset else "",
            is_generated_data=bool(dataset and dataset.is_generated),
            config=record.config,
            plugin=record.plugin,
        )
    )
    note = registry.promote_best(registered)
    return replace(record, model_version=registered.version, alias_note=note)


def _environment(request: RunRequest) -> dict[str, str]:
    packages = ("mlops-usecases", *sorted({package for step in request.pipeline.steps for package in step.packages}))
    found = {package: _version(package) for package in packages}
    return {"python": platform.python_version(), "platform": platform.platform(), **found}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
