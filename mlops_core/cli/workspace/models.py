"""``mlops models``: the registry. MODEL is a version's number or an alias such as ``best``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, json_option, use_case_option
from mlops_core.cli.options import registered_name as _name
from mlops_core.cli.output import format_time, print_json, print_licences, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.cli.trust.key_options import read_trusted_keys, trusted_key_options
from mlops_core.cli.workspace import models_history
from mlops_core.errors import MlopsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mlops_core.workspace.model_versions import ApprovalEvidence, LedgerEntry, ModelVersion
    from mlops_core.workspace.registry import Registry

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


@contextlib.contextmanager
def _changed_registry(context: dict[str, str | None]) -> Iterator[Registry]:
    """Return the registry; what is changed in it is announced to the installed observers."""
    from mlops_core.api import workspace_path
    from mlops_core.observers.publishing import announced_models
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store, announced_models(store):
        yield Registry(store)


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
    _print_drift(found, context)
    echo_line(f"  artifact: {folder}")
    print_table(("metric", "value"), [(name, f"{value:.6g}") for name, value in found.metrics.items()])


def _print_version(found: ModelVersion) -> None:
    generated = " (generated data)" if found.is_generated_data else ""
    aliases = f", {', '.join(found.aliases)}" if found.aliases else ""
    echo_line(f"model {found.use_case} version {found.version}: {found.status}{aliases}")
    echo_line(f"  made by run {found.run_id} on {found.created} with {found.plugin}")
    asset = f" ({found.dataset_asset})" if found.dataset_asset else ""
    echo_line(f"  data: {found.dataset}{asset}{generated}, digest {found.dataset_digest[:12]}")
    print_licences(found.licences, indent="  ")
    for reference, digest in found.splits.items():
        echo_line(f"  split: {reference}, digest {digest[:12]}")


def _print_drift(found: ModelVersion, context: dict[str, str | None]) -> None:
    """Say with what drift is detected, and how often it was."""
    from mlops_core.api import workspace_path
    from mlops_core.evaluation.reference_statistics import REFERENCE_FILE, read_reference
    from mlops_core.serving.watch.records import recorded_alarms
    from mlops_core.workspace.store import Store

    if not found.reference:
        echo_line("  drift: cannot be detected: the evaluation kept no reference statistics; run the use case again")
        return
    home = workspace_path(context["workspace"])
    with Store(home) as store:
        path = store.runs.folder(found.run_id) / REFERENCE_FILE
    try:
        reference = read_reference(path)
    except MlopsError as error:
        echo_line(f"  drift: cannot be detected: {error}")
        return
    alarms = [
        each.alarm
        for each in recorded_alarms(home, found.use_case)
        if each.alarm.model.endswith(f" version {found.version}")
    ]
    seen = f"{len(alarms)} alarms, the last on {format_time(alarms[0].raised_at)}" if alarms else "no alarms"
    size = f"{len(reference):,} samples, {len(reference.features):,} features of the {reference.source}"
    echo_line(f"  drift: {seen}; reference: {size}, digest {found.reference[:12]}")


@command.command("approve")
@use_case_option
@click.argument("model")
@_why_option
@click.option(
    "--bundle",
    type=HomePath(path_type=Path),
    metavar="FILE",
    help="Evidence bundle of this version; it is verified, and the ledger keeps its SHA-256.",
)
@trusted_key_options
@click.pass_obj
def approve_model(
    context: dict[str, str | None],
    *,
    usecase: str | None,
    model: str,
    why: str,
    bundle: Path | None,
    public_key: Path | None,
    trust_file: Path | None,
) -> None:
    """Approve a version; the alias 'best' moves to it if a paired test on the same test set shows that it is better.

    Where workspace.yaml says 'require_bundle: true', a version is approved only with a bundle that is verified.
    """
    from mlops_core.api import workspace_path
    from mlops_core.observers.publishing import announced_models
    from mlops_core.runners.evidence import version_comparison
    from mlops_core.settings import read_settings
    from mlops_core.use_cases.manager import load_use_case
    from mlops_core.workspace.model_versions import ApprovalStatus
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    if bundle is None and (public_key or trust_file):
        raise UsageError("--key and --trust verify a bundle; give it with --bundle FILE")
    home = workspace_path(context["workspace"])
    evidence = None if bundle is None else _verified(bundle, home, public_key=public_key, trust_file=trust_file)
    with Store(home) as store, announced_models(store):
        registry = Registry(store)
        version = registry.version(_name(usecase), model)
        _print_entries(registry.set_status(version, ApprovalStatus.APPROVED, why=why, evidence=evidence))
        compare = version_comparison(store, lambda: load_use_case(version.use_case).compute_metrics)
        allows_pending = read_settings().best_allows_pending
        echo_line(registry.promote_best(version, compare=compare, allows_pending=allows_pending))


def _verified(bundle: Path, home: Path, *, public_key: Path | None, trust_file: Path | None) -> ApprovalEvidence:
    """Return the evidence in a bundle, after verifying it with the given keys or with those of the workspace."""
    from mlops_core.trust.approval import verified_evidence

    keys = read_trusted_keys(public_key, trust_file)
    evidence, not_checked = verified_evidence(bundle, home, keys=keys)
    if not_checked:
        echo_line(f"mlops: warning: {bundle} is verified; not checked: {', '.join(not_checked)}", err=True)
    return evidence


@command.command("reject")
@use_case_option
@click.argument("model")
@click.option(
    "--move-aliases",
    "moves_aliases",
    is_flag=True,
    help="Move its aliases back to their versions before; an alias without one is removed.",
)
@_why_option
@click.pass_obj
def reject_model(
    context: dict[str, str | None], *, usecase: str | None, model: str, moves_aliases: bool, why: str
) -> None:
    """Reject a version. A version with aliases is refused, unless they may be moved."""
    from mlops_core.workspace.model_versions import ApprovalStatus

    with _changed_registry(context) as registry:
        version = registry.version(_name(usecase), model)
        _print_entries(registry.set_status(version, ApprovalStatus.REJECTED, why=why, moves_aliases=moves_aliases))


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
    with _changed_registry(context) as registry:
        target = None if model is None else registry.version(name, model).version
        expected = registry.alias_target(name, alias)
        _print_entries([registry.move_alias(name, alias, version=target, expected=expected, why=why)])


@command.command("rollback")
@use_case_option
@click.argument("alias")
@_why_option
@click.pass_obj
def roll_back(context: dict[str, str | None], *, usecase: str | None, alias: str, why: str) -> None:
    """Point an alias back to the previous version."""
    with _changed_registry(context) as registry:
        _print_entries([registry.roll_back(_name(usecase), alias, why=why)])


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
    from mlops_core.observers.publishing import announced_models
    from mlops_core.workspace.model_moves import move_models
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store, announced_models(store):
        moved = move_models(store, old, _name(new), why=why)
    versions = ", ".join(map(str, moved.versions))
    what = f"version {versions} belongs" if len(moved.versions) == 1 else f"versions {versions} belong"
    echo_line(f"model {moved.old}: {what} to {moved.new} now")


@command.command("export")
@use_case_option
@click.argument("names", metavar="[MODEL] FOLDER", nargs=-1, required=True, type=HomePath())
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    help="Also describe the model in the format of this observer, for example mlflow.",
)
@click.pass_obj
def export_model(
    context: dict[str, str | None], *, usecase: str | None, names: tuple[str, ...], format_name: str | None
) -> None:
    """Copy a version's artifact to a new FOLDER, with its origin in mlops-model.json and its model card in README.md.

    MODEL is a version or an alias; without it, best is exported.
    """
    from mlops_core.api import export_model

    if len(names) > 2:
        raise UsageError(f"expected [MODEL] FOLDER, not {len(names)} names: {' '.join(names)}")
    model, folder = names if len(names) == 2 else ("best", names[0])
    describe = None
    if format_name is not None:
        from mlops_core.api import workspace_path
        from mlops_core.observers.formats import format_writer

        describe = format_writer(format_name, home=workspace_path(context["workspace"]))
    found = export_model(_name(usecase), model, folder, workspace=context["workspace"], describe=describe)
    _print_version(found)
    echo_line(f"  exported to {folder}")


@command.command("metadata")
@use_case_option
@click.argument("model", required=False)
@click.option(
    "--output",
    type=HomePath(file_okay=False, path_type=Path),
    help="Write model_metadata.json and best_model_metadata.json to this folder.",
)
@click.option(
    "--name",
    default="",
    help="Name of the model in the registry of a service (default: the environment variable MODEL_BASE_NAME, else the "
    "use case's).",
)
@json_option
@click.pass_obj
def show_metadata(
    context: dict[str, str | None],
    *,
    usecase: str | None,
    model: str | None,
    output: Path | None,
    name: str,
    as_json: bool,
) -> None:
    """Show the tags of one version (default: the newest) for a service's registry, or write its metadata files."""
    from mlops_core.settings import read_settings
    from mlops_core.workspace.metadata.model_files import model_tags, write_model_files

    settings = read_settings()
    with _registry(context) as registry:
        found = registry.version(_name(usecase), model)
        name = name or settings.model_base_name
        written = write_model_files(registry, found, output, name=name) if output is not None else ()
    tags = model_tags(found, environ=settings.environ)
    if as_json:
        print_json({"tags": tags, "files": [str(path) for path in written]})
        return
    print_table(("tag", "value"), list(tags.items()), title=f"model {found.use_case} version {found.version}")
    for path in written:
        echo_line(f"wrote {path}")


