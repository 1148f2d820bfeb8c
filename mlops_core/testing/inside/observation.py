"""Observing what code does to the world around it: an audit hook that notes files, connections and processes.

The interpreter reports each such event itself (PEP 578), whatever library asks for it; only code that bypasses
Python, such as a reader written in C++, is not seen. What other code wrote is then found by comparing folders.
Processes that are forked (the workers of a pool) are observed too; programs that are started are not.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.remove": 1,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.truncate": 1,
    "os.utime": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.setxattr": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
}
"""Event -> how many of its first arguments are paths that it changes."""
_LISTINGS = ("os.listdir", "os.scandir")
_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")


class Recorder:
    """Notes events as (kind, subject): kind is ``read``, ``list``, ``write``, ``connect``, ``resolve`` or ``start``."""

    def __init__(self, shared: int) -> None:
        """Note nothing yet; forked processes append what they note to the file of the descriptor `shared`."""
        self.events: set[tuple[str, str]] = set()
        self.is_on = False
        self._shared = shared
        self._process = os.getpid()

    def close(self) -> None:
        """Hear nothing more of forked processes."""
        os.close(self._shared)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """Take one event of the interpreter; it must not raise, or the observed code would."""
        if not self.is_on:
            return
        if event == "open":
            self._opened(arguments)
        elif event in _CHANGES:
            self._changed(arguments, _CHANGES[event])
        elif event in _LISTINGS:
            self._note("list", arguments[0] if arguments else ".")
        elif event == "socket.connect":
            self._add("connect", _address(arguments[1]))
        elif event == "socket.getaddrinfo":
            self._add("resolve", str(arguments[0]))
        elif event in _PROCESSES:
            self._add("start", str(arguments[0]))

    def _opened(self, arguments: tuple[object, ...]) -> None:
        path, mode, flags = (*arguments, None, None, None)[:3]
        is_writing = isinstance(mode, str) and bool(set(mode) & set("wax+"))
        is_writing = is_writing or (mode is None and isinstance(flags, int) and bool(flags & _WRITE_FLAGS))
        self._note("write" if is_writing else "read", path)

    def _changed(self, arguments: tuple[object, ...], count: int) -> None:
        folder = arguments[-1]
        for path in arguments[:count]:
            self._note("write", path, folder=folder if isinstance(folder, int) and folder >= 0 else None)

    def _note(self, kind: str, path: object, *, folder: int | None = None) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor: its opening was noted
        text = os.fsdecode(path)
        if not os.path.isabs(text):  # noqa: PTH117  texts: this is called for every file that is opened
            text = os.path.join(_folder(folder), text)  # noqa: PTH118  as above
        text = os.path.normpath(text)
        # Probing for a missing file is not a read.
        if kind == "write" or os.path.exists(text):  # noqa: PTH110  as above
            self._add(kind, text)

    def _add(self, kind: str, subject: str) -> None:
        if (kind, subject) in self.events:
            return
        self.events.add((kind, subject))
        if os.getpid() != self._process:
            os.write(self._shared, json.dumps([kind, subject]).encode() + b"\n")


def _folder(descriptor: int | None) -> str:
    try:
        return str(Path.cwd() if descriptor is None else Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return "/"


def _address(address: object) -> str:
    if isinstance(address, tuple):
        return ":".join(str(part) for part in address[:2])
    return f"unix:{address!s}"


@contextmanager
def recorded() -> Iterator[Recorder]:
    """Record what happens inside; the hook itself stays for the life of the process, silent."""
    with tempfile.TemporaryFile() as shared:
        recorder = Recorder(os.open(f"/dev/fd/{shared.fileno()}", os.O_WRONLY | os.O_APPEND))
        sys.addaudithook(recorder)
        recorder.is_on = True
        try:
            yield recorder
        finally:
            recorder.is_on = False
            recorder.close()
            shared.seek(0)
            recorder.events |= {tuple(json.loads(line)) for line in shared}
