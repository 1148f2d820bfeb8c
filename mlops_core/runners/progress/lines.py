"""The progress of a run as lines: one for the run, one for each step that ended, and a status line."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, TextIO

from mlops_core.control_characters import escape_line
from mlops_core.quantities import format_duration
from mlops_core.workspace.records import StepStatus

if TYPE_CHECKING:
    from mlops_core.workspace.records import RunRecord, StepRecord

_INTERVAL_S = 0.2
"""A status line that changes more often cannot be read, and a notebook stores every change."""
_WIDTH = 78


class LineObserver:
    """Prints one line for the run and one for each step that ended; a status line shows what is being done."""

    def __init__(self, stream: TextIO) -> None:
        """Print to `stream`."""
        self._stream = stream
        self._lock = threading.Lock()
        self._status = ""
        self._written = 0.0

    def run_started(self, record: RunRecord) -> None:
        """Print which run it is."""
        self._line(f"run {record.run_id}: {record.use_case} ({record.plugin})")

    def step_started(self, name: str) -> None:
        """Show the step in the status line."""
        self._show(f"  {name} ...", is_urgent=True)

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Show the progress in the status line."""
        self._show(f"  {name}: {label} {done}/{total}", is_urgent=False)

    def step_ended(self, record: StepRecord) -> None:
        """Print how the step ended."""
        endings = {StepStatus.DONE: format_duration(record.duration_s), StepStatus.FAILED: record.error}
        warning = f"  warning: {record.warning}" if record.warning else ""
        self._line(f"  {record.name}: {record.status} {endings.get(record.status, '')}".rstrip() + warning)

    def note(self, text: str) -> None:
        """Print the message."""
        self._line(f"  note: {text}")

    def _line(self, text: str) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):  # a stream that was closed does not stop the run
            self._stream.write(f"{self._erasure()}{escape_line(text)}\n")
            self._stream.flush()
            self._status = ""

    def _show(self, text: str, *, is_urgent: bool) -> None:
        now = time.monotonic()
        with self._lock, contextlib.suppress(OSError, ValueError):
            if not is_urgent and now - self._written < _INTERVAL_S:
                return
            status = escape_line(text)[:_WIDTH]
            self._stream.write(f"{self._erasure()}{status}")
            self._stream.flush()
            self._status, self._written = status, now

    def _erasure(self) -> str:
        return f"\r{' ' * len(self._status)}\r" if self._status else ""
