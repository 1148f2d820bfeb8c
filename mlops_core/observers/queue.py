"""The events that an observer has not received yet: a bounded queue of small files, and a cursor in the ledger.

``observers/NAME/`` in the workspace holds ``queue/`` with one file per event, ``failed/`` with the events that the
observer refused several times, ``dropped`` with the number of events for which the queue had no room, and ``cursor``
with the position in the ledger up to which changes of models and aliases were queued. Events of runs and steps are
written by the driver of the run. Those of models and aliases are taken from the ledger by the process that delivers
them, as far as there is room, so none of them is ever dropped. Neither process waits for the other.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.observers.discovery import OBSERVERS_FOLDER
from mlops_core.observers.events import EventPhase
from mlops_core.workspace.files import write_atomically
from mlops_core.workspace.records import StepRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_core.workspace.store import Store

QUEUE_LIMIT = 10_000
"""Number of events that an observer may be behind; further ones are dropped and counted."""
ATTEMPTS = 3
"""Number of times that an event is tried before it is put aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedEvent:
    """An event that waits for delivery: of a run, of a step, or an entry of the ledger.

    Attributes:
        phase: of the run or step.
        run_id: the run; empty for an entry of the ledger.
        step: record of the step; None for an event of the run itself.
        sequence: number of the entry of the ledger; 0 for none.
    """

    phase: EventPhase = EventPhase.ENDED
    run_id: str = ""
    step: StepRecord | None = None
    sequence: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON."""
        return {
            "phase": str(self.phase),
            "run_id": self.run_id,
            "step": None if self.step is None else self.step.to_json(),
            "sequence": self.sequence,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> QueuedEvent:
        """Read what `to_json` returned.

        Raises:
            KeyError, TypeError, ValueError: the file is damaged.
        """
        step = data["step"]
        return cls(
            phase=EventPhase(data["phase"]),
            run_id=str(data["run_id"]),
            step=None if step is None else StepRecord.from_json(step),
            sequence=int(data["sequence"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """How far an observer is behind.

    Attributes:
        waiting: number of events in the queue.
        failed: number of events that the observer refused several times.
        dropped: number of events for which there was no room.
        unread: number of entries of the ledger that were not queued yet.
        last_error: the last reason why an event was not delivered; empty for none.
    """

    waiting: int
    failed: int
    dropped: int
    unread: int
    last_error: str


class EventQueue:
    """The queue of one observer in one workspace."""

    def __init__(self, home: Path, name: str) -> None:
        """Keep the queue of the observer `name` in the workspace `home`; nothing is written yet."""
        self.folder = home / OBSERVERS_FOLDER / name
        self._queue = self.folder / "queue"
        self._failed = self.folder / "failed"
        self._number = 0
        self._room: int | None = None

    def append(self, event: QueuedEvent) -> bool:
        """Append an event; return whether there was room for it.

        Raises:
            OSError: the workspace cannot be written.
        """
        if self._room is None:
            self._queue.mkdir(parents=True, exist_ok=True)
            self._room = QUEUE_LIMIT - sum(1 for _ in self._paths())
        if self._room <= 0:
            self._room = None  # the observer may have caught up by the next event
            return False
        self._room -= 1
        self._number += 1
        name = f"{time.time_ns():020}-{os.getpid():08}-{self._number:08}.0"
        partial = self._queue / f".{name}"
        partial.write_text(json.dumps(event.to_json()), encoding="utf-8", errors="backslashreplace")
        partial.rename(self._queue / name)
        return True

    def append_or_drop(self, event: QueuedEvent) -> None:
        """Append an event; where there is no room, it is counted as dropped.

        Raises:
            OSError: the workspace cannot be written.
        """
        if not self.append(event):
            write_atomically(self.folder / "dropped", str(self._dropped() + 1))

    def read(self, path: Path) -> QueuedEvent:
        """Read an event.

        Raises:
            OSError, KeyError, TypeError, ValueError: the file is damaged.
        """
        return QueuedEvent.from_json(json.loads(path.read_text(encoding="utf-8")))

    def first(self) -> Path | None:
        """Return the file of the oldest event."""
        return min(self._paths(), default=None)

    def begin_attempt(self, path: Path) -> Path:
        """Count an attempt in the name of an event's file, before it is made; return the new path."""
        stem, _, attempts = path.name.rpartition(".")
        return path.rename(path.with_name(f"{stem}.{int(attempts) + 1}"))

    def take_back_attempt(self, path: Path) -> None:
        """Let an attempt not count, because the observer's own service could not be reached."""
        path.rename(path.with_name(f"{path.name.rpartition('.')[0]}.0"))

    def put_aside(self, path: Path) -> None:
        """Move an event to the failed ones, from which `retry_failed` takes it."""
        self._failed.mkdir(parents=True, exist_ok=True)
        path.rename(self._failed / path.name)

    def retry_failed(self) -> None:
        """Put the events that failed back into the queue, at their places."""
        for path in self._failed.iterdir() if self._failed.is_dir() else ():
            self._queue.mkdir(parents=True, exist_ok=True)
            path.rename(self._queue / f"{path.name.rpartition('.')[0]}.0")

    @staticmethod
    def attempts(path: Path) -> int:
        """Return how often the delivery of an event was begun."""
        return int(path.name.rpartition(".")[2])

    def cursor(self) -> int | None:
        """Return the last entry of the ledger that was delivered; None before the first start."""
        try:
            return int((self.folder / "cursor").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def move_cursor(self, sequence: int) -> None:
        """Record that the ledger was delivered up to and including an entry."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "cursor", str(sequence))

    def start(self, store: Store) -> None:
        """Place the cursor at the end of the ledger, where the observer is new: what was before is not delivered."""
        if self.cursor() is None:
            self.move_cursor(last_sequence(store))

    def take_from_ledger(self, store: Store) -> None:
        """Queue the entries of the ledger that are newer than the cursor, as far as there is room."""
        from mlops_core.workspace.registry import Registry

        cursor = self.cursor() or 0
        if last_sequence(store) <= cursor:
            return
        for sequence in sorted(entry.sequence for entry in Registry(store).history() if entry.sequence > cursor):
            if not self.append(QueuedEvent(sequence=sequence)):
                return
            self.move_cursor(sequence)

    def mark_open(self, run_id: str) -> None:
        """Record that the observer knows the start of a run and not its end."""
        folder = self.folder / "open_runs"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / run_id).touch()

    def mark_ended(self, run_id: str) -> None:
        """Record that the observer knows the end of a run."""
        (self.folder / "open_runs" / run_id).unlink(missing_ok=True)

    def open_runs(self) -> tuple[str, ...]:
        """Return the runs of which the observer knows the start and not the end."""
        folder = self.folder / "open_runs"
        return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()

    def write_error(self, text: str) -> None:
        """Record why the last event was not delivered; empty when it was."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "last_error", text)

    def state(self, store: Store) -> QueueState:
        """Return how far the observer is behind."""
        cursor = self.cursor()
        return QueueState(
            waiting=sum(1 for _ in self._paths()),
            failed=sum(1 for _ in self._failed.iterdir()) if self._failed.is_dir() else 0,
            dropped=self._dropped(),
            unread=0 if cursor is None else max(0, last_sequence(store) - cursor),
            last_error=_text_of(self.folder / "last_error"),
        )

    def _paths(self) -> Iterator[Path]:
        try:
            yield from (path for path in self._queue.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:  # nothing was queued yet
            return

    def _dropped(self) -> int:
        text = _text_of(self.folder / "dropped")
        return int(text) if text.isdigit() else 0


def last_sequence(store: Store) -> int:
    """Return the number of the ledger's last entry; 0 for an empty ledger."""
    from mlops_core.workspace.registry import Registry

    return Registry(store).chain_head().sequence


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
