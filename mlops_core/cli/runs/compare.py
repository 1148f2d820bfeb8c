"""``mlops runs compare``."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, json_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.quantities import counted, format_change, format_number, short_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlops_core.report.compared.code import ChangedFile
    from mlops_core.report.compared.data import FileChanges, SampleChanges
    from mlops_core.report.compared.paired_tests import PairedTest
    from mlops_core.report.compared.runs import ComparedRuns
    from mlops_core.report.compared.sides import ChangedSide, ChangedSides
    from mlops_core.report.comparison import MetricComparison, RunComparison
    from mlops_core.report.facts import Missing

_DIGEST_LENGTH = 64
_WIDTH = 80
_NAME_SIGNS, _VALUE_SIGNS = 25, 17
"""Four columns of a table, the first with ``configuration``, then fit into 80 columns."""
_SHOWN = 5


@click.command("compare")
@click.argument("earlier", metavar="A")
@click.argument("later", metavar="B", default="latest")
@click.option(
    "--html",
    "page",
    type=HomePath(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a page, with the sound or picture of the samples that changed sides.",
)
@json_option
@click.pass_obj
def command(context: dict[str, str | None], *, earlier: str, later: str, page: Path | None, as_json: bool) -> None:
    """Show the differences between run A and run B: metrics, samples, configuration, data, code, environment.

    A and B are ids of runs, beginnings of one, or 'latest', which is B where only A is given. Metrics are compared by a
    paired test where both runs judged the same samples.
    """
    from mlops_core.api import workspace_path
    from mlops_core.report.compared.runs import compare_stored_runs
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        compared = compare_stored_runs(store, earlier, later, with_previews=page is not None)
    if page is not None:
        _write(page, compared)
    if as_json:
        print_json(compared.to_json() | ({"page": str(page)} if page else {}))
        return
    click.echo(f"A: run {compared.facts.earlier}\nB: run {compared.facts.later}")
    _print_metrics(compared.facts)
    _print_tests(compared)
    _print_sides(compared.sides)
    _print_differences(compared.facts)
    _print_samples(compared.samples)
    _print_files(compared.files)
    _print_sources(compared.sources)
    if page is not None:
        echo_line(f"page: {page}")


def _write(page: Path, compared: ComparedRuns) -> None:
    from mlops_core.errors import UsageError
    from mlops_core.report.compared.page import render_comparison
    from mlops_core.workspace.files import write_atomically

    try:
        write_atomically(page, render_comparison(compared))
    except OSError as error:
        raise UsageError(f"--html {page}: {error.strerror or error}") from error


def _echo(text: str) -> None:
    """Print a text on as many lines of 80 columns as it takes."""
    for line in textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False):
        echo_line(line)


# --- Metrics ----------------------------------------------------------------------------------------------


def _print_metrics(compared: RunComparison) -> None:
    for reason, names in compared.incomparabilities().items():
        _echo(f"{', '.join(names)}: not comparable: {reason}.")
    if compared.is_same_test_set is False:
        echo_line("The test sets differ: the metrics of the two runs cannot be compared.")
    if not compared.metrics:
        echo_line("Neither run declares metrics.")
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


def _print_tests(compared: ComparedRuns) -> None:
    from mlops_core.report.facts import Missing

    for letter, facts in (("A", compared.earlier), ("B", compared.later)):
        if isinstance(facts.evaluation, Missing):
            _echo(f"{letter} has no metrics: {facts.evaluation.reason}")
    reasons: dict[str, list[str]] = {}
    for name, test in compared.tests.items():
        if isinstance(test, Missing):
            reasons.setdefault(test.reason, []).append(name)
        else:
            _echo(f"paired test: {name}: {test.words}: {_difference(test)}")
    for reason, names in reasons.items():
        _echo(f"paired test: {', '.join(names)}: not tested: {reason}")


def _difference(test: PairedTest) -> str:
    found = test.difference
    place = f"{counted(found.count, 'sample')} in {counted(found.groups, 'group')}"
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return f"{format_change(found.value)} on {place}"
    p_value = f", p = {found.p_value:.2g}" if math.isfinite(found.p_value) else ""
    interval = f"{found.level:.0%} interval {format_change(found.low)} to {format_change(found.high)}"
    return f"{format_change(found.value)} ({interval}{p_value}) on {place}"


# --- Samples that changed sides ---------------------------------------------------------------------------


def _print_sides(sides: ChangedSides | Missing) -> None:
    from mlops_core.report.facts import Missing

    if isinstance(sides, Missing):
        _echo(f"changed sides: not known: {sides.reason}")
        return
    words = ("smaller error", "larger error") if sides.is_regression else ("wrong -> right", "right -> wrong")
    others = f"; only in A {sides.only_earlier}, only in B {sides.only_later}"
    apart = others if sides.only_earlier or sides.only_later else ""
    relabelled = f"; {sides.relabelled} with another label" if sides.relabelled else ""
    _echo(
        f"changed sides: {words[1]} {len(sides.lost)}, {words[0]} {len(sides.gained)}, of "
        f"{counted(sides.common, 'common sample')}{apart}{relabelled}"
    )
    rows = [
        (word, _short(change.sample, _NAME_SIGNS), *map(_side, (change.earlier.label, *_answers(change))))
        for word, changes in zip(("lost", "gained"), (sides.lost, sides.gained), strict=True)
        for change in changes[:_SHOWN]
    ]
    if rows:
        print_table(("", "sample", "true", "A", "B"), rows)


def _side(text: str) -> str:
    return _short(text, 12)


def _answers(change: ChangedSide) -> tuple[str, str]:
    earlier, later = (
        judged.guesses[0].label if judged.guesses else f"{judged.label_score:g}"
        for judged in (change.earlier, change.later)
    )
    return earlier, later


# --- Configuration, data, code, environment ---------------------------------------------------------------


def _print_differences(compared: RunComparison) -> None:
    rows = [
        (name, _short(item.name, _NAME_SIGNS), _shown(item.earlier), _shown(item.later))
        for name, found in compared.groups.items()
        for item in found
    ]
    if rows:
        print_table(("part", "what", "A", "B"), rows)
    unchanged = [name for name, found in compared.groups.items() if not found]
    if unchanged:
        echo_line(f"unchanged: {', '.join(unchanged)}")


def _print_samples(changes: SampleChanges | Missing) -> None:
    from mlops_core.report.facts import Missing

    if isinstance(changes, Missing):
        _echo(f"samples: not known: {changes.reason}")
        return
    fields = ", ".join(f"{name} {count}" for name, count in changes.field_counts().items())
    content = "" if changes.is_content_compared else "; their content was not compared, since a split has no digests"
    _echo(
        f"samples: {len(changes.added)} added, {len(changes.removed)} removed, {len(changes.changed)} changed"
        f"{f' ({fields})' if fields else ''}, {changes.unchanged} unchanged{content}"
    )
    _print_names("added", changes.added)
    _print_names("removed", changes.removed)
    _print_names("changed", [change.sample for change in changes.changed])


def _print_files(changes: FileChanges | Missing) -> None:
    from mlops_core.report.facts import Missing

    if isinstance(changes, Missing):
        _echo(f"files: not known: {changes.reason}")
        return
    _echo(
        f"files: {len(changes.added)} added, {len(changes.removed)} removed, {len(changes.changed)} changed, "
        f"{changes.unchanged} unchanged"
    )
    for word, paths in (("added", changes.added), ("removed", changes.removed), ("changed", changes.changed)):
        _print_names(word, paths)


def _print_names(word: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        _echo(f"  {word}: {', '.join(names[:_SHOWN])}{more}")


def _print_sources(sources: Iterable[ChangedFile] | Missing) -> None:
    from mlops_core.report.facts import Missing

    if isinstance(sources, Missing):
        _echo(f"source files: not known: {sources.reason}")
        return
    files = list(sources)
    if not files:
        echo_line("source files: unchanged")
        return
    shown = ", ".join(map(_source, files[:_SHOWN]))
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    _echo(f"source files: {shown}{more}")


def _source(file: ChangedFile) -> str:
    state = " (new)" if file.is_new else " (gone)" if file.is_gone else ""
    return file.path + state + ("" if file.added is None else f" +{file.added} -{file.removed}")


def _shown(text: str) -> str:
    if not text:
        return "-"
    if len(text) == _DIGEST_LENGTH and set(text) <= set("0123456789abcdef"):
        return short_digest(text)
    return _short(text, _VALUE_SIGNS)


def _short(text: str, limit: int) -> str:
    """Return a text on one line, without its middle where it is long: the end of a path says most."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    half = (limit - 1) // 2
    return f"{line[: limit - 1 - half]}…{line[len(line) - half :]}"
