"""``mlops models list`` and ``mlops models show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_core.cli.models.opened import opened_registry
from mlops_core.cli.options import json_option, registered_name, require_use_case, use_case_option
from mlops_core.cli.output import format_time, print_json, print_licences, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.errors import MlopsError

if TYPE_CHECKING:
    from mlops_core.workspace.model_versions import ModelVersion

_MOST_METRICS = 3


@click.command("list")
@click.option("--usecase", "-u", metavar="NAME", help="Show only models of this use case.")
@json_option
@click.pass_obj
def list_models(context: dict[str, str | None], *, usecase: str | None, as_json: bool) -> None:
    """List the registered versions, newest first."""
    with opened_registry(context) as registry:
        versions = registry.versions(usecase)
    if not versions:
        require_use_case(usecase)
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


@click.command("show")
@use_case_option
@click.argument("model", required=False)
@json_option
@click.pass_obj
def show_model(context: dict[str, str | None], *, usecase: str | None, model: str | None, as_json: bool) -> None:
    """Show one version (default: the newest)."""
    from mlops_core.api import model_path

    with opened_registry(context) as registry:
        found = registry.version(registered_name(usecase), model)
    folder = model_path(found, workspace=context["workspace"])
    if as_json:
        print_json({**found.to_json(), "path": str(folder)})
        return
    print_version(found)
    _print_drift(found, context)
    echo_line(f"  artifact: {folder}")
    print_table(("metric", "value"), [(name, f"{value:.6g}") for name, value in found.metrics.items()])


def print_version(found: ModelVersion) -> None:
    """Print a version: where it comes from, and its data."""
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
