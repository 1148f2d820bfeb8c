"""Output for people and programs: tables, JSON, and the progress of a run on a terminal or in a plain log."""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from mlops_core.cli.streams import echo_line, is_interactive
from mlops_core.control_characters import escape_controls, escape_line
from mlops_core.quantities import counted, format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlops_core.cli.run_table import TableObserver
    from mlops_core.datasets.catalogue import Progress
    from mlops_core.datasets.licences import Licences
    from mlops_core.gates.verdicts import ClauseVerdict
    from mlops_core.runners.remote.costs import Estimate
    from mlops_core.workspace.records import RunRecord, StepRecord


_FEWEST_OF_BLOCKS = 5
"""Number of columns from which a table becomes blocks of lines on a narrow terminal."""


def print_json(data: object) -> None:
    """Print `data` as indented JSON; a non-finite number becomes null, a control character its escape.

    Standard output escapes what its encoding lacks in Python's way; other encodings than those of Unicode get ASCII.
    """
    is_unicode = codecs.lookup(sys.stdout.encoding or "utf-8").name.startswith("utf")
    click.echo(escape_controls(json.dumps(_strict(data), indent=2, ensure_ascii=not is_unicode, allow_nan=False)))


def _strict(data: object) -> object:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _strict(value) for key, value in data.items()}
    return [_strict(value) for value in data] if isinstance(data, list | tuple) else data


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print a table: with borders on a terminal, as aligned plain text elsewhere.

    On a terminal that is too narrow for the words of many columns, each row becomes a block of lines.
    """
    cells = [[escape_line(str(cell)) for cell in row] for row in (headings, *rows)]
    title = title[:1] + escape_line(title[1:])  # it may begin with an empty line
    if is_interactive(sys.stdout):
        from rich.table import Column, Table
        from rich.text import Text

        from mlops_core.cli.terminal import EscapingConsole

        console = EscapingConsole(sys.stdout)
        if len(headings) < _FEWEST_OF_BLOCKS or _width_of_words(cells) <= console.width:
            table = Table(
                *(Column(Text(heading)) for heading in cells[0]),
                title=Text(title) if title else None,
                title_justify="left",
            )
            for row in cells[1:]:
                table.add_row(*(Text(cell, overflow="fold") for cell in row))
            console.print(table)
            return
        cells = _blocks(cells)
    if title:
        click.echo(title)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        echo_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _width_of_words(cells: Sequence[Sequence[str]]) -> int:
    """Return the width of a table with borders in which no word is broken."""
    longest = [
        max(len(word) for cell in column for word in cell.split() or [""]) for column in zip(*cells, strict=True)
    ]
    return sum(longest) + 3 * len(longest) + 1


def _blocks(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows of a table as lines of heading and cell, with an empty line between two rows."""
    headings, *rows = cells
    lines: list[list[str]] = []
    for row in rows:
        lines += [["", ""]] * bool(lines)
        lines += [[heading, cell] for heading, cell in zip(headings, row, strict=True) if cell]
    return lines or [[", ".join(headings), ""]]


def format_time(moment: str) -> str:
    """Return an ISO 8601 time as tables show it: UTC, to the second."""
    return moment[:19].replace("T", " ")


def run_observer() -> PlainObserver | TableObserver:
    """Return the observer for standard error: a table on a terminal, lines elsewhere and in plain mode."""
    if not is_interactive(sys.stderr):
        return PlainObserver()
    from mlops_core.cli.run_table import TableObserver

    return TableObserver()


def _ending(record: StepRecord) -> str:
    warning = f"  warning: {record.warning}" if record.warning else ""
    if record.status == "reused":
        return f"from run {record.reused_from}{warning}" if record.reused_from else "already complete"
    if record.status == "failed":
        return record.error + warning
    if record.status != "done":
        return ""
    return format_duration(record.duration_s) + warning


def _print_line(line: str) -> None:
    """Print a line on standard error; a closed stream does not stop the run."""
    with contextlib.suppress(OSError):
        echo_line(line, err=True)


