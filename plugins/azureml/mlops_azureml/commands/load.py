"""``mlops azureml load``."""

from __future__ import annotations

from typing import Any

import click

from mlops_azureml.options import read_options, settings_options
from mlops_core.cli.options import chosen_use_case, use_case_option
from mlops_core.cli.output import run_observer
from mlops_core.cli.streams import echo_line


@click.command("load")
@use_case_option
@click.option("--to", "target", required=True, metavar="URL", help="Folder: azureml://datastores/NAME/paths/FOLDER/.")
@click.argument("archive")
@click.pass_obj
def load_command(
    context: dict[str, str | None], /, *, usecase: str | None, target: str, archive: str, **values: Any
) -> None:
    """Load a raw ARCHIVE of images and labels into a datastore, as folders that a job can mount.

    ARCHIVE is a file or an address, which may have a shared access signature. Labels, such as NAME_symbols.npy, become
    annotations in one .jsonl file. The command prints the variables with which a run reads both.
    """
    from mlops_azureml.delivery.loading import fetch_archive, load
    from mlops_azureml.service.datastores import DatastoreContainer
    from mlops_azureml.service.workspace import open_workspace
    from mlops_azureml.target import find_target
    from mlops_azureml.values.addresses import DatastoreUri
    from mlops_core import prepare_run, workspace_path
    from mlops_core.runners import Store

    request, place = prepare_run(chosen_use_case(usecase)), DatastoreUri.parse(target)
    identifier = place.workspace or find_target("", read_options(values)).workspace
    observer = run_observer()
    with Store(workspace_path(context["workspace"])) as store:
        bucket = DatastoreContainer(open_workspace(identifier), place.datastore)
        path = fetch_archive(archive, store.home / "azureml" / "archives")
        loaded = load(request, path, target, store=store, bucket=bucket, observer=observer)
    observer.close()
    echo_line(f"{loaded.count} images loaded")
    echo_line(f"export INPUT_IMAGE_DATA_PATH={loaded.images}")
    echo_line(f"export INPUT_LABEL_DATA_PATH={loaded.labels}")


load_command.params += settings_options()
