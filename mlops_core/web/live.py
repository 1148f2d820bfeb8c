"""What changes while a page is shown, as server-sent events: one look at the workspace a second, for all pages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from mlops_core.errors import MlopsError
from mlops_core.workspace.database import DATABASE
from mlops_core.workspace.records import RunStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mlops_core.web.opened import UiWorkspace

_INTERVAL_S = 1.0
_KEEP_ALIVE_S = 15.0
_RETRY_MS = 3000


@dataclass(slots=True)
class _WatchedState:
    """Something that is read once in an interval, however many pages show it."""

    at: float = 0.0
    value: object = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class LiveEvents:
    """The events of one workspace."""

    def __init__(self, workspace: UiWorkspace) -> None:
        """Watch a workspace while pages ask for its events."""
        self._workspace = workspace
        self._watched: dict[str, _WatchedState] = {}
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End the events of all pages, so that the server can stop."""
        self._closing.set()

    async def run_list(self) -> AsyncIterator[str]:
        """Yield ``changed`` when a run began, ended, or changed in the table of runs."""
        shown: object = None
        async for moment in self._moments():
            state = await self._look("runs", self._state_of_runs)
            if shown is not None and state != shown:
                yield _event("changed", {})
            elif moment:
                yield moment
            shown = state

    async def run(self, run_id: str) -> AsyncIterator[str]:
        """Yield ``parts``, the parts of a run's page that have changed, until the run has ended; then ``reload``."""
        shown: dict[str, str] = {}
        async for moment in self._moments():
            found = await self._look(f"run {run_id}", lambda: self._parts_of_run(run_id))
            assert isinstance(found, dict)  # noqa: S101  what the function returns
            changed = {name: text for name, text in found.items() if shown.get(name) != text}
            shown = found
            if "ended" in found:
                yield _event("reload", {})
                return
            if changed:
                yield _event("parts", changed)
            elif moment:
                yield moment

    async def _moments(self) -> AsyncIterator[str]:
        """Yield once in an interval, a comment when the connection was quiet for long, until the server stops."""
        quiet_since = time.monotonic()
        yield f"retry: {_RETRY_MS}\n\n"
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _INTERVAL_S)
                return
            is_quiet = time.monotonic() - quiet_since > _KEEP_ALIVE_S
            if is_quiet:
                quiet_since = time.monotonic()
            yield ": quiet\n\n" if is_quiet else ""

    async def _look(self, name: str, look: Callable[[], object]) -> object:
        watched = self._watched.setdefault(name, _WatchedState())
        async with watched.lock:
            if time.monotonic() - watched.at >= _INTERVAL_S * 0.9:
                watched.value = await run_in_threadpool(look)
                watched.at = time.monotonic()
        for other in [key for key, each in self._watched.items() if time.monotonic() - each.at > 10 * _INTERVAL_S]:
            if not self._watched[other].lock.locked():
                del self._watched[other]
        return watched.value

    def _state_of_runs(self) -> object:
        """Return what the list of runs depends on."""
        try:
            with self._workspace.open() as opened, opened.store.reading() as db:
                last = db.execute("SELECT count(*), max(sequence), total(duration_s) FROM main.runs").fetchone()
                states = db.execute("SELECT status, count(*) FROM main.runs GROUP BY status").fetchall()
                rows = db.execute("SELECT run_id FROM main.runs WHERE status = ?", (RunStatus.RUNNING,)).fetchall()
            alive = [opened.store.runs.is_alive(row[0]) for row in rows]
            return (*last, [tuple(row) for row in states], alive, opened.stale)
        except (MlopsError, OSError):
            return _file_state(self._workspace.home / DATABASE)

    def _parts_of_run(self, run_id: str) -> dict[str, str]:
        from mlops_core.web.pages.runs.run_live import live_parts

        try:
            with self._workspace.open() as opened:
                return live_parts(opened.store, run_id)
        except (MlopsError, OSError) as error:
            return {"problem": str(error)}


def _file_state(path: Path) -> tuple[int, ...]:
    try:
        status = os.stat(path)  # noqa: PTH116  as os.stat_result
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
