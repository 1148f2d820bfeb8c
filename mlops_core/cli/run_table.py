"""The steps of a run as a table on a terminal that is drawn again while the run goes on.

One line per step: status, progress or how it ended, duration. The table fits any width: below 60 columns it has no
bars. Where the run has more steps than the terminal has lines, those that run, failed or ended last are shown, with the
number of the others. Once the run has ended, every step is printed.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mlops_core.cli.terminal import EscapingConsole
from mlops_core.control_characters import escape_line
from mlops_core.quantities import format_duration

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from mlops_core.datasets.catalogue import Progress
    from mlops_core.workspace.records import RunRecord, StepRecord

STYLES = {"done": "green", "reused": "cyan", "failed": "bold red", "skipped": "dim", "stopped": "yellow"}
"""Keyed by the values of `mlops_core.workspace.records.StepStatus`."""
_FETCH = "fetch"
_NARROW, _BAR, _STATUS, _DURATION = 60, 20, 7, 8
_FRAMES_PER_S = 8
_OTHER_LINES = 5
"""Lines of the terminal that the table leaves free."""
_WAITING, _RUNNING = "waiting", "running"


@dataclass(slots=True)
class StepLine:
    """What the table shows about one step.

    Attributes:
        status: ``waiting``, ``running``, or how it ended.
        text: the progress, or how it ended.
        done: of `total`; 0 where the step does not report any.
        total: 0 where it is not known.
        began: on the monotonic clock, in seconds.
        duration_s: None while it is waiting or running.
        order: grows with each change; the newest lines are shown where there is no room for all.
    """

    status: str = _WAITING
    text: str = ""
    done: int = 0
    total: int = 0
    began: float = 0.0
    duration_s: float | None = None
    order: int = 0


class RunTable:
    """The steps of a run, to be rendered."""

    def __init__(self) -> None:
        """Begin without steps."""
        self._lines: dict[str, StepLine] = {}
        self._changes = 0
        self._lock = threading.Lock()
        self.is_complete = False

    def add(self, names: list[str]) -> None:
        """Add steps that wait."""
        with self._lock:
            for name in names:
                self._lines.setdefault(name, StepLine())

    def start(self, name: str) -> None:
        """Show that a step runs."""
        self._change(name, status=_RUNNING, began=time.monotonic(), text="", done=0, total=0, duration_s=None)

    def progress(self, name: str, label: str, done: int, total: int) -> None:
        """Show the progress of a step."""
        self._change(name, status=_RUNNING, text=f"{label} {done}/{total}", done=done, total=total)

    def end(self, name: str, *, status: str, text: str, duration_s: float) -> None:
        """Show how a step ended."""
        self._change(name, status=status, text=text, duration_s=duration_s, done=0, total=0)

    def _change(self, name: str, **values: object) -> None:
        with self._lock:
            line = self._lines.setdefault(name, StepLine(began=time.monotonic()))
            self._changes += 1
            line.order = self._changes
            for key, value in values.items():
                setattr(line, key, value)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the lines that fit."""
        with self._lock:
            room = len(self._lines) if self.is_complete else max(3, console.size.height - _OTHER_LINES)
            shown = self._shown(room)
            table = Table.grid(padding=(0, 1), expand=True)
            has_bars = options.max_width >= _NARROW and not self.is_complete
            longest = max((len(name) for name in shown), default=0) + 2
            table.add_column(no_wrap=True, overflow="ellipsis", width=min(longest, max(10, options.max_width // 3)))
            table.add_column(no_wrap=True, width=_STATUS)
            if has_bars:
                table.add_column(width=_BAR)
            table.add_column(justify="right", no_wrap=True, min_width=_DURATION)
            table.add_column(overflow="fold", ratio=1)
            for name in shown:
                table.add_row(*_cells(name, self._lines[name], has_bars=has_bars))
            hidden = len(self._lines) - len(shown)
        yield table
        if hidden:
            yield Text(f"  and {hidden} more steps", style="dim")

    def _shown(self, room: int) -> list[str]:
        """Return the names of the lines to show, in the order of the pipeline."""
        if len(self._lines) <= room:
            return list(self._lines)
        ranks = {_RUNNING: 0, "failed": 1}
        important = sorted(
            self._lines, key=lambda name: (ranks.get(self._lines[name].status, 2), -self._lines[name].order)
        )
        kept = set(important[: room - 1])
        return [name for name in self._lines if name in kept]


def _cells(name: str, line: StepLine, *, has_bars: bool) -> list[RenderableType]:
    style = STYLES.get(line.status, "dim" if line.status == _WAITING else "")
    if line.duration_s is not None:
        duration = format_duration(line.duration_s) if line.duration_s else ""
    else:
        duration = format_duration(time.monotonic() - line.began) if line.status == _RUNNING else ""
    cells: list[RenderableType] = [Text(f"  {escape_line(name)}"), Text(line.status, style=style)]
    if has_bars:
        is_moving = line.status == _RUNNING
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


def steps_of(record: RunRecord) -> list[str]:
    """Return the names of the steps of a run's pipeline, in the order of execution."""
    recorded = [step.name for step in record.steps]
    declared = [str(step["name"]) for step in record.pipeline.get("steps", ()) if isinstance(step, dict)]
    return list(dict.fromkeys([*recorded, *declared]))


def ending_of(record: StepRecord) -> str:
    """Return what a line says about a step that ended: where its outputs come from, its error, its warning."""
    warning = f"warning: {record.warning}" if record.warning else ""
    text = ""
    if record.status == "reused":
        text = f"from run {record.reused_from}" if record.reused_from else "already complete"
    elif record.status == "failed":
        text = record.error
    return "  ".join(part for part in (text, warning) if part)
