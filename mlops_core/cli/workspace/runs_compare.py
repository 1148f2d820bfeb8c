"""``mlops runs compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import json_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.quantities import format_change, format_number, short_digest

if TYPE_CHECKING:
    from mlops_core.report.comparison import MetricComparison, RunComparison

_DIGEST_LENGTH = 64
_SHOWN_SIGNS = 60


@click.command("compare")
@click.argument("earlier", metavar="A")
@click.argument("later", metavar="B", default="latest")
@json_option
@click.pass_obj
def command(context: dict[str, str | None], *, earlier: str, later: str, as_json: bool) -> None:
    """Show the differences between run A and run B: metrics, parameters, configuration, data, code, environment.

    A and B are ids of runs, beginnings of one, or 'latest', which is B where only A is given.
    """
    from mlops_core.api import workspace_path
    from mlops_core.report.comparison import compare_runs
    from mlops_core.report.facts import read_facts
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        compared = compare_runs(read_facts(store, earlier), read_facts(store, later))
    if as_json:
        print_json(compared.to_json())
        return
    click.echo(f"A: run {compared.earlier}\nB: run {compared.later}")
    _print_metrics(compared)
    _print_differences(compared)


def _print_metrics(compared: RunComparison) -> None:
    for reason, names in compared.incomparabilities().items():
        click.echo(f"{', '.join(names)}: not comparable: {reason}.")
    if compared.is_same_test_set is False:
        click.echo("The test sets differ: the metrics of the two runs cannot be compared.")
    if not compared.metrics:
        click.echo("Neither run declares metrics.")
        return
    rows = [
        (
            found.metric.name,
            format_number(found.earlier.value if found.earlier else None),
            format_number(found.later.value if found.later else None),
            "-" if found.change is None else format_change(found.change),
            _judgement(found),
        )
        for found in compared.metrics
    ]
    print_table(("metric", "A", "B", "change", "B is"), rows)


def _judgement(found: MetricComparison) -> str:
    chance = ", but the intervals overlap" if found.is_within_intervals and found.change else ""
    return f"{found.judgement}{chance}"


def _print_differences(compared: RunComparison) -> None:
    rows = [
        (name, item.name, _shown(item.earlier), _shown(item.later))
        for name, found in compared.groups.items()
        for item in found
    ]
    if rows:
        print_table(("part", "what", "A", "B"), rows)
    unchanged = [name for name, found in compared.groups.items() if not found]
    if unchanged:
        click.echo(f"unchanged: {', '.join(unchanged)}")


def _shown(text: str) -> str:
    if not text:
        return "-"
    if len(text) == _DIGEST_LENGTH and set(text) <= set("0123456789abcdef"):
        return short_digest(text)
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_SIGNS else f"{line[: _SHOWN_SIGNS - 1]}…"
