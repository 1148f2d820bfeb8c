"""``mlops runs list|show|logs|report|compare``."""

from __future__ import annotations

import click

from mlops_core.cli import runs_compare_command, runs_report_command
from mlops_core.cli.options import json_option
from mlops_core.cli.output import format_duration, format_size, format_time, print_json, print_outcome, print_table
from mlops_core.errors import UsageError, did_you_mean


@click.group("runs")
def command() -> None:
    """Look at finished and running runs. RUN is an id, the beginning of one, or 'latest'."""


@command.command("list")
@click.option("--usecase", "-u", metavar="NAME", help="Only runs of this use case.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@json_option
@click.pass_obj
def list_runs(context: dict[str, str | None], *, usecase: str | None, limit: int, as_json: bool) -> None:
    """List the newest runs."""
    from dataclasses import asdict

    from mlops_core.api import workspace_path
    from mlops_core.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        runs = store.list_runs(use_case=usecase, limit=limit)
    if as_json:
        print_json([asdict(run) for run in runs])
        return
    print_table(
        ("run", "use case", "status", "created", "took", "model"),
        [
            (
                run.run_id,
                run.use_case,
                run.status,
                format_time(run.created),
                format_duration(run.duration_s),
                run.model_version or "-",
            )
            for run in runs
        ],
    )


@command.command("show")
@click.argument("run", default="latest")
@json_option
@click.pass_obj
def show_run(context: dict[str, str | None], *, run: str, as_json: bool) -> None:
    """Explain one run: its data, steps, verdict and model."""
    from mlops_core.api import open_run

    record = open_run(run, workspace=context["workspace"])
    if as_json:
        print_json(record.to_json())
        return
    click.echo(f"run {record.run_id}: {record.use_case} ({record.plugin}), {record.status}, seed {record.seed}")
    if record.dataset:
        data = record.dataset
        click.echo(
            f"data: {data.name}, {data.files} files, {format_size(data.size_bytes)}, "
            f"digest {data.digest[:12]}, {data.path}"
        )
    print_table(
        ("step", "status", "took", "key", "reused from"),
        [
            (step.name, step.status, format_duration(step.duration_s), step.key[:12], step.reused_from or "-")
            for step in record.steps
        ],
    )
    if record.error:
        click.echo(f"error: {record.error}")
    print_outcome(record)


@command.command("logs")
@click.argument("run", default="latest")
@click.option("--step", help="Only this step's log.")
@click.pass_obj
def show_logs(context: dict[str, str | None], *, run: str, step: str | None) -> None:
    """Print the logs of a run's steps."""
    from mlops_core.api import workspace_path
    from mlops_core.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        run_id = store.full_run_id(run)
        logs = sorted((store.run_folder(run_id) / "logs").glob("*.log"), key=lambda log: log.stat().st_mtime)
    known = [log.stem for log in logs]
    if step and step not in known:
        raise UsageError(
            f"run {run_id} has no log of a step '{step}'{did_you_mean(step, known)} logs: {', '.join(known) or 'none'}"
        )
    for log in logs:
        if step in (None, log.stem):
            click.echo(f"==> {log.stem} <==")
            with log.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    click.echo(line, nl=False)


command.add_command(runs_report_command.command)
command.add_command(runs_compare_command.command)