@command.command("card")
@use_case_option
@click.argument("model", required=False)
@click.option(
    "-o", "--output", type=HomePath(path_type=Path, dir_okay=False), metavar="FILE", help="Write it to this file."
)
@click.option("--licence", default="", metavar="SPDX", help="Licence of the model itself, for example Apache-2.0.")
@click.pass_obj
def show_card(
    context: dict[str, str | None], *, usecase: str | None, model: str | None, output: Path | None, licence: str
) -> None:
    """Show the model card of one version (default: the newest): Markdown with the front matter of the Hugging Face Hub.

    It holds the intended use, the data and its licence, the metrics with intervals and slices, limits and lineage.
    """
    from mlops_core.api import workspace_path
    from mlops_core.datasets.licences import is_known_licence
    from mlops_core.trust.model_card import version_card
    from mlops_core.workspace.files import write_atomically
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    if licence and not is_known_licence(licence):
        raise UsageError(f"--licence {licence!r}: expected an SPDX identifier such as Apache-2.0")
    with Store(workspace_path(context["workspace"])) as store:
        found = Registry(store).version(_name(usecase), model)
        text = version_card(store, found, licence=licence)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_atomically(output, text)
    except OSError as error:
        raise UsageError(f"--output {output}: {error.strerror or error}") from error
    echo_line(f"model card: {output}")


def _print_entries(entries: Iterable[LedgerEntry]) -> None:
    for entry in entries:
        echo_line(
            f"model {entry.use_case}, {entry.subject}: {entry.previous or 'nothing'} -> {entry.value or 'nothing'} "
            f"by {entry.who}, {entry.at}"
        )


command.add_command(models_history.command)
