"""``mlops sagemaker``: the commands that are specific to SageMaker."""

from __future__ import annotations

import click

from mlops_sagemaker.commands.account import estimate_command, policy_command
from mlops_sagemaker.commands.check import check_command
from mlops_sagemaker.commands.emulate import emulate_command
from mlops_sagemaker.commands.infrastructure import infrastructure_command
from mlops_sagemaker.commands.trigger import command as trigger_command


@click.group("sagemaker")
def command() -> None:
    """Work with SageMaker pipeline definitions and accounts."""


command.add_command(check_command)
command.add_command(policy_command)
command.add_command(estimate_command)
command.add_command(emulate_command)
command.add_command(infrastructure_command)
command.add_command(trigger_command)

__all__ = ["command"]
