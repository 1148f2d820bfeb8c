"""Files about a model: ``mlops models export|metadata|card``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_core.cli.models.opened import opened_registry
from mlops_core.cli.models.showing import print_version
from mlops_core.cli.options import HomePath, json_option, registered_name, use_case_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError


@click.command("export")
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
    found = export_model(registered_name(usecase), model, folder, workspace=context["workspace"], describe=describe)
    print_version(found)
    echo_line(f"  exported to {folder}")


@click.command("metadata")
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
    with opened_registry(context) as registry:
        found = registry.version(registered_name(usecase), model)
        name = name or settings.model_base_name
        written = write_model_files(registry, found, output, name=name) if output is not None else ()
    tags = model_tags(found, environ=settings.environ)
    if as_json:
        print_json({"tags": tags, "files": [str(path) for path in written]})
        return
    print_table(("tag", "value"), list(tags.items()), title=f"model {found.use_case} version {found.version}")
    for path in written:
        echo_line(f"wrote {path}")


@click.command("card")
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
        found = Registry(store).version(registered_name(usecase), model)
        text = version_card(store, found, licence=licence)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_atomically(output, text)
    except OSError as error:
        raise UsageError(f"--output {output}: {error.strerror or error}") from error
    echo_line(f"model card: {output}")
