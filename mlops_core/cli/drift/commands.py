"""``mlops drift check|simulate|alarms|proposals``."""

from __future__ import annotations

import click

from mlops_core.cli.drift import check, records, simulate


@click.group("drift")
def command() -> None:
    """Find drift in captured requests, simulate it, and list the alarms of servers."""


command.add_command(check.command)
command.add_command(simulate.command)
command.add_command(records.alarms)
command.add_command(records.proposals)
