"""What a server writes: one line of JSON per request, and captured requests; each by a thread that may lag or fail.

A full disk or a reader that has stopped must not delay an answer: lines that cannot be queued or written are dropped
and counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_QUEUED_LINES = 10_000
_QUEUED_CAPTURES = 64
_LINES_AT_ONCE = 200
_PAUSE_S = 0.02
_NOTE_INTERVAL_S = 60.0
_STANDARD_OUTPUT = 1


class QueuedWriter:
    """Calls `write` with some items at a time in a thread of its own; items are dropped while it is behind.

    Where it takes several, the thread pauses for a moment after each call: to wake it up for each item takes more time
    from the interpreter than the item.

    Attributes:
        dropped: number of items that were dropped.
    """

    def __init__(self, write: Callable[[list[Any]], None], *, name: str, limit: int, at_once: int = 1) -> None:
        """Start the thread.

        Args:
            write: called with items in their order.
            name: of what is written, for messages.
            limit: number of items that may wait.
            at_once: largest number of items of a call.
        """
        self.dropped = 0
        self._write = write
        self._name = name
        self._noted_at: float | None = None
        self._at_once = at_once
        self._is_closing = threading.Event()
        self._items: queue.Queue[Any] = queue.Queue(maxsize=limit)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: object) -> bool:
        """Queue an item; return False if it was dropped."""
        try:
            self._items.put_nowait(item)
        except queue.Full:
            self._drop(1, "the writer is behind")
            return False
        return True

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, for a limited time."""
        self._is_closing.set()
        with contextlib.suppress(queue.Full):
            self._items.put(None, timeout=timeout_s)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            items = [item, *self._waiting()]
            try:
                self._write(items)
            except OSError as error:
                self._drop(len(items), error.strerror or str(error))
            if self._at_once > 1:
                self._is_closing.wait(_PAUSE_S)

    def _waiting(self) -> Iterator[Any]:
        """Yield items that wait, but not the end."""
        for _ in range(min(self._at_once - 1, self._items.qsize())):  # only this thread takes items
            if self._items.queue[0] is None:
                return
            yield self._items.get()

    def _drop(self, count: int, reason: str) -> None:
        self.dropped += count
        now = time.monotonic()
        if self._noted_at is None or now - self._noted_at > _NOTE_INTERVAL_S:
            self._noted_at = now
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"mlops: warning: {self._name}: {reason}; {self.dropped} lines dropped so far\n")
                sys.stderr.flush()


def request_log() -> QueuedWriter:
    """Return the writer of log lines; each item is a mapping, written to standard output as one line of JSON.

    The lines go past `sys.stdout`: it is flushed when the process ends, which must not wait for a reader that stopped.
    """
    sys.stdout.flush()
    descriptor = os.dup(_STANDARD_OUTPUT)

    def write(lines: list[Mapping[str, Any]]) -> None:
        _write_all(descriptor, "".join(f"{json.dumps(line, default=str)}\n" for line in lines).encode())

    return QueuedWriter(write, name="request log", limit=_QUEUED_LINES, at_once=_LINES_AT_ONCE)


def capture_writer() -> QueuedWriter:
    """Return the writer of captured requests; each item is a function that returns a file and its new line."""
    return QueuedWriter(_append, name="capture", limit=_QUEUED_CAPTURES)


def _append(made: list[Callable[[], tuple[Path, Mapping[str, Any]]]]) -> None:
    """Append a line to its file; a line that does not fit on the disk leaves no part of it behind."""
    (make,) = made
    path, line = make()
    text = (json.dumps(line, ensure_ascii=False) + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, text)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
