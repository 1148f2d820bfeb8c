"""Decisions about models: ``mlops models approve|reject|alias|rollback|move``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, registered_name, use_case_option
from mlops_core.cli.streams import echo_line
from mlops_core.cli.trust.key_options import read_trusted_keys, trusted_key_options
from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mlops_core.workspace.model_versions import ApprovalEvidence, LedgerEntry
    from mlops_core.workspace.registry import Registry


def _why_option(function: Callable[..., object]) -> Callable[..., object]:
    """Add ``--why``."""
    return click.option("--why", required=True, metavar="TEXT", help="Reason, kept in the ledger.")(function)


@contextlib.contextmanager
def _changed_registry(context: dict[str, str | None]) -> Iterator[Registry]:
    """Return the registry; what is changed in it is announced to the installed observers."""
    from mlops_core.api import workspace_path
    from mlops_core.observers.publishing import announced_models
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store, announced_models(store):
        yield Registry(store)


@click.command("approve")
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
        version = registry.version(registered_name(usecase), model)
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


@click.command("reject")
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
    """Reject a version. A version with aliases is refused, unless they may be moved.

    Where it is deployed, it goes on answering; a warning names the deployments.
    """
    from mlops_core.api import workspace_path
    from mlops_core.deployments.ledger import DeploymentLedger
    from mlops_core.observers.publishing import announced_models
    from mlops_core.workspace.model_versions import ApprovalStatus
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store, announced_models(store):
        registry = Registry(store)
        version = registry.version(registered_name(usecase), model)
        _print_entries(registry.set_status(version, ApprovalStatus.REJECTED, why=why, moves_aliases=moves_aliases))
        for each in DeploymentLedger(store).of_version(version.use_case, version.version):
            plan = each.plan
            echo_line(
                f"mlops: warning: {each} is {each.state} and goes on answering; deploy another version, or: mlops "
                f"deployments rollback -u {version.use_case} --to {plan.stage} --endpoint {plan.endpoint} --why ...",
                err=True,
            )


@click.command("alias")
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
    if is_removed == (model is not None):
        raise UsageError(f"alias '{alias}': give either the version that it points to, or --remove")
    name = registered_name(usecase)
    with _changed_registry(context) as registry:
        target = None if model is None else registry.version(name, model).version
        expected = registry.alias_target(name, alias)
        _print_entries([registry.move_alias(name, alias, version=target, expected=expected, why=why)])


@click.command("rollback")
@use_case_option
@click.argument("alias")
@_why_option
@click.pass_obj
def roll_back(context: dict[str, str | None], *, usecase: str | None, alias: str, why: str) -> None:
    """Point an alias back to the previous version."""
    with _changed_registry(context) as registry:
        _print_entries([registry.roll_back(registered_name(usecase), alias, why=why)])


@click.command("move")
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
        moved = move_models(store, old, registered_name(new), why=why)
    versions = ", ".join(map(str, moved.versions))
    what = f"version {versions} belongs" if len(moved.versions) == 1 else f"versions {versions} belong"
    echo_line(f"model {moved.old}: {what} to {moved.new} now")


def _print_entries(entries: Iterable[LedgerEntry]) -> None:
    for entry in entries:
        echo_line(
            f"model {entry.use_case}, {entry.subject}: {entry.previous or 'nothing'} -> {entry.value or 'nothing'} "
            f"by {entry.who}, {entry.at}"
        )
