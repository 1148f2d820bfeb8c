"""``mlops models list|show``."""

from __future__ import annotations

import click

from mlops_core.cli.options import chosen_use_case, json_option, use_case_option
from mlops_core.cli.output import print_json, print_table


@click.group("models")
def command() -> None:
    """Look at registered models."""


@command.command("list")
@click.option("--usecase", "-u", metavar="NAME", help="Only models of this use case.")
@json_option
@click.pass_obj
def list_models(context: dict[str, str | None], *, usecase: str | None, as_json: bool) -> None:
    """List the registered versions, newest first."""
    from mlops_core.api import workspace_path
    from mlops_core.registry import Registry
    from mlops_core.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        versions = Registry(store).versions(usecase)
    if as_json:
        print_json([version.to_json() for version in versions])
        return
    print_table(
        ("model", "version", "status", "created", "metrics", "data", "run"),
        [
            (
                version.use_case,
                version.version,
                version.status,
                version.created,
                " ".join(f"{name}={value:.4g}" for name, value in version.metrics.items()),
                f"{version.dataset}{' (generated)' if version.is_generated_data else ''}",
                version.run_id,
            )
            for version in versions
        ],
    )


@command.command("show")
@use_case_option
@click.argument("version", type=int, required=False)
@json_option
@click.pass_obj
def show_model(context: dict[str, str | None], *, usecase: str | None, version: int | None, as_json: bool) -> None:
    """Show one version; the newest when none is given."""
    from mlops_core.api import workspace_path
    from mlops_core.manager import find_use_case
    from mlops_core.registry import Registry
    from mlops_core.store import Store

    name = find_use_case(chosen_use_case(usecase)).name
    with Store(workspace_path(context["workspace"])) as store:
        found = Registry(store).version(name, version)
        folder = store.artifact_path(found.artifact)
    if as_json:
        print_json({**found.to_json(), "path": str(folder)})
        return
    generated = " (generated data)" if found.is_generated_data else ""
    click.echo(f"model {found.use_case} version {found.version}: {found.status}")
    click.echo(f"  made by run {found.run_id} on {found.created} with {found.plugin}")
    click.echo(f"  data: {found.dataset}{generated}, digest {found.dataset_digest[:12]}")
    click.echo(f"  artifact: {folder}")
    print_table(("metric", "value"), [(name, f"{value:.6g}") for name, value in found.metrics.items()])
