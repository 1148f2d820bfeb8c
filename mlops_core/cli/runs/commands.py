"""``mlops runs list|show|watch|logs|report|compare|tensorboard|stop|retry``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import json_option, require_use_case
from mlops_core.cli.output import (
    format_duration,
    format_size,
    format_time,
    print_json,
    print_outcome,
    print_result_tables,
    print_table,
)
from mlops_core.cli.runs import compare, report, stop, tensorboard, watch
from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from mlops_core.workspace.runs import RunSummary
    from mlops_core.workspace.store import Store


_OFFLINE = click.option(
    "--offline", "is_offline", is_flag=True, help="Show the recorded state without asking a service."
)


@click.group("runs")
def command() -> None:
    """Show, compare, stop and retry runs. RUN is an id, the beginning of one, or 'latest'."""


@command.command("list")
@click.option("--usecase", "-u", metavar="NAME", help="Show only runs of this use case.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@_OFFLINE
@json_option
@click.pass_obj
def list_runs(
    context: dict[str, str | None], *, usecase: str | None, limit: int, is_offline: bool, as_json: bool
) -> None:
    """List the newest runs; runs at a service are refreshed."""
    from dataclasses import asdict

    from mlops_core.api import workspace_path
    from mlops_core.runners.remote.refreshing import refresh_running
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        runs = store.runs.newest(use_case=usecase, limit=limit)
        if not is_offline and refresh_running(store, runs, note=_note):
            runs = store.runs.newest(use_case=usecase, limit=limit)
        models = {run.run_id: _model(store, run) for run in runs}
    if not runs:
        require_use_case(usecase)
    if as_json:
        print_json([{**asdict(run), "model": models[run.run_id]} for run in runs])
        return
    print_table(
        ("run", "use case", "runner", "status", "created", "took", "model"),
        [
            (
                run.run_id,
                run.use_case,
                run.runner,
                run.status,
                format_time(run.created),
                format_duration(run.duration_s),
                models[run.run_id],
            )
            for run in runs
        ],
    )


def _model(store: Store, run: RunSummary) -> str:
    """Return the version of the registered model, or of the model package where a service registered it."""
    from mlops_core.runners.remote.refreshing import is_remote

    if run.model_version is not None:
        return str(run.model_version)
    if run.status != "accepted" or not is_remote(run.runner):
        return "-"
    remote = store.runs.load(run.run_id).remote
    return f"package {remote.package_version}" if remote and remote.model_package else "-"


def _note(text: str) -> None:
    echo_line(f"note: {text}", err=True)


@command.command("show")
@click.argument("run", default="latest")
@_OFFLINE
@json_option
@click.pass_obj
def show_run(context: dict[str, str | None], *, run: str, is_offline: bool, as_json: bool) -> None:
    """Show the data, steps, verdict and model of a run."""
    from mlops_core.api import approval_of, run_folder, workspace_path
    from mlops_core.cli.runs.trials import print_search
    from mlops_core.runners.remote.refreshing import refreshed
    from mlops_core.workspace.searches.trials import read_searches
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        record = store.runs.load(run)
        if not is_offline:
            record = refreshed(store, record, note=_note)
        searches = read_searches(record, store.artifacts.path)
    if as_json:
        trials = {"searches": [search.to_json() for search in searches]} if searches else {}
        print_json({**record.to_json(), **trials})
        return
    echo_line(f"run {record.run_id}: {record.use_case} ({record.plugin}), {record.status}, seed {record.seed}")
    if record.remote:
        echo_line(f"carried out by: {record.runner}, {record.remote.execution}")
    if record.dataset:
        data = record.dataset
        asset = f" ({data.assets})" if data.assets else ""
        echo_line(
            f"data: {data.name}{asset}, {data.files} files, {format_size(data.size_bytes)}, "
            f"digest {data.digest[:12]}, {data.path}"
        )
    for reference, digest in record.splits.items():
        echo_line(f"split: {reference}, digest {digest[:12]}")
    print_table(
        ("step", "status", "took", "key", "reused from"),
        [
            (step.name, step.status, format_duration(step.duration_s), step.key[:12], step.reused_from or "-")
            for step in record.steps
        ],
    )
    for search in searches:
        print_search(search)
    if record.error:
        echo_line(f"error: {record.error}")
    print_outcome(record, approval=approval_of(record, workspace=context["workspace"]))
    print_result_tables(record, run_folder(record.run_id, workspace=context["workspace"]))


@command.command("logs")
@click.argument("run", default="latest")
@click.option("--step", help="Print only the log of this step.")
@_OFFLINE
@click.pass_obj
def show_logs(context: dict[str, str | None], *, run: str, step: str | None, is_offline: bool) -> None:
    """Print the logs of a run's steps; logs at a service are fetched first."""
    from mlops_core.api import workspace_path
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        run_id = store.runs.full_id(run)
        if not is_offline:
            _fetch_logs(store, run_id, step)
        logs = sorted((store.runs.folder(run_id) / "logs").glob("*.log"), key=lambda log: log.stat().st_mtime)
    known = [log.stem for log in logs]
    if step and step not in known:
        hint = did_you_mean(step, known) or ";"
        raise UsageError(f"run {run_id} has no log of a step '{step}'{hint} logs: {', '.join(known) or 'none'}")
    for log in logs:
        if step in (None, log.stem):
            echo_line(f"==> {log.stem} <==")
            with log.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    click.echo(line, nl=False)


def _fetch_logs(store: Store, run_id: str, step: str | None) -> None:
    """Fetch the logs of a run at a service; the logs in the workspace are shown when that fails."""
    from mlops_core.errors import MlopsError
    from mlops_core.runners.remote.refreshing import is_remote, open_remote_run

    record = store.runs.load(run_id)
    if not is_remote(record.runner) or record.remote is None:
        return
    try:
        open_remote_run(store, record).fetch_logs(step)
    except MlopsError as error:
        _note(f"only the logs in the workspace are shown: {error}")


command.add_command(stop.stop_command)
command.add_command(stop.retry_command)
command.add_command(report.command)
command.add_command(watch.watch_run)
command.add_command(compare.command)
command.add_command(tensorboard.command)
