"""The progress of a run in a notebook: one table in the output of the cell, which is updated in place.

Events change the state, from any thread; a thread of the display draws it, a few times a second at most. IPython is
imported when the run starts, in a process that has imported it already.
"""

from __future__ import annotations

import contextvars
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from mlops_core.control_characters import escape_line
from mlops_core.pipeline import FETCH
from mlops_core.quantities import format_duration
from mlops_core.report.kit import badge, data_table, element, group, lines, muted, share_bar
from mlops_core.report.notebook.output import output_html
from mlops_core.report.notebook.record import title_of
from mlops_core.report.sections.overview import outcome_of
from mlops_core.runners.progress.step_table import RUNNING, StepTable, ending_of, steps_of
from mlops_core.workspace.records import RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.report.kit import BadgeKind, Markup, Node
    from mlops_core.runners.progress.step_table import StepLine
    from mlops_core.workspace.records import RunRecord, StepRecord

DRAWING = "mlops notebook table"
"""Name of the thread that draws."""
INTERVAL_S = 0.25
"""The shortest time between two drawings."""
_CLOCK_S = 1.0
"""Without an event, only the time changes that a step has been running."""
_ROOM, _ROOM_IN_THE_END, _NOTES = 30, 200, 20
_HEADINGS = ("Step", "Status", "Progress", "Time")
_KINDS: Mapping[str, BadgeKind] = {
    StepStatus.DONE: "good",
    StepStatus.REUSED: "reused",
    StepStatus.FAILED: "bad",
    StepStatus.STOPPED: "warn",
}


class NotebookObserver:
    """Shows the steps of a run as one table in the output of the cell that started it."""

    def __init__(self) -> None:
        """Prepare the table; it appears when the run starts."""
        self._table = StepTable()
        self._record: RunRecord | None = None
        self._notes: list[str] = []
        self._began = time.monotonic()
        self._handle: Any = None
        self._changed, self._closed = threading.Event(), threading.Event()
        self._drawing: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Return the observer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        """Draw the table for the last time; of an error only its kind, since the notebook shows the rest below."""
        if kind is not None and self._record is not None:
            status = RunStatus.STOPPED if issubclass(kind, KeyboardInterrupt) else RunStatus.FAILED
            self._record = replace(
                self._record, status=status, duration_s=self._duration_s(self._record), error=kind.__name__
            )
            self._table.stop()
        self._closed.set()
        if self._drawing is not None:
            self._drawing.join()
            self._table.is_complete = True
            self._draw()

    def run_started(self, record: RunRecord) -> None:
        """Show the run and its steps."""
        self._record = record
        self._table.add([FETCH, *steps_of(record)])
        if self._drawing is None:
            from IPython.display import display

            self._handle = display(self._output(), raw=True, display_id=True)
            # Without the context of this thread, the front end could not tell to which cell an update belongs.
            context = contextvars.copy_context()
            self._drawing = threading.Thread(target=context.run, args=(self._keep_drawing,), name=DRAWING, daemon=True)
            self._drawing.start()
        self._changed.set()

    def run_ended(self, record: RunRecord) -> None:
        """Show how the run ended."""
        self._record = record
        self._changed.set()

    def step_started(self, name: str) -> None:
        """Show that the step runs."""
        self._table.start(name)
        self._changed.set()

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Show the progress of the step."""
        self._table.progress(name, label, done, total)
        self._changed.set()

    def step_ended(self, record: StepRecord) -> None:
        """Show how the step ended."""
        self._table.end(record.name, status=record.status, text=ending_of(record), duration_s=record.duration_s)
        self._changed.set()

    def note(self, text: str) -> None:
        """Show the message below the table."""
        self._notes = [*self._notes, text][-_NOTES:]
        self._changed.set()

    def _keep_drawing(self) -> None:
        drawn = time.monotonic()
        while not self._closed.wait(INTERVAL_S):
            if self._changed.is_set() or time.monotonic() - drawn >= _CLOCK_S:
                self._changed.clear()
                if not self._draw():
                    return
                drawn = time.monotonic()

    def _draw(self) -> bool:
        """Update the output and return whether that was possible."""
        if self._handle is None:
            return False
        try:
            self._handle.update(self._output(), raw=True)
        except Exception:  # noqa: BLE001  the connection to a front end is foreign code and must never fail a run
            self._handle = None
        return self._handle is not None

    def _output(self) -> dict[str, str]:
        """Return the table in the formats among which the front end chooses."""
        room = _ROOM_IN_THE_END if self._table.is_complete else _ROOM
        shown, hidden = self._table.shown(room)
        return {"text/html": self._html(shown, hidden), "text/plain": "\n".join(self._plain(shown, hidden))}

    def _html(self, shown: Mapping[str, StepLine], hidden: int) -> str:
        record = self._record
        rows = [_row(name, line) for name, line in shown.items()]
        return output_html(
            title_of(record, duration_s=self._duration_s(record)) if record else None,
            data_table("Steps of the run", _HEADINGS, rows, class_="steps", is_caption_visible=False),
            element("p", muted(f"and {hidden} more steps")) if hidden else None,
            *(element("p", muted(f"note: {text}")) for text in self._notes),
            element("p", outcome_of(record)) if record and record.status is not RunStatus.RUNNING else None,
        )

    def _plain(self, shown: Mapping[str, StepLine], hidden: int) -> Iterator[str]:
        record = self._record
        if record:
            duration = format_duration(self._duration_s(record))
            yield escape_line(f"run {record.run_id}: {record.use_case} {record.status}, {duration}")
        for name, line in shown.items():
            yield escape_line(f"  {name}: {line.status} {_time(line)} {line.text}".rstrip())
        if hidden:
            yield f"  and {hidden} more steps"
        yield from (escape_line(f"  note: {text}") for text in self._notes)

    def _duration_s(self, record: RunRecord) -> float:
        return time.monotonic() - self._began if record.status is RunStatus.RUNNING else record.duration_s


def _row(name: str, line: StepLine) -> tuple[Node, ...]:
    return (name, badge(line.status, _KINDS.get(line.status, "plain")), _progress(line), _time(line))


def _progress(line: StepLine) -> Markup:
    if line.status == RUNNING and line.total > 0:
        return lines(share_bar(line.done / line.total, kind="right", label=line.text), line.text)
    return group(line.text)


def _time(line: StepLine) -> str:
    return "" if line.elapsed_s is None else format_duration(line.elapsed_s)
