"""Guard against changes of this process by plugin code that is called in it: noted and undone."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


_UNLIKELY_SEED = 0x6D6C6F7073


@contextlib.contextmanager
def guarded(what: str, *, changes: list[str], printed: list[str]) -> Iterator[None]:
    """Call plugin code inside; append to `changes` what it changed in this process, and undo it.

    Args:
        what: action, for the messages.
        changes: gets one phrase for each thing that was changed.
        printed: gets a phrase if something was printed.
    """
    before = _Surroundings()
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            yield
    finally:
        changes += [f"{what} changed {name}" for name in before.restore()]
        if out.getvalue().strip():
            printed.append(f"{what} printed {out.getvalue().strip()[:60]!r}")


class _Surroundings:
    """The state of this process before a call."""

    def __init__(self) -> None:
        self._environ = dict(os.environ)
        self._folder = os.getcwd()  # noqa: PTH109  a text, as chdir takes it
        self._path = list(sys.path)
        self._random = random.getstate()
        random.seed(_UNLIKELY_SEED)  # so that setting the previous seed again is noticed too
        self._seeded = random.getstate()
        self._filters = list(warnings.filters)
        self._handlers = list(logging.getLogger().handlers)
        self._level = logging.getLogger().level
        self._interrupt = signal.getsignal(signal.SIGINT)
        self._threads = set(threading.enumerate())

    def restore(self) -> list[str]:
        """Undo all changes and name them."""
        found = []
        for name, is_same, undo in (
            ("environment variables", dict(os.environ) == self._environ, self._restore_environ),
            ("the working directory", os.getcwd() == self._folder, lambda: os.chdir(self._folder)),  # noqa: PTH109
            ("sys.path", sys.path == self._path, lambda: sys.path.__setitem__(slice(None), self._path)),
            ("the state of random", random.getstate() == self._seeded, lambda: None),
            ("the logging of the process", self._has_same_logging(), self._restore_logging),
            ("the warning filters", warnings.filters == self._filters, self._restore_filters),
            ("what Ctrl-C does", signal.getsignal(signal.SIGINT) == self._interrupt, self._restore_interrupt),
            ("the threads of the process", set(threading.enumerate()) <= self._threads, lambda: None),
        ):
            if not is_same:
                undo()
                found.append(name)
        random.setstate(self._random)
        return found

    def _restore_environ(self) -> None:
        for name in os.environ.keys() - self._environ.keys():
            del os.environ[name]
        os.environ.update(self._environ)

    def _has_same_logging(self) -> bool:
        root = logging.getLogger()
        return root.handlers == self._handlers and root.level == self._level

    def _restore_logging(self) -> None:
        logging.getLogger().handlers[:] = self._handlers
        logging.getLogger().setLevel(self._level)

    def _restore_filters(self) -> None:
        warnings.filters[:] = self._filters  # type: ignore[index]

    def _restore_interrupt(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._interrupt)
