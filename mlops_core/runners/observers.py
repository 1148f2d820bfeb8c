"""Observers of runs: `RunObserver` receives the events of a run and can never fail it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Protocol

from mlops_core.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.workspace.records import RunRecord, StepRecord


class RunObserver(Protocol):
    """Receives run events, from any thread; the CLI renders them.

    Example:
        >>> class Printer:
        ...     def run_started(self, record):
        ...         print("run", record.use_case)
        ...
        ...     def step_started(self, name):
        ...         pass
        ...
        ...     def step_progress(self, name, label, done, total):
        ...         pass
        ...
        ...     def step_ended(self, record):
        ...         pass
        ...
        ...     def note(self, text):
        ...         pass
        >>> record = run("TOY", workspace="workspace", observer=Printer())
        run TOY
    """

    def run_started(self, record: RunRecord) -> None:
        """Handle the start of a run: its record exists from now on."""

    def step_started(self, name: str) -> None:
        """Handle the start of a step; ``fetch`` is one too."""

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Handle the progress of a step: `done` of `total`, counted in `label`."""

    def step_ended(self, record: StepRecord) -> None:
        """Handle the end of a step: done, reused, failed, skipped or stopped."""

    def note(self, text: str) -> None:
        """Handle a message that changes nothing about the run."""


class SilentObserver:
    """Ignores all events.

    Example:
        >>> record = run("TOY", workspace="workspace", observer=SilentObserver())
    """

    def run_started(self, record: RunRecord) -> None:
        """Ignore the event."""

    def step_started(self, name: str) -> None:
        """Ignore the event."""

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Ignore the event."""

    def step_ended(self, record: StepRecord) -> None:
        """Ignore the event."""

    def note(self, text: str) -> None:
        """Ignore the event."""


class GuardedObserver:
    """Passes events to another observer; an exception in it is dropped, and it receives no further events.

    An observer can never fail a run.
    """

    def __init__(self, observer: RunObserver, *, redactor: Redactor | None = None) -> None:
        """Pass events to `observer`, without the secrets that `redactor` knows."""
        self._observer: RunObserver | None = observer
        self._redactor = redactor or Redactor()

    def run_started(self, record: RunRecord) -> None:
        """Pass the event on."""
        self._call(lambda observer: observer.run_started(record))

    def step_started(self, name: str) -> None:
        """Pass the event on."""
        self._call(lambda observer: observer.step_started(name))

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Pass the event on."""
        label = self._redactor.text(label)
        self._call(lambda observer: observer.step_progress(name, label, done, total))

    def step_ended(self, record: StepRecord) -> None:
        """Pass the event on."""
        self._call(lambda observer: observer.step_ended(record))

    def note(self, text: str) -> None:
        """Pass the event on."""
        text = self._redactor.text(text)
        self._call(lambda observer: observer.note(text))

    def _call(self, event: Callable[[RunObserver], None]) -> None:
        if self._observer is None:
            return
        try:
            event(self._observer)
        except Exception as error:  # noqa: BLE001  an observer is foreign code and must never fail a run
            self._observer = None
            warnings.warn(f"the run's observer raised {error!r}; it receives no further events", stacklevel=3)
