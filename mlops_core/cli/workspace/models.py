"""``mlops models``: the registry. MODEL is a version's number or an alias such as ``best``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import chosen_use_case, json_option, use_case_option
from mlops_core.cli.output import format_time, print_json, print_table
from mlops_core.errors import UsageError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from mlops_core.workspace.registry import LedgerEntry, ModelVersion, Registry

import contextlib

_MOST_METRICS = 3


@click.group("models")
def command() -> None:
    """Show, approve, reject and export registered models. MODEL is a version number or an alias such as 'best'."""


def _why_option(function: Callable[..., object]) -> Callable[..., object]:
    return click.option("--why", required=True, metavar="TEXT", help="Reason, kept in the ledger.")(function)


@contextlib.contextmanager
def _registry(context: dict[str, str | None]) -> Iterator[Registry]:
    from mlops_core.api import workspace_path
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        yield Registry(store)


def _name(usecase: str | None) -> str:
    """Return the use case's name as it is registered; its plugin does not have to be installed."""
    from mlops_core.errors import PluginError, UsageError
    from mlops_core.use_cases.discovery import find_use_case

    given = chosen_use_case(usecase)
    try:
        return find_use_case(given).name
    except (PluginError, UsageError):
        return given.upper()


@command.command("list")
@click.option("--usecase", "-u", metavar="NAME", help="Show only models of this use case.")
@json_option
@click.pass_obj
def list_models(context: dict[str, str | None], *, usecase: str | None, as_json: bool) -> None:
    """List the registered versions, newest first."""
    with _registry(context) as registry:
        versions = registry.versions(usecase)
    if as_json:
        print_json([version.to_json() for version in versions])
        return
    print_table(
        ("model", "version", "status", "aliases", "created", "metrics", "data", "run"),
        [
            (
                version.use_case,
                version.version,
                version.status,
                " ".join(version.aliases) or "-",
                format_time(version.created),
                _metrics(version),
                f"{version.dataset}{' (generated)' if version.is_generated_data else ''}",
                version.run_id,
            )
            for version in versions
        ],
    )


def _metrics(version: ModelVersion) -> str:
    """Return the metrics of a version, or of many the one by which versions are compared; `show` has all."""
    metrics = dict(version.metrics)
    if len(metrics) > _MOST_METRICS:
        name = version.compared_by if version.compared_by in metrics else next(iter(metrics))
        return f"{name}={metrics[name]:.4g} and {len(metrics) - 1} more"
    return " ".join(f"{name}={value:.4g}" for name, value in metrics.items())


@command.command("show")
@use_case_option
@click.argument("model", required=False)
@json_option
@click.pass_obj
def show_model(context: dict[str, str | None], *, usecase: str | None, model: str | None, as_json: bool) -> None:
    """Show one version (default: the newest)."""
    from mlops_core.api import model_path

    with _registry(context) as registry:
        found = registry.version(_name(usecase), model)
    folder = model_path(found, workspace=context["workspace"])
    if as_json:
        print_json({**found.to_json(), "path": str(folder)})
        return
    _print_version(found)
    click.echo(f"  artifact: {folder}")
    print_table(("metric", "value"), [(name, f"{value:.6g}") for name, value in found.metrics.items()])


def _print_version(found: ModelVersion) -> None:
    generated = " (generated data)" if found.is_generated_data else ""
    aliases = f", {', '.join(found.aliases)}" if found.aliases else ""
    click.echo(f"model {found.use_case} version {found.version}: {found.status}{aliases}")
    click.echo(f"  made by run {found.run_id} on {found.created} with {found.plugin}")
    click.echo(f"  data: {found.dataset}{generated}, digest {found.dataset_digest[:12]}")


@command.command("approve")
@use_case_option
@click.argument("model")
@_why_option
@click.pass_obj
def approve_model(context: dict[str, str | None], *, usecase: str | None, model: str, why: str) -> None:
    """Approve a version."""
    _decide(context, usecase, model, why=why, is_approved=True)


@command.command("reject")
@use_case_option
@click.argument("model")
@_why_option
@click.pass_obj
def reject_model(context: dict[str, str | None], *, usecase: str | None, model: str, why: str) -> None:
    """Reject a version."""
    _decide(context, usecase, model, why=why, is_approved=False)


