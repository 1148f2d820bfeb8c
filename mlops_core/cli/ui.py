"""``mlops ui``."""

from __future__ import annotations

import click


@click.command("ui")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; ::1 for IPv6.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8420, show_default=True, help="Port; 0 for one that is free."
)
@click.option("--no-token", is_flag=True, help="Require no token; for an address of this machine only.")
@click.option(
    "--trusted-host",
    "trusted_hosts",
    multiple=True,
    metavar="NAME",
    help="Further name by which the server may be called, such as that of a proxy; may be repeated.",
)
@click.pass_obj
def command(
    context: dict[str, str | None], *, host: str, port: int, no_token: bool, trusted_hosts: tuple[str, ...]
) -> int:
    """Show the workspace in a browser: runs while they are carried out, comparisons, models, data sets, searches.

    The server listens on this machine only, and prints an address with a token, which the browser keeps. It reads the
    workspace; what a form changes (approvals, aliases, stopping a run) is what the commands change. It ends with exit
    code 0 on SIGTERM.
    """
    from mlops_core.api import workspace_path
    from mlops_core.web.server import UiOptions, serve_ui

    options = UiOptions(host=host, port=port, needs_token=not no_token, trusted_hosts=trusted_hosts)
    return int(serve_ui(workspace_path(context["workspace"]), options))
