"""``mlops runs report``."""

from __future__ import annotations

import click

from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError


@click.command("report")
@click.argument("run", default="latest")
@click.option("--open", "is_opened", is_flag=True, help="Open the report in the web browser.")
@click.pass_obj
def command(context: dict[str, str | None], *, run: str, is_opened: bool) -> None:
    """Write the report of a run as one HTML page and print its path.

    A report that shows more than can be shown now, for example because the data has moved, is kept; the new page is
    written beside it.
    """
    import webbrowser

    from mlops_core.api import workspace_path
    from mlops_core.report import write_report
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        path = write_report(store, run, note=lambda text: echo_line(f"note: {text}", err=True))
    echo_line(path)
    if is_opened and not webbrowser.open(path.as_uri()):
        raise UsageError(f"no web browser could be started; open {path} yourself, or set BROWSER to a command")
