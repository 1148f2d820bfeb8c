"""``mlops list``."""

from __future__ import annotations

import click

from mlops_core.cli.options import json_option
from mlops_core.cli.output import print_json, print_table


@click.command("list")
@json_option
def command(*, as_json: bool) -> None:
    """List installed use cases without importing them."""
    from mlops_core.use_cases.discovery import discover_use_cases

    found = discover_use_cases()
    if as_json:
        print_json(
            [
                {"name": item.name, "distribution": item.distribution, "version": item.version, "target": item.target}
                for item in found
            ]
        )
    elif not found:
        click.echo("no use case is installed; install a plugin with pip, or create one: mlops plugin new NAME")
    else:
        print_table(
            ("use case", "provided by", "module"),
            [(item.name, f"{item.distribution} {item.version}", item.target) for item in found],
        )
