"""``mlops azureml``: the commands that are specific to Azure Machine Learning."""

from __future__ import annotations

import click

from mlops_azureml.commands.check import check_command


@click.group("azureml")
def command() -> None:
    """Work with pipeline jobs and workspaces of Azure Machine Learning."""


command.add_command(check_command)

__all__ = ["command"]
