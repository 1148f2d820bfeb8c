"""The workspace of the application: opened for each request, since a store belongs to one thread."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.web.index.database import RunIndex
from mlops_core.workspace.database import DATABASE, disappeared
from mlops_core.workspace.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlops_core.web.plugin_work.questions import PluginWork

_INLINE = 5
"""So many runs that changed are indexed while a page is made; more of them in a process of their own."""
_ANSWERED_S = 1.0
_REMEMBERED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWorkspace:
    """The workspace during one request.

    Attributes:
        store: open, with the index attached.
        plugins: answers questions that need a plugin's code.
        stale: number of runs that are not in the index yet.
        state: of the files of the workspace; while it is the same, so are the pages that depend on nothing else.
        memory: the pages of this state.
    """

    store: Store
    plugins: PluginWork
    stale: int
    state: tuple[tuple[int, int], ...]
    memory: PageMemory


class PageMemory:
    """The last pages that were made, each with the state that it shows."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._pages: OrderedDict[object, tuple[object, str]] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, name: object, state: object, make: Callable[[], str]) -> str:
        """Return the page `name` of a state, made by `make` where it is not remembered."""
        with self._lock:
            known = self._pages.get(name)
        if known is not None and known[0] == state:
            return known[1]
        text = make()
        with self._lock:
            self._pages[name] = (state, text)
            self._pages.move_to_end(name)
            while len(self._pages) > _REMEMBERED:
                self._pages.popitem(last=False)
        return text


class UiWorkspace:
    """Opens the workspace, and keeps its index up to date."""

    def __init__(self, home: Path, plugins: PluginWork) -> None:
        """Use the workspace in the folder `home`, which is created where it is missing.

        Raises:
            StoreError: it cannot be created or read, or a newer version of mlops wrote it.
        """
        with Store(home) as store:
            self.home = store.home
        self.plugins = plugins
        self._index = RunIndex(self.home)
        self._closing = threading.Event()
        self._is_due = threading.Event()
        self._indexed_state: tuple[tuple[int, int], ...] = ()
        self._memory = PageMemory()
        self._building: subprocess.Popen[bytes] | None = None
        self._indexing = threading.Thread(target=self._keep_indexed, name="run-index", daemon=True)

    def start(self) -> None:
        """Begin to index the runs in the background."""
        self._indexing.start()

    def close(self) -> None:
        """Stop indexing."""
        self._closing.set()
        self._is_due.set()
        if self._building is not None and self._building.poll() is None:
            self._building.terminate()
        if self._indexing.is_alive():
            self._indexing.join(timeout=10)
        self._index.close()

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenWorkspace]:
        """Open the workspace for one request.

        Raises:
            StoreError: it has disappeared, or cannot be read.
        """
        with self.open_store() as store:
            state = self._file_states()
            stale = self._bring_up_to_date(store, state)
            yield OpenWorkspace(store=store, plugins=self.plugins, stale=stale, state=state, memory=self._memory)

    def _bring_up_to_date(self, store: Store, state: tuple[tuple[int, int], ...]) -> int:
        """Index a few runs, or begin to index many; return how many are still missing."""
        if state == self._indexed_state:
            return 0
        stale = self._index.count_stale(store)
        if 0 < stale <= _INLINE:
            stale -= self._index.update(store, limit=_INLINE)
        elif stale:
            self._is_due.set()
        if stale <= 0:
            self._indexed_state = state
        return max(0, stale)

    def _file_states(self) -> tuple[tuple[int, int], ...]:
        """Return size and time of the files of the database: while they are the same, nothing has to be indexed."""
        states = []
        files = (self.home / DATABASE, self._index.path)
        for path in (*files, *(file.with_name(f"{file.name}-wal") for file in files)):
            with contextlib.suppress(OSError):
                status = path.stat()
                states.append((status.st_mtime_ns, status.st_size))
        return tuple(states)

    @contextlib.contextmanager
    def open_store(self) -> Iterator[Store]:
        """Open the workspace without looking whether the index is up to date.

        Raises:
            StoreError: it has disappeared, or cannot be read.
        """
        if not (self.home / DATABASE).exists():  # a store would create it again
            raise disappeared(self.home)
        with Store(self.home) as store:
            self._index.attach(store)
            yield store

    def _keep_indexed(self) -> None:
        """Index what has changed when a request finds that much of it has, and once at the beginning.

        A process of its own reads the records, so that requests do not wait for it.
        """
        is_first = True
        while not self._closing.is_set():
            if not is_first:
                self._is_due.wait()
                self._is_due.clear()
            is_first = False
            if self._closing.is_set():
                return
            command = [sys.executable, "-m", "mlops_core.web.index.build", str(self.home), str(self._index.path)]
            self._building = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603  our own module
            self._building.wait()
            self._closing.wait(_ANSWERED_S)
