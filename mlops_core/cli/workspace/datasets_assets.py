"""``mlops datasets register|versions|lineage|export``: data sets with a name and versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, json_option
from mlops_core.cli.output import format_size, format_time, print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from mlops_core.workspace.assets.store import DataAsset
    from mlops_core.workspace.store import Store

_PARTS = ("train", "val", "test")


@click.command("register")
@click.argument("name")
@click.argument("folder", type=HomePath(path_type=Path), required=False)
@click.option("--run", "run_id", metavar="RUN", help="Register an output of this run instead of a folder.")
@click.option("--output", metavar="STEP.OUTPUT", help="Which output of the run.")
@click.option("--licence", default="", help="SPDX identifier of the licence of the data.")
@click.option("--description", default="", help="One sentence.")
@json_option
@click.pass_obj
def register_asset(
    context: dict[str, str | None],
    *,
    name: str,
    folder: Path | None,
    run_id: str | None,
    output: str | None,
    licence: str,
    description: str,
    as_json: bool,
) -> None:
    """Register a folder, or an output of a run, as a version of the data asset NAME.

    Equal content has one version: registering it again adds the facts that it lacks and reads it from the new place.
    The files stay where they are.
    """
    from mlops_core.api import workspace_path
    from mlops_core.runners.lifecycle.new_records import utc_now
    from mlops_core.workspace.assets.store import AssetStore
    from mlops_core.workspace.store import Store

    if (folder is None) == (run_id is None) or (output is None) != (run_id is None):
        raise UsageError("expected a FOLDER, or --run RUN with --output STEP.OUTPUT")
    facts = {"licence": licence, "description": description, "created": utc_now()}
    with Store(workspace_path(context["workspace"])) as store:
        if run_id is not None:
            folder, origin = _output_of(store, run_id, output or "")
            facts |= origin
        assert folder is not None  # noqa: S101  for mypy: checked above
        assets = AssetStore(store)
        asset, is_new = assets.register_folder(name, folder, **facts)
        place = assets.folder(asset)
    if as_json:
        print_json({**asset.to_json(), "is_new": is_new})
        return
    what = "registered" if is_new else f"is registered already, with equal content, and read from {place}"
    if run_id is not None and asset.run_id != facts["run_id"]:
        what += f" (made first by run {asset.run_id})"
    echo_line(
        f"{asset} (version {asset.version}) {what}: {asset.files} files, {format_size(asset.size_bytes)}; "
        f"use it with: dataset.path=asset:{asset}"
    )


def _output_of(store: Store, run_id: str, output: str) -> tuple[Path, dict[str, str]]:
    record = store.runs.load(run_id)
    step, _, name = output.rpartition(".")
    found = record.step(step)
    if found is None or name not in found.outputs:
        known = [f"{each.name}.{one}" for each in record.steps for one in each.outputs]
        raise UsageError(f"run {record.run_id} has no output '{output}'; outputs: {', '.join(known) or 'none'}")
    digest = found.outputs[name]
    if not store.artifacts.has(digest):
        raise UsageError(f"run {record.run_id}: the artifact {output} ({digest[:12]}) is no longer in the workspace")
    return store.artifacts.path(digest), {"artifact": digest, "run_id": record.run_id, "output": output}


@click.command("versions")
@click.argument("name", required=False)
@json_option
@click.pass_obj
def list_versions(context: dict[str, str | None], *, name: str | None, as_json: bool) -> None:
    """List the versions of a data asset, or of all, newest first."""
    from mlops_core.api import workspace_path
    from mlops_core.workspace.assets.store import AssetStore
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        assets = AssetStore(store).versions(name)
    if as_json:
        print_json([asset.to_json() for asset in assets])
        return
    print_table(
        ("asset", "version", "kind", "files", "size", "licence", "from", "created"),
        [
            (
                str(asset),
                asset.version,
                asset.kind,
                str(asset.files),
                format_size(asset.size_bytes),
                asset.licence or "-",
                f"run {asset.run_id}, {asset.output}" if asset.run_id else asset.path,
                format_time(asset.created),
            )
            for asset in assets
        ],
    )


@click.command("lineage")
@click.argument("asset")
@json_option
@click.pass_obj
def show_lineage(context: dict[str, str | None], *, asset: str, as_json: bool) -> None:
    """Show where a data asset (NAME, NAME:NUMBER or NAME:DIGEST) comes from, and the runs and models that used it."""
    from mlops_core.api import workspace_path
    from mlops_core.workspace.assets.lineage import read_lineage
    from mlops_core.workspace.assets.store import AssetStore
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        found = AssetStore(store).find(asset)
        lineage = read_lineage(store, found)
    if as_json:
        print_json(lineage.to_json())
        return
    _print_asset(found)
    if lineage.source is not None:
        echo_line(f"made by: run {found.run_id}, output {found.output}, from data {lineage.source}")
    for run in lineage.runs:
        echo_line(f"used by: run {run.run_id} ({run.use_case}, {run.status})")
    for version in lineage.models:
        echo_line(f"used by: model {version.use_case} version {version.version}")
    if not lineage.runs and not lineage.models:
        echo_line("used by: nothing")


def _print_asset(asset: DataAsset) -> None:
    echo_line(
        f"{asset} (version {asset.version}): {asset.kind}, {asset.files} files, {format_size(asset.size_bytes)}, "
        f"digest {asset.digest}, licence {asset.licence or 'unknown'}"
    )


@click.command("export")
@click.argument("assets", nargs=-1, required=True, metavar="ASSET | PART=ASSET...")
@click.argument("target", type=HomePath(path_type=Path))
@click.option(
    "--format",
    "layout",
    type=click.Choice(["folder", "mltable", "dataset-version"]),
    default="folder",
    show_default=True,
    help="The files; the files with an MLTable; or a file that names the versions of parts.",
)
@click.option("--scheme", default="", help="Text in front of the names in a dataset-version file.")
@click.pass_obj
def export_assets(
    context: dict[str, str | None], *, assets: tuple[str, ...], target: Path, layout: str, scheme: str
) -> None:
    """Write a data asset to the new folder TARGET, or the file TARGET that names the versions of PART=ASSET.

    For a dataset-version file the parts are train, val and test.
    """
    from mlops_core.api import workspace_path
    from mlops_core.workspace.assets.store import AssetStore
    from mlops_core.workspace.assets.tables import export_folder, write_dataset_version
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        known = AssetStore(store)
        if layout == "dataset-version":
            parts = {part: known.find(reference) for part, reference in map(_part, assets)}
            write_dataset_version(target, {name: parts[name] for name in _PARTS if name in parts}, scheme=scheme)
        elif len(assets) == 1:
            asset = known.find(assets[0])
            folder = known.check(asset)
            export_folder(asset, folder, target, as_table=layout == "mltable", cache=store.file_digests)
        else:
            raise UsageError(f"--format {layout} writes one data asset, not {len(assets)}")
    echo_line(f"wrote {target}")


def _part(text: str) -> tuple[str, str]:
    part, separator, reference = text.partition("=")
    if not separator or part not in _PARTS:
        raise UsageError(f"{text!r} is not PART=ASSET; parts: {', '.join(_PARTS)}")
    return part, reference


COMMANDS = (register_asset, list_versions, show_lineage, export_assets)
