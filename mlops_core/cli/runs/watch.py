"""``mlops runs watch``: follow a run that another process carries out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from mlops_core.cli.output import print_outcome, run_observer
from mlops_core.cli.streams import echo_line
from mlops_core.workspace.records import RunStatus, StepStatus

if TYPE_CHECKING:
    from mlops_core.cli.output import PlainObserver
    from mlops_core.cli.run_table import TableObserver
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

_INTERVAL_S = 0.5
_NOT_ENDED = (StepStatus.PENDING, StepStatus.RUNNING)


@click.command("watch")
@click.argument("run", default="latest")
@click.pass_obj
def watch_run(context: dict[str, str | None], /, run: str) -> int:
    """Show the steps of a run until it ends; the exit code is that of the run.

    On a terminal, the steps are a table that is drawn again. Ctrl-C ends the display, not the run.
    """
    from mlops_core import api
    from mlops_core.workspace.store import Store

    with Store(api.workspace_path(context["workspace"])) as store:
        run_id = store.runs.full_id(run)
        observer = run_observer()
        try:
            record = _follow(store, run_id, observer)
        except KeyboardInterrupt:
            observer.close()
            echo_line(f"the run continues; to stop it: mlops runs stop {run_id}", err=True)
            raise
        finally:
            observer.close()
    print_outcome(record, approval=api.approval_of(record, workspace=context["workspace"]))
    if record.error:
        echo_line(f"mlops: error: {record.error}", err=True)
    return record.exit_code


def _follow(store: Store, run_id: str, observer: PlainObserver | TableObserver) -> RunRecord:
    """Report what changes until the run has ended, and return its record."""
    record = store.runs.load(run_id)
    observer.run_started(record)
    reported: set[str] = set()
    started: set[str] = set()
    progress: dict[str, tuple[str, int, int]] = {}
    while True:
        for step in record.steps:
            if step.status not in _NOT_ENDED and step.name not in reported:
                reported.add(step.name)
                observer.step_ended(step)
        if record.status is not RunStatus.RUNNING:
            return record
        for name, state in store.runs.progress(run_id).items():
            if name in reported or progress.get(name) == state:
                continue
            if name not in started:
                started.add(name)
                observer.step_started(name)
            progress[name] = state
            if state[2]:
                observer.step_progress(name, *state)
        time.sleep(_INTERVAL_S)
        record = store.runs.load(run_id)
