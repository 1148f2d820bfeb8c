"""Observing what code does to the world around it: an audit hook that notes files, connections and processes.

The interpreter reports each such event itself (PEP 578), whatever library asks for it; only code that bypasses
Python, such as a reader written in C++, is not seen. What other code wrote is then found by comparing folders.
Processes that are forked (the workers of a pool) are observed too; programs that are started are not.
"""

from __future__ import annotations

import json
import os
import site
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SYSTEM_FOLDERS = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/sbin",
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/opt",
    "/nix",
    "/Library",
)
"""Folders of the system, whose files are not data."""
_CLOCK = ("time", "time_ns", "localtime", "gmtime", "ctime", "strftime")
_SHOWN = 5
_MOST_EVENTS = 10_000

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the process of a step did, as far as the interpreter reports it.

    Attributes:
        opened: number of different files that it opened for reading.
        listed: number of different folders that it listed.
        written: number of different files that it wrote.
        started: number of different programs that it started.
        clock: how often the step's own package asked for the time, through the module `time`.
        connections: addresses that it connected to, the first few.
        undeclared: files and folders that it read and does not declare, the first few.
        undeclared_count: number of those.
    """

    opened: int = 0
    listed: int = 0
    written: int = 0
    started: int = 0
    clock: int = 0
    connections: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    undeclared_count: int = 0

    def to_json(self) -> dict[str, int | list[str]]:
        """Return what is not zero, as JSON types only."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value}

    @property
    def finding(self) -> str:
        """What should be declared, as one sentence; empty if nothing."""
        if not self.undeclared:
            return ""
        more = (
            f" and {self.undeclared_count - len(self.undeclared)} more"
            if self.undeclared_count > len(self.undeclared)
            else ""
        )
        return (
            f"reads what it does not declare: {', '.join(self.undeclared)}{more}; declare it as an input, or put it "
            "into the package: a change of it does not run the step again"
        )


class StepRecorder(Recorder):
    """Counts what lies below known folders, and keeps the rest: its memory does not grow with the data."""

    def __init__(self, shared: int, *, known: Iterable[str]) -> None:
        """Count events below the folders `known`."""
        super().__init__(shared)
        self.counts: Counter[str] = Counter()
        self._known = tuple(f"{folder.rstrip('/')}/" for folder in known)
        self._last: tuple[str, object] = ("", None)

    def _note(self, kind: str, path: object, *, folder: int | None = None) -> None:
        if type(path) is str and path.startswith(self._known) and "/../" not in path:
            if self._last != (kind, path):
                self._last = (kind, path)
                self.counts[kind] += 1
            return
        super()._note(kind, path, folder=folder)

    def _add(self, kind: str, subject: str) -> None:
        if f"{subject}/".startswith(self._known):
            self.counts[kind] += 1
        elif len(self.events) < _MOST_EVENTS:
            super()._add(kind, subject)


@contextmanager
def step_observed(*, declared: Iterable[str], package: str) -> Iterator[Callable[[], Observation]]:
    """Observe a step; the function that is yielded returns what was observed, after the end or before.

    Args:
        declared: folders of its inputs and outputs, and its private ones.
        package: top-level name of the step's code, whose questions for the time are counted.
    """
    known = [*declared, *map(str, code_folders()), *SYSTEM_FOLDERS]
    asked: Counter[str] = Counter()
    with tempfile.TemporaryFile() as shared:
        recorder = StepRecorder(os.open(f"/dev/fd/{shared.fileno()}", os.O_WRONLY | os.O_APPEND), known=known)
        sys.addaudithook(recorder)
        recorder.is_on = True
        try:
            with _clock_counted(package, asked):
                yield lambda: _observation(recorder, asked)
        finally:
            recorder.is_on = False
            recorder.close()
            shared.seek(0)
            recorder.events |= {tuple(json.loads(line)) for line in shared}


def _observation(recorder: StepRecorder, asked: Counter[str]) -> Observation:
    code = imported_folders()
    events = list(recorder.events)
    reads = sorted(
        subject
        for kind, subject in events
        if kind in ("read", "list") and not is_cache(subject) and not _is_below(subject, code)
    )
    kinds = Counter(kind for kind, _ in events) + recorder.counts
    return Observation(
        opened=kinds["read"],
        listed=kinds["list"],
        written=kinds["write"],
        started=kinds["start"],
        clock=asked.total(),
        connections=tuple(sorted(subject for kind, subject in events if kind == "connect"))[:_SHOWN],
        undeclared=tuple(reads[:_SHOWN]),
        undeclared_count=len(reads),
    )


@contextmanager
def _clock_counted(package: str, asked: Counter[str]) -> Iterator[None]:
    """Count how often the code of `package` calls a function of `time` that depends on the moment."""
    originals = {name: getattr(time, name) for name in _CLOCK}

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            if str(sys._getframe(1).f_globals.get("__name__", "")).partition(".")[0] == package:  # noqa: SLF001
                asked[name] += 1
            return function(*arguments)

        return ask

    for name, function in originals.items():
        setattr(time, name, counting(name, function))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(time, name, function)


def code_folders() -> tuple[str, ...]:
    """Return the folders from which this interpreter takes code."""
    return (sys.prefix, sys.base_prefix, *site.getsitepackages(), *(entry for entry in sys.path if entry))


def imported_folders() -> tuple[str, ...]:
    """Return the folders of all imported packages: an editable one lies outside of the search path."""
    packages = [module for name, module in sys.modules.copy().items() if "." not in name]
    return tuple({str(folder) for package in packages for folder in getattr(package, "__path__", ())})


def is_cache(path: str) -> bool:
    """Tell whether a file belongs to a cache of Python or of a library, or is a device."""
    caches = [str(folder) for folder in getattr(read_settings(), "caches", ())]
    return "__pycache__" in path.split("/") or _is_below(path, ("/dev", *caches))


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


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