def _decide(context: dict[str, str | None], usecase: str | None, model: str, *, why: str, is_approved: bool) -> None:
    from mlops_core.workspace.registry import ApprovalStatus

    with _registry(context) as registry:
        version = registry.version(_name(usecase), model)
        status = ApprovalStatus.APPROVED if is_approved else ApprovalStatus.REJECTED
        _print_entry(registry.set_status(version, status, why=why))


@command.command("alias")
@use_case_option
@click.argument("alias")
@click.argument("model", required=False)
@click.option("--remove", "is_removed", is_flag=True, help="Remove the alias.")
@_why_option
@click.pass_obj
def move_alias(
    context: dict[str, str | None], *, usecase: str | None, alias: str, model: str | None, is_removed: bool, why: str
) -> None:
    """Point an alias such as 'production' to a version."""
    from mlops_core.errors import UsageError

    if is_removed == (model is not None):
        raise UsageError(f"alias '{alias}': give either the version that it points to, or --remove")
    name = _name(usecase)
    with _registry(context) as registry:
        target = None if model is None else registry.version(name, model).version
        expected = registry.alias_target(name, alias)
        _print_entry(registry.move_alias(name, alias, version=target, expected=expected, why=why))


@command.command("rollback")
@use_case_option
@click.argument("alias")
@_why_option
@click.pass_obj
def roll_back(context: dict[str, str | None], *, usecase: str | None, alias: str, why: str) -> None:
    """Point an alias back to the previous version."""
    with _registry(context) as registry:
        _print_entry(registry.roll_back(_name(usecase), alias, why=why))


@command.command("history")
@use_case_option
@click.option("--at", metavar="TIME", help="Show the state at this time (ISO 8601), for example 2026-05-03.")
@json_option
@click.pass_obj
def show_history(context: dict[str, str | None], *, usecase: str | None, at: str | None, as_json: bool) -> None:
    """Show the ledger: who approved, rejected or moved what, when and why."""
    import datetime as dt
    from dataclasses import asdict

    end = _end_of(at) if at else None
    with _registry(context) as registry:
        entries = registry.history(_name(usecase))
    if end:
        so_far = (entry for entry in entries if dt.datetime.fromisoformat(entry.at) <= end)
        entries = tuple({entry.subject: entry for entry in so_far}.values())
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    print_table(
        ("when", "who", "subject", "before", "now", "why"),
        [
            (format_time(entry.at), entry.who, entry.subject, entry.previous or "-", entry.value or "-", entry.why)
            for entry in entries
        ],
    )


def _end_of(time: str) -> dt.datetime:
    """Parse an ISO 8601 time; a date means the end of that day, a time without offset is UTC."""
    import datetime as dt

    try:
        found = dt.datetime.fromisoformat(time)
    except ValueError:
        raise UsageError(f"--at {time}: expected a time in ISO 8601, such as 2026-05-03 or 2026-05-03T14:30") from None
    if "T" not in time and " " not in time:
        found += dt.timedelta(days=1, microseconds=-1)
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


@command.command("move")
@click.argument("old")
@click.argument("new")
@click.option(
    "--why", default="the use case was renamed", show_default=True, metavar="TEXT", help="Reason, kept in the ledger."
)
@click.pass_obj
def move_models(context: dict[str, str | None], *, old: str, new: str, why: str) -> None:
    """Move the models of the use case OLD, which was renamed, to the name NEW: versions, approvals, aliases, ledger."""
    from mlops_core.api import workspace_path
    from mlops_core.workspace.model_moves import move_models
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        moved = move_models(store, old, _name(new), why=why)
    versions = ", ".join(map(str, moved.versions))
    click.echo(f"model {moved.old}: version(s) {versions} belong to {moved.new} now")


@command.command("export")
@use_case_option
@click.argument("model", default="best")
@click.argument("folder", type=click.Path())
@click.pass_obj
def export_model(context: dict[str, str | None], *, usecase: str | None, model: str, folder: str) -> None:
    """Copy a version's artifact to a new FOLDER, with its origin in mlops-model.json."""
    from mlops_core.api import export_model

    found = export_model(_name(usecase), model, folder, workspace=context["workspace"])
    _print_version(found)
    click.echo(f"  exported to {folder}")


def _print_entry(entry: LedgerEntry) -> None:
    click.echo(
        f"model {entry.use_case}, {entry.subject}: {entry.previous or 'nothing'} -> {entry.value or 'nothing'} "
        f"by {entry.who}, {entry.at}"
    )
