"""What the running steps of a run report, in a file of the run's folder: `mlops runs watch` and `mlops ui` read it."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.runners.observers import RunObserver
    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store

_INTERVAL_S = 0.5


class ProgressFileObserver:
    """Passes the events of a run on and keeps the file up to date, at most twice a second."""

    def __init__(self, observer: RunObserver, store: Store) -> None:
        """Pass events on to `observer`."""
        self._observer = observer
        self._runs = store.runs
        self._run_id = ""
        self._progress: dict[str, tuple[str, int, int]] = {}
        self._written = 0.0
        self._lock = threading.Lock()

    def run_started(self, record: RunRecord) -> None:
        """Note the run."""
        self._observer.run_started(record)
        self._run_id = record.run_id

    def step_started(self, name: str) -> None:
        """Note that the step runs."""
        self._observer.step_started(name)
        self._note(name, ("", 0, 0))

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Note the progress."""
        self._observer.step_progress(name, label, done, total)
        self._note(name, (label, done, total))

    def step_ended(self, record: StepRecord) -> None:
        """Note that the step does not run any more."""
        self._observer.step_ended(record)
        with self._lock:
            self._progress.pop(record.name, None)
            self._write()

    def note(self, text: str) -> None:
        """Pass the message on."""
        self._observer.note(text)

    def close(self) -> None:
        """Remove the file."""
        with self._lock:
            self._progress.clear()
            self._write()

    def _note(self, name: str, progress: tuple[str, int, int]) -> None:
        with self._lock:
            is_new = name not in self._progress
            self._progress[name] = progress
            if is_new or time.monotonic() - self._written >= _INTERVAL_S:
                self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._run_id:
            with contextlib.suppress(OSError):  # a display is not worth a run
                self._runs.write_progress(self._run_id, self._progress)
