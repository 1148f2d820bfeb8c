"""``mlops models``: the registry. MODEL is a version's number or an alias such as ``best``."""

from __future__ import annotations

import click

from mlops_core.cli.models import decisions, files, history, showing


@click.group("models")
def command() -> None:
    """Show, approve, reject and export registered models. MODEL is a version number or an alias such as 'best'."""


command.add_command(showing.list_models)
command.add_command(showing.show_model)
command.add_command(decisions.approve_model)
command.add_command(decisions.reject_model)
command.add_command(decisions.move_alias)
command.add_command(decisions.roll_back)
command.add_command(decisions.move_models)
command.add_command(files.export_model)
command.add_command(files.show_metadata)
command.add_command(files.show_card)
command.add_command(history.command)
