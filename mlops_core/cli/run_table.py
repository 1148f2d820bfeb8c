"""The steps of a run as a table on a terminal that is drawn again while the run goes on.

The table fits any width: below 60 columns it has no bars. Where the run has more steps than the terminal has lines,
some are left out; once the run has ended, every step is printed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mlops_core.cli.terminal import EscapingConsole
from mlops_core.control_characters import escape_line
from mlops_core.quantities import format_duration
from mlops_core.runners.progress.step_table import RUNNING, WAITING, StepTable, ending_of, steps_of

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from mlops_core.datasets.catalogue import Progress
    from mlops_core.runners.progress.step_table import StepLine
    from mlops_core.workspace.records import RunRecord, StepRecord

STYLES = {"done": "green", "reused": "cyan", "failed": "bold red", "skipped": "dim", "stopped": "yellow"}
"""Keyed by the values of `mlops_core.workspace.records.StepStatus`."""
_FETCH = "fetch"
_NARROW, _BAR, _STATUS, _DURATION = 60, 20, 7, 8
_FRAMES_PER_S = 8
_OTHER_LINES = 5
"""Lines of the terminal that the table leaves free."""


class RunTable(StepTable):
    """The steps of a run, rendered by rich."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the lines that fit."""
        room = sys.maxsize if self.is_complete else max(3, console.size.height - _OTHER_LINES)
        shown, hidden = self.shown(room)
        table = Table.grid(padding=(0, 1), expand=True)
        has_bars = options.max_width >= _NARROW and not self.is_complete
        longest = max((len(name) for name in shown), default=0) + 2
        table.add_column(no_wrap=True, overflow="ellipsis", width=min(longest, max(10, options.max_width // 3)))
        table.add_column(no_wrap=True, width=_STATUS)
        if has_bars:
            table.add_column(width=_BAR)
        table.add_column(justify="right", no_wrap=True, min_width=_DURATION)
        table.add_column(overflow="fold", ratio=1)
        for name, line in shown.items():
            table.add_row(*_cells(name, line, has_bars=has_bars))
        yield table
        if hidden:
            yield Text(f"  and {hidden} more steps", style="dim")


def _cells(name: str, line: StepLine, *, has_bars: bool) -> list[RenderableType]:
    style = STYLES.get(line.status, "dim" if line.status == WAITING else "")
    duration = "" if line.elapsed_s is None else format_duration(line.elapsed_s)
    cells: list[RenderableType] = [Text(f"  {escape_line(name)}"), Text(line.status, style=style)]
    if has_bars:
        is_moving = line.status == RUNNING
        bar = ProgressBar(total=line.total or None, completed=line.done, width=_BAR, pulse=is_moving and not line.total)
        cells.append(bar if is_moving else Text(""))
    return [*cells, Text(duration), Text(escape_line(line.text))]


class TableObserver:
    """Shows the table of a run on standard error while it goes on; messages appear above it."""

    def __init__(self) -> None:
        """Prepare the table; it appears when the run starts."""
        self._console = EscapingConsole(sys.stderr)
        self._table = RunTable()
        self._live: Live | None = None
        self.run_id = ""

    def run_started(self, record: RunRecord) -> None:
        """Print the run's id and show its steps."""
        self.run_id = record.run_id
        self.note_line(f"run {record.run_id}: {record.use_case} ({record.plugin})")
        self._table.add([_FETCH, *steps_of(record)])
        self._start()

    def step_started(self, name: str) -> None:
        """Show that the step runs."""
        self._table.start(name)

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Show the progress of the step."""
        self._table.progress(name, label, done, total)

    def step_ended(self, record: StepRecord) -> None:
        """Show how the step ended."""
        self._table.end(record.name, status=record.status, text=ending_of(record), duration_s=record.duration_s)

    def fetch_progress(self) -> Progress:
        """Show the fetch of a data set outside a run, and return its progress callback."""
        self._start()
        self.step_started(_FETCH)
        return lambda label, done, total: self.step_progress(_FETCH, label, done, total)

    def note(self, text: str) -> None:
        """Print the message above the table."""
        self.note_line(f"  note: {text}")

    def note_line(self, line: str) -> None:
        """Print a line above the table."""
        self._console.print(escape_line(line))

    def close(self) -> None:
        """Print all steps and end the display."""
        if self._live is not None:
            self._table.is_complete = True
            self._live.stop()
            self._live = None

    def _start(self) -> None:
        from mlops_core.cli.terminal import start_live

        if self._live is None:
            self._live = Live(self._table, console=self._console, refresh_per_second=_FRAMES_PER_S)
            start_live(self._live)
