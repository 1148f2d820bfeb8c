"""``mlops azureml``: the commands that are specific to Azure Machine Learning."""

from __future__ import annotations

import click

from mlops_azureml.commands.check import check_command
from mlops_azureml.commands.emulate import emulate_command
from mlops_azureml.commands.estimate import estimate_command
from mlops_azureml.commands.infrastructure import infrastructure_command


@click.group("azureml")
def command() -> None:
    """Work with pipeline jobs and workspaces of Azure Machine Learning."""


command.add_command(check_command)
command.add_command(estimate_command)
command.add_command(emulate_command)
command.add_command(infrastructure_command)

__all__ = ["command"]
