"""``mlops runs stop`` and ``mlops runs retry``."""

from __future__ import annotations

import click

from mlops_core.cli.output import print_outcome, run_observer
from mlops_core.cli.streams import echo_line
from mlops_core.errors import ExitCode, UsageError

_TIMEOUT = click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Maximum time to wait."
)


@click.command("stop")
@click.argument("run", default="latest")
@click.option("--no-wait", is_flag=True, help="Return without waiting for the end of the run.")
@_TIMEOUT
@click.pass_obj
def stop_command(context: dict[str, str | None], *, run: str, no_wait: bool, timeout_s: float | None) -> int:
    """Stop a run at a service. Finished steps are kept; mlops runs retry continues the run."""
    from mlops_core.api import workspace_path
    from mlops_core.runners.remote.refreshing import open_remote_run
    from mlops_core.workspace.records import RunStatus
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        remote = open_remote_run(store, store.runs.load(run))
        remote.refresh()
        if remote.record.status is not RunStatus.RUNNING:
            raise UsageError(f"run {remote.record.run_id} has ended: {remote.record.status}")
        remote.stop()
        if no_wait:
            echo_line(
                f"run {remote.record.run_id}: stop requested; mlops runs show {remote.record.run_id} shows its state"
            )
            return ExitCode.OK
        record = remote.follow(timeout_s=timeout_s)
    echo_line(f"run {record.run_id}: {record.status}")
    return ExitCode.OK


@click.command("retry")
@click.argument("run", default="latest")
@click.option("--no-wait", is_flag=True, help="Return without waiting for the end of the run.")
@_TIMEOUT
@click.pass_obj
def retry_command(context: dict[str, str | None], *, run: str, no_wait: bool, timeout_s: float | None) -> int:
    """Continue a failed or stopped run where it ended. A local run is resumed."""
    from mlops_core import api
    from mlops_core.runners.discovery import load_runner
    from mlops_core.workspace.records import RunStatus

    record = api.open_run(run, workspace=context["workspace"])
    if record.status in (RunStatus.ACCEPTED, RunStatus.REJECTED, RunStatus.UNDECIDED):
        raise UsageError(f"run {record.run_id} was {record.status}; there is nothing to retry: start a new run")
    observer = run_observer()
    try:
        record = api.run(
            resume=record.run_id,
            workspace=context["workspace"],
            options=load_runner(record.runner).read_options(_options(no_wait=no_wait, timeout_s=timeout_s)),
            observer=observer,
        )
    finally:
        observer.close()
    print_outcome(record, approval=api.approval_of(record, workspace=context["workspace"]))
    if record.error:
        echo_line(f"mlops: error: {record.error}", err=True)
    return record.exit_code


def _options(*, no_wait: bool, timeout_s: float | None) -> dict[str, object]:
    """Return the options that every remote runner has; those that were not given are left out."""
    values: dict[str, object] = {}
    if no_wait:
        values["is_detached"] = True
    if timeout_s is not None:
        values["timeout_s"] = timeout_s
    return values
