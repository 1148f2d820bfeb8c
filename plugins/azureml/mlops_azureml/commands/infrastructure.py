"""``mlops azureml infrastructure``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_core.cli.options import HomePath
from mlops_core.cli.streams import echo_line


@click.command("infrastructure")
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.argument("folder", type=HomePath(file_okay=False), default="infrastructure")
def infrastructure_command(*, force: bool, folder: str) -> None:
    """Write Terraform files for a workspace into FOLDER (default: infrastructure).

    They describe a workspace with its storage and registry, a CPU and a GPU cluster that scale to zero, a virtual
    network, and the identities of the nodes and of the CI service, which signs in without a secret.
    """
    from mlops_azureml.delivery.infrastructure import write_infrastructure

    for path in write_infrastructure(Path(folder), is_forced=force):
        echo_line(f"{path}: written")
    echo_line("next: terraform init && terraform plan -var subscription_id=ID, and read the plan")
