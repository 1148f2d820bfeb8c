"""``mlops matrix``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, json_option
from mlops_core.cli.output import format_duration, print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from mlops_core.testing.matrix.cells import Cell
    from mlops_core.testing.runners.installed import RunnerUnderTest

_PAGE = "matrix.html"


@click.command("matrix")
@click.option("--usecase", "-u", "names", multiple=True, metavar="NAME", help="Run only this use case. Repeatable.")
@click.option("--runner", "runner_names", multiple=True, metavar="NAME", help="Use only this runner. Repeatable.")
@click.option(
    "--html", "page", type=HomePath(dir_okay=False), help=f"File for the page (default: {_PAGE} in the workspace)."
)
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    *,
    names: tuple[str, ...],
    runner_names: tuple[str, ...],
    page: str | None,
    as_json: bool,
) -> int:
    """Run every installed use case at its smallest configuration on every runner of this machine.

    Nothing is registered in the workspace. The exit code is 0 when every run is accepted, 3 when some are rejected, 4
    when some failed, 6 when a use case cannot be loaded or two runners made different outputs.
    """
    from mlops_core.api import workspace_path
    from mlops_core.testing.matrix.cells import comparison_text, exit_code, metrics_text, run_matrix
    from mlops_core.testing.matrix.page import html_page
    from mlops_core.testing.observation.processes import Processes
    from mlops_core.use_cases.discovery import discover_use_cases, find_use_case

    chosen = [find_use_case(name) for name in names] or list(discover_use_cases())
    if not chosen:
        raise UsageError("no use case is installed; install a plugin with pip, or write one: mlops plugin new NAME")
    with Processes() as processes:
        cells = run_matrix(chosen, runners=_runners(runner_names), processes=processes, on_cell=_report)
    path = Path(page) if page else workspace_path(context["workspace"]) / _PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html_page(cells, title="mlops matrix"), encoding="utf-8")
    if as_json:
        print_json([cell.to_json() for cell in cells])
    else:
        print_table(
            ("use case", "runner", "outcome", "metrics", "outputs", "took"),
            [
                (
                    cell.use_case,
                    cell.runner or "-",
                    cell.status,
                    metrics_text(cell) or "-",
                    comparison_text(cell),
                    format_duration(cell.duration_s),
                )
                for cell in cells
            ],
        )
        for cell in cells:
            if cell.message:
                echo_line(f"{cell.use_case} {cell.runner}: {cell.message}")
        echo_line(f"page: {path}")
    return exit_code(cells)


def _runners(names: tuple[str, ...]) -> list[RunnerUnderTest]:
    from mlops_core.testing.runners.installed import installed_runners

    installed = {runner.name: runner for runner in installed_runners()}
    for name in names:
        if name not in installed:
            raise UsageError(
                f"no runner '{name}'{did_you_mean(name, installed) or ';'} installed: {', '.join(installed)}"
            )
    return [installed[name] for name in names] or list(installed.values())


def _report(cell: Cell) -> None:
    echo_line(f"  {cell.use_case} on {cell.runner or 'no runner'}: {cell.status}", err=True)