class PlainObserver:
    """Prints one line per event on standard error, for logs and CI."""

    def __init__(self) -> None:
        """Start without any progress reported."""
        self.run_id = ""
        self._tenths: dict[str, int] = {}
        self._lock = threading.Lock()

    def run_started(self, record: RunRecord) -> None:
        """Print the run's id."""
        self.run_id = record.run_id
        _print_line(f"run {record.run_id}: {record.use_case} ({record.plugin})")

    def step_started(self, name: str) -> None:
        """Print the start of a step."""
        _print_line(f"  {name}: started")

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Print a line per tenth of the work."""
        tenth = 10 * done // max(total, 1)
        with self._lock:
            if self._tenths.get(f"{name} {label}") == tenth:
                return
            self._tenths[f"{name} {label}"] = tenth
        _print_line(f"  {name}: {label} {done}/{total}")

    def step_ended(self, record: StepRecord) -> None:
        """Print how a step ended."""
        _print_line(f"  {record.name}: {record.status} {_ending(record)}".rstrip())

    def fetch_progress(self) -> Progress:
        """Return a progress callback for the fetch of a data set outside a run."""
        return lambda label, done, total: self.step_progress("fetch", label, done, total)

    def note(self, text: str) -> None:
        """Print the message."""
        _print_line(f"  note: {text}")

    def close(self) -> None:
        """Do nothing: no stream is open."""


_CLAUSE_WORDS: Mapping[str, str] = {"accepted": "pass", "rejected": "FAIL", "not enough evidence": "open"}


def print_clauses(clauses: Sequence[ClauseVerdict]) -> None:
    """Print the clauses of a verdict as a table."""
    rows = [
        (
            _CLAUSE_WORDS[clause.outcome],
            clause.clause,
            "-" if clause.value is None else f"{clause.value:.4g}",
            "-" if clause.threshold is None else f"{clause.threshold:.4g}",
            clause.reason,
        )
        for clause in clauses
    ]
    print_table(("gate", "clause", "value", "threshold", "reason"), rows)


def print_outcome(record: RunRecord, *, approval: str) -> None:
    """Print the verdict, the registered model, and where to find details of a run.

    Args:
        record: record of the run.
        approval: approval status of the registered model.
    """
    if record.dataset and record.dataset.is_generated:
        echo_line(f"data: {record.dataset.name}: generated data, not real recordings")
    if record.verdict:
        print_clauses(record.verdict.clauses)
    if record.model_version is not None:
        echo_line(
            f"accepted in {format_duration(record.duration_s)}: model {record.use_case} version "
            f"{record.model_version}, {approval}"
        )
        echo_line(record.alias_note)
        from mlops_core.report.facts import recorded_licences

        print_licences(recorded_licences(record))
    if record.remote and record.remote.model_package:
        echo_line(
            f"accepted in {format_duration(record.duration_s)}: model package {record.remote.package_version}, "
            f"{record.remote.approval}: {record.remote.model_package}"
        )
    if record.status == "running":
        echo_line(f"the execution continues: {record.remote.execution if record.remote else record.run_id}")
    echo_line(f"details: mlops runs show {record.run_id}; page: mlops runs report {record.run_id} --open")


def print_licences(licences: Licences | None, *, indent: str = "") -> None:
    """Print the licences of the data and the base models of a model, and a warning for each that restricts its use."""
    if licences is None:
        return
    echo_line(f"{indent}licences: {licences}")
    for warning in licences.warnings():
        echo_line(f"{indent}warning: {warning}")


def print_result_tables(record: RunRecord, folder: Path) -> None:
    """Print the tables in the ``evaluation.json`` of a run's folder, and what its groups say about the intervals.

    Args:
        record: of the run.
        folder: of the run.
    """
    from mlops_core.errors import StepError
    from mlops_core.evaluation.evaluation_file import read_evaluation
    from mlops_core.report.facts import declared_metrics

    metrics = declared_metrics(record)
    try:
        report = read_evaluation(folder, metrics)
    except StepError:
        return
    if report.groups:
        samples, groups = counted(report.groups.samples, "sample"), counted(report.groups.count, "group")
        echo_line(f"test set: {samples} in {groups}; intervals count groups")
    names: defaultdict[str, list[str]] = defaultdict(list)
    for metric in metrics:
        if metric.name in report.values:
            names[report.values[metric.name].caveat].append(metric.title or metric.name)
    for caveat in filter(None, names):
        echo_line(f"warning: {', '.join(names[caveat])}: {caveat}")
    for table in report.tables:
        rows = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in table.rows]
        print_table(table.columns, rows, title=table.title)


def print_estimate(estimate: Estimate, *, as_json: bool) -> None:
    """Print how long a run may take and what it may cost, per step and in total."""
    from dataclasses import asdict

    if as_json:
        print_json({**asdict(estimate), "usd": estimate.usd})
        return
    rows = [
        (
            step.name,
            f"{step.instances} x {step.instance_type}",
            format_duration(step.duration_s),
            step.basis,
            "no price" if step.usd is None else f"{step.usd:.4f}",
        )
        for step in estimate.steps
    ]
    print_table(("step", "machines", "duration", "from", "USD"), rows)
    echo_line(str(estimate))


def print_continuation(run_id: str, *, workspace: str | None) -> None:
    """Print the command that resumes a failed or stopped run."""
    import shlex

    place = f"--workspace {shlex.quote(workspace)} " if workspace else ""
    if run_id:
        echo_line(f"to resume: mlops {place}run --resume {run_id}", err=True)


__all__ = [
    "PlainObserver",
    "format_duration",
    "format_size",
    "print_continuation",
    "print_estimate",
    "print_json",
    "print_licences",
    "print_outcome",
    "print_table",
    "run_observer",
]
