"""When to look at a folder: notices of the system, from the extra `watch`, or a clock."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from watchfiles import Change

_RESCAN_S = 60.0
"""How often the whole folder is checked although the system gives notices: they can be lost."""


class Notices(Protocol):
    """Says when to look."""

    def wait(self, timeout_s: float) -> set[str] | None:
        """Wait and return the relative paths to look at; None for the whole folder."""


def open_notices(folder: Path, *, poll_s: float | None, stop: threading.Event) -> Notices:
    """Return the notices of the system, or those of a clock if `poll_s` is set or watchfiles is not installed."""
    if poll_s is None:
        try:
            import watchfiles  # noqa: F401  whether it is installed
        except ImportError:
            poll_s = 2.0
        else:
            return _SystemNotices(folder, stop=stop)
    return _Clock(poll_s, stop=stop)


class _Clock:
    def __init__(self, poll_s: float, *, stop: threading.Event) -> None:
        self._poll_s = poll_s
        self._stop = stop
        self._last = 0.0

    def wait(self, timeout_s: float) -> set[str] | None:
        self._stop.wait(min(timeout_s, max(0.0, self._last + self._poll_s - time.monotonic())))
        if time.monotonic() < self._last + self._poll_s:
            return set()
        self._last = time.monotonic()
        return None


class _SystemNotices:
    def __init__(self, folder: Path, *, stop: threading.Event) -> None:
        import watchfiles

        self._folder = os.path.realpath(folder)
        self._changes: Iterator[set[tuple[Change, str]]] = watchfiles.watch(
            self._folder,
            watch_filter=None,
            debounce=200,
            step=50,
            rust_timeout=200,
            yield_on_timeout=True,
            stop_event=stop,
            raise_interrupt=True,
        )
        self._rescan_at = 0.0

    def wait(self, timeout_s: float) -> set[str] | None:  # noqa: ARG002  it waits 0.2 s
        changes = next(self._changes, set())
        if time.monotonic() >= self._rescan_at:
            self._rescan_at = time.monotonic() + _RESCAN_S
            return None
        paths = {os.path.relpath(path, self._folder) for _, path in changes}
        if any(os.path.isdir(os.path.join(self._folder, path)) for path in paths):  # noqa: PTH112, PTH118
            return None  # a folder that was moved here comes as one notice
        return paths
