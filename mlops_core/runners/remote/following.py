"""Runs that a service carries out, for whoever looks at runs: brought up to date, their logs fetched, stopped.

Which service it is stands in the run's record as the name of its runner; nothing of a service is known here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from mlops_core.errors import MlopsError, UsageError
from mlops_core.runners import SilentObserver
from mlops_core.workspace.records import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlops_core.runners import RunObserver
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.runs import RunSummary
    from mlops_core.workspace.store import Store

_CLASSES = {"sagemaker": "mlops_sagemaker.tracking:RemoteRun"}


class RemoteRun(Protocol):
    """A run and its execution at a service."""

    record: RunRecord

    def refresh(self) -> Any:
        """Ask the service once and take over what it says; bring the results back at the end."""

    def follow(self, *, timeout_s: float | None = None) -> RunRecord:
        """Ask until it has ended."""

    def fetch_logs(self, step: str | None = None) -> tuple[Path, ...]:
        """Bring the logs of one step, or of all, into the run's folder."""

    def stop(self) -> None:
        """Ask the service to end it."""


def is_remote(runner: str) -> bool:
    """Tell whether a runner's runs are carried out by a service."""
    return runner in _CLASSES


def open_remote_run(store: Store, record: RunRecord, *, observer: RunObserver | None = None) -> RemoteRun:
    """Return the run at its service.

    Raises:
        UsageError: this machine carries it out.
        RunnerError: it was never started at the service.
    """
    if not is_remote(record.runner):
        raise UsageError(
            f"run {record.run_id} was carried out by this machine (runner {record.runner}); Ctrl-C in its terminal "
            f"stops it, and mlops run --resume {record.run_id} goes on with it"
        )
    module, _, kind = _CLASSES[record.runner].partition(":")
    opened: RemoteRun = getattr(importlib.import_module(module), kind)(
        store, record, observer=observer or SilentObserver()
    )
    return opened


def refreshed(store: Store, record: RunRecord, *, note: Callable[[str], None]) -> RunRecord:
    """Return a record as the service sees it now; as it was, with a note, when the service cannot be asked."""
    if record.status is not RunStatus.RUNNING or not record.remote:
        return record
    try:
        run = open_remote_run(store, record)
        run.refresh()
    except MlopsError as error:
        note(f"run {record.run_id} is shown as it was known last: {error}")
        return store.runs.load(record.run_id)
    if run.record.status is not RunStatus.RUNNING:
        _write_report(store, record.run_id, note=note)
    return run.record


def _write_report(store: Store, run_id: str, *, note: Callable[[str], None]) -> None:
    from mlops_core.report import write_report

    try:
        write_report(store, run_id)
    except (MlopsError, OSError) as error:
        note(f"the report of run {run_id} was not written: {error}")


def refresh_running(store: Store, runs: tuple[RunSummary, ...], *, note: Callable[[str], None]) -> bool:
    """Bring those of `runs` that a service carries out up to date; tell whether there was one."""
    found = [run for run in runs if run.status is RunStatus.RUNNING and is_remote(run.runner)]
    for run in found:
        refreshed(store, store.runs.load(run.run_id), note=note)
    return bool(found)
