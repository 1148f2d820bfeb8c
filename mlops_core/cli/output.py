"""Output for people and programs: tables, JSON, and the progress of a run on a terminal or in a plain log."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from mlops_core.quantities import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from mlops_core.datasets.catalogue import Progress
    from mlops_core.runners.remote.costs import Estimate
    from mlops_core.workspace.records import RunRecord, StepRecord

# Keyed by the values of `mlops_core.workspace.records.StepStatus`, which is not imported here: without it, commands
# that print tables start in half the time.
_STYLES = {"done": "green", "reused": "cyan", "failed": "bold red", "skipped": "dim", "stopped": "yellow"}


def print_json(data: object) -> None:
    """Print `data` as indented JSON; a non-finite number becomes null, a byte that is not UTF-8 its escape."""
    text = json.dumps(_strict(data), indent=2, ensure_ascii=False, allow_nan=False)
    click.echo(text.encode(errors="backslashreplace").decode())


def _strict(data: object) -> object:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _strict(value) for key, value in data.items()}
    return [_strict(value) for value in data] if isinstance(data, list | tuple) else data


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print a table: with borders on a terminal, as aligned plain text elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*headings, title=title or None, title_justify="left")
        for row in rows:
            table.add_row(*(Text(str(cell), overflow="fold") for cell in row))
        Console().print(table)
        return
    if title:
        click.echo(title)
    cells = [[str(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def format_time(moment: str) -> str:
    """Return an ISO 8601 time as tables show it: UTC, to the second."""
    return moment[:19].replace("T", " ")


def run_observer() -> PlainObserver | TerminalObserver:
    """Return the observer for standard error: bars on a terminal, lines elsewhere."""
    return TerminalObserver() if sys.stderr.isatty() else PlainObserver()


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
        click.echo(line, err=True)


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


class TerminalObserver:
    """Shows progress bars while steps run, and one line per ended step."""

    def __init__(self) -> None:
        """Prepare the bars; they appear when the run starts."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._console: Console = Console(stderr=True, highlight=False)
        self._progress: Bars = Progress(
            TextColumn("  {task.fields[step]:<12}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self.run_id = ""

    def run_started(self, record: RunRecord) -> None:
        """Print the run's id and show the bars."""
        self.run_id = record.run_id
        self._console.print(f"run [bold]{record.run_id}[/]: {record.use_case} ({record.plugin})")
        self._progress.start()

    def step_started(self, name: str) -> None:
        """Add a bar of unknown length."""
        self._tasks[name] = self._progress.add_task(name, total=None, step=name, count="")

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Move the bar."""
        self._progress.update(self._tasks[name], completed=done, total=total, count=f"{label} {done}/{total}")

    def step_ended(self, record: StepRecord) -> None:
        """Replace the bar with a line."""
        from rich.text import Text

        if record.name in self._tasks:
            self._progress.remove_task(self._tasks.pop(record.name))
        line = Text.assemble(
            f"  {record.name:<12} ", (f"{record.status:<8}", _STYLES.get(record.status, "")), " ", _ending(record)
        )
        self._console.print(line)

    def fetch_progress(self) -> Progress:
        """Show a bar and return its progress callback, for the fetch of a data set outside a run."""
        self._progress.start()
        self.step_started("fetch")
        return lambda label, done, total: self.step_progress("fetch", label, done, total)

    def note(self, text: str) -> None:
        """Print the message above the bars."""
        self._console.print(f"  note: {text}", markup=False)

    def close(self) -> None:
        """Remove the bars."""
        self._progress.stop()


def print_outcome(record: RunRecord, *, approval: str) -> None:
    """Print the verdict, the registered model, and where to find details of a run.

    Args:
        record: record of the run.
        approval: approval status of the registered model.
    """
    if record.dataset and record.dataset.is_generated:
        click.echo(f"data: {record.dataset.name}: generated data, not real recordings")
    if record.verdict:
        rows: list[tuple[Any, ...]] = [
            (
                "pass" if clause.passed else "FAIL",
                clause.clause,
                "-" if clause.value is None else f"{clause.value:.4g}",
                "-" if clause.threshold is None else f"{clause.threshold:.4g}",
                clause.reason,
            )
            for clause in record.verdict.clauses
        ]
        print_table(("gate", "clause", "value", "threshold", "reason"), rows)
    if record.model_version is not None:
        click.echo(
            f"accepted in {format_duration(record.duration_s)}: model {record.use_case} version "
            f"{record.model_version}, {approval}"
        )
        click.echo(record.alias_note)
    if record.remote and record.remote.model_package:
        click.echo(
            f"accepted in {format_duration(record.duration_s)}: model package {record.remote.package_version}, "
            f"{record.remote.approval}: {record.remote.model_package}"
        )
    if record.status == "running":
        click.echo(f"the execution continues: {record.remote.execution if record.remote else record.run_id}")
    click.echo(f"details: mlops runs show {record.run_id}; page: mlops runs report {record.run_id} --open")


def print_result_tables(folder: Path) -> None:
    """Print the tables in the ``evaluation.json`` of a run's folder, and the number of groups, if there are any."""
    from mlops_core.errors import StepError
    from mlops_core.evaluation.metrics import read_evaluation

    try:
        report = read_evaluation(folder, ())
    except StepError:
        return
    if report.groups:
        click.echo(f"test set: {report.groups.samples} samples in {report.groups.count} groups; intervals count groups")
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
    click.echo(str(estimate))


def print_continuation(run_id: str, *, workspace: str | None) -> None:
    """Print the command that resumes a failed or stopped run."""
    import shlex

    place = f"--workspace {shlex.quote(workspace)} " if workspace else ""
    if run_id:
        click.echo(f"to resume: mlops {place}run --resume {run_id}", err=True)


__all__ = [
    "PlainObserver",
    "TerminalObserver",
    "format_duration",
    "format_size",
    "print_continuation",
    "print_estimate",
    "print_json",
    "print_outcome",
    "print_table",
    "run_observer",
]
