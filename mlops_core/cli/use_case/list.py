"""``mlops list``."""

from __future__ import annotations

import click

from mlops_core.cli.options import json_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.streams import echo_line


@click.command("list")
@json_option
def command(*, as_json: bool) -> None:
    """List installed use cases without importing them."""
    from mlops_core.use_cases.discovery import broken_use_cases, discover_use_cases

    found = discover_use_cases()
    for fault in broken_use_cases():
        click.echo(f"warning: {fault}", err=True)
    if as_json:
        print_json(
            [
                {"name": item.name, "distribution": item.distribution, "version": item.version, "target": item.target}
                for item in found
            ]
        )
    elif not found:
        echo_line("no use case is installed; install a plugin with pip, or create one: mlops plugin new NAME")
    else:
        print_table(
            ("use case", "provided by", "module"),
            [(item.name, f"{item.distribution} {item.version}", item.target) for item in found],
        )
