"""Runs of the workspace that a service carries out: opened by their runner, and refreshed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError
from mlops_core.runners.discovery import load_runner
from mlops_core.runners.lifecycle.results import write_run_report
from mlops_core.runners.observers import SilentObserver
from mlops_core.runners.plugin import Ability
from mlops_core.workspace.records import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.remote.following import RemoteRun
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.runs import RunSummary
    from mlops_core.workspace.store import Store


def is_remote(runner: str) -> bool:
    """Return whether a service carries out a runner's runs; False for a runner that is not installed."""
    try:
        return Ability.FOLLOW in load_runner(runner).abilities
    except MlopsError:
        return False


def open_remote_run(store: Store, record: RunRecord, *, observer: RunObserver | None = None) -> RemoteRun:
    """Return the run at its service.

    Raises:
        UsageError: this machine carried it out, or its runner is not installed.
        RunnerError: it was never started at the service.
    """
    return load_runner(record.runner).open_run(store, record, observer=observer or SilentObserver())


def refreshed(store: Store, record: RunRecord, *, note: Callable[[str], None]) -> RunRecord:
    """Return a record as the service describes it now; unchanged, with a note, when the service cannot be asked."""
    if record.status is not RunStatus.RUNNING or not record.remote:
        return record
    try:
        run = open_remote_run(store, record)
        run.refresh()
    except MlopsError as error:
        note(f"run {record.run_id} is shown as of its last refresh: {error}")
        return store.runs.load(record.run_id)
    if run.record.status is not RunStatus.RUNNING:
        write_run_report(store, record.run_id, note=note)
    return run.record


def refresh_running(store: Store, runs: tuple[RunSummary, ...], *, note: Callable[[str], None]) -> bool:
    """Refresh those of `runs` that a service carries out; return whether there was one."""
    remote = [run for run in runs if run.status is RunStatus.RUNNING and is_remote(run.runner)]
    for run in remote:
        refreshed(store, store.runs.load(run.run_id), note=note)
    return bool(remote)
