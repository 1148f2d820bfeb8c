"""What a live table of a run shows about its steps, whatever draws it: a terminal, a notebook.

One line per step: status, progress or how it ended, duration. Where the run has more steps than there is room for,
those that run, failed or ended last are shown, with the number of the others.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.workspace.records import RunRecord, StepRecord

WAITING, RUNNING = "waiting", "running"


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
        order: grows with each change; the newest lines are shown where not all of them fit.
    """

    status: str = WAITING
    text: str = ""
    done: int = 0
    total: int = 0
    began: float = 0.0
    duration_s: float | None = None
    order: int = 0

    @property
    def elapsed_s(self) -> float | None:
        """How long the step took, or has been running; None while it is waiting or where nothing was measured."""
        if self.duration_s is not None:
            return self.duration_s or None
        return time.monotonic() - self.began if self.status == RUNNING else None


class StepTable:
    """The steps of a run, in the order of the pipeline; events may come from any thread.

    Attributes:
        is_complete: the run has ended.
    """

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
        self._change(name, status=RUNNING, text="", done=0, total=0, duration_s=None)

    def progress(self, name: str, label: str, done: int, total: int) -> None:
        """Show the progress of a step."""
        self._change(name, status=RUNNING, text=f"{label} {done}/{total}", done=done, total=total)

    def end(self, name: str, *, status: str, text: str, duration_s: float) -> None:
        """Show how a step ended."""
        self._change(name, status=status, text=text, duration_s=duration_s, done=0, total=0)

    def stop(self) -> None:
        """Show that what runs was stopped, for a run whose steps cannot say so any more."""
        with self._lock:
            for line in self._lines.values():
                if line.status == RUNNING:
                    line.duration_s, line.status = line.elapsed_s, "stopped"

    def _change(self, name: str, **values: object) -> None:
        with self._lock:
            line = self._lines.setdefault(name, StepLine())
            if values["status"] == RUNNING and line.status != RUNNING:
                line.began = time.monotonic()  # also for a step whose start was not reported
            self._changes += 1
            line.order = self._changes
            for key, value in values.items():
                setattr(line, key, value)

    def shown(self, room: int) -> tuple[dict[str, StepLine], int]:
        """Return the lines to show and the number of the others.

        Args:
            room: the most lines to show; at least 1.
        """
        with self._lock:
            names = self._chosen(room)
            return {name: replace(self._lines[name]) for name in names}, len(self._lines) - len(names)

    def _chosen(self, room: int) -> list[str]:
        if len(self._lines) <= room:
            return list(self._lines)
        ranks = {RUNNING: 0, "failed": 1}
        important = sorted(
            self._lines, key=lambda name: (ranks.get(self._lines[name].status, 2), -self._lines[name].order)
        )
        kept = set(important[: max(1, room - 1)])
        return [name for name in self._lines if name in kept]


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
