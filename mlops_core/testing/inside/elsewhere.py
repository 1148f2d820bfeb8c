"""Asking a predictor in a process in which everything but its artifact is different, and watching where it looks.

Home folder, environment, clock, host, number of processors and file mode mask are other ones; locale, hash seed,
working directory and time zone are set by the caller. What the plugin's own code opens, lists or asks
about is noted, whether it exists or not: beside the events of the interpreter, `os.stat` and its relatives are
replaced, which the interpreter does not report.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
import socket
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.testing.observation.trees import is_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from mlops_core.predictors import Predictor

_Date, _Time = dt.date, dt.datetime
_LATER_S = 12 * 365 * 86_400
_KEPT = ("PATH", "PYTHONPATH", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "PYTHONHASHSEED", "TF_CPP_MIN_LOG_LEVEL", "LC_ALL")
_PROBES = ("stat", "lstat", "access", "readlink", "statvfs")
_EVENTS = {"open": "opens", "os.listdir": "lists", "os.scandir": "lists"}
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")


def ask_elsewhere(arguments: dict[str, Any]) -> dict[str, Any]:
    """Ask the model in ``arguments["model"]`` about ``arguments["paths"]`` in several ways.

    Returns:
        ``whole``: the scores when it is asked about all; ``reversed``: in the opposite order; ``single``: one by one;
        ``renamed``: about copies with neutral names, in another order; each in the order of the paths. ``touched``:
        what the code of the plugin touched that is neither the artifact, nor a sample, nor code.
    """
    from mlops_core.use_cases.discovery import find_use_case
    from mlops_core.use_cases.manager import load_use_case

    folder = Path(arguments["folder"])
    change_surroundings(folder)
    paths = [Path(path) for path in arguments["paths"]]
    copies = neutral_copies(paths, folder / "samples")
    package = find_use_case(arguments["use_case"]).target.partition(":")[0].partition(".")[0]
    allowed = [arguments["model"], str(folder / "samples"), *map(str, paths)]
    witness = LookWitness(package, allowed=allowed)
    witness.install()
    predictor = load_use_case(arguments["use_case"]).load_predictor(Path(arguments["model"]))
    answers = {
        "whole": _scores(predictor, paths),
        "reversed": _scores(predictor, paths[::-1])[::-1],
        "single": [_scores(predictor, [path])[0] for path in paths],
    }
    order = sorted(range(len(copies)), key=lambda number: copies[number].name)
    renamed = dict(zip(order, _scores(predictor, [copies[number] for number in order]), strict=True))
    answers["renamed"] = [renamed[number] for number in range(len(copies))]
    witness.is_on = False
    return {**answers, "touched": sorted(witness.touched)}


def change_surroundings(folder: Path) -> None:
    """Change what a process has beside its code and its files."""
    home = folder / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME=str(home), USER="nobody", LOGNAME="nobody", LANG="C")
    os.umask(0o077)
    _shift_clock()
    _set(socket, "gethostname", lambda: "elsewhere")
    _set(platform, "node", lambda: "elsewhere")
    real = os.uname()
    _set(os, "uname", lambda: os.uname_result((real.sysname, "elsewhere", "1.0", "1", real.machine)))
    count = 1 + (os.cpu_count() or 1)
    _set(os, "cpu_count", lambda: count)
    if hasattr(os, "getloadavg"):
        _set(os, "getloadavg", lambda: (99.0, 98.0, 97.0))


class LookWitness:
    """Notes where the code of one package looks."""

    def __init__(self, package: str, *, allowed: Iterable[str]) -> None:
        """Note what code of `package` touches that is not below one of the folders `allowed`, and is not code."""
        self.touched: set[str] = set()
        self.is_on = False
        self._package = package
        places = [*(entry for entry in sys.path if entry), sys.prefix, sys.base_prefix]
        home = os.environ["HOME"]
        self._allowed = [*allowed, *(place for place in places if not is_below(home, [place]))]
        self._ancestors = {str(parent) for path in allowed for parent in Path(path).parents}

    def install(self) -> None:
        """Begin; the hook of the interpreter stays for the life of the process."""
        sys.addaudithook(self._audit)
        for name in _PROBES:
            _set(os, name, self._probing(name, getattr(os, name)))
        self.is_on = True

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_on and event in _EVENTS and arguments:
            self._note(_EVENTS[event], arguments[0], sys._getframe(1))  # noqa: SLF001  who opens it

    def _probing(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def probe(path: Any, *arguments: Any, **named: Any) -> Any:
            if self.is_on:
                self._note(f"calls {name} for", path, sys._getframe(1))  # noqa: SLF001  as above
            return function(path, *arguments, **named)

        return probe

    def _note(self, verb: str, path: object, frame: FrameType | None) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        text = os.path.normpath(os.path.join(_cwd(), os.fsdecode(path)))  # noqa: PTH118  a text
        if is_below(text, self._allowed) or "__pycache__" in text or text == os.devnull:
            return
        if "stat" in verb and text in self._ancestors:
            return  # resolving an allowed path asks about every folder above it
        if self._is_own(frame):
            self.touched.add(f"{verb} {text}")

    def _is_own(self, frame: FrameType | None) -> bool:
        """Tell whether the innermost frame outside of Python's own library belongs to the package."""
        while frame is not None:
            name, file = str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename
            is_python = file.startswith("<frozen") or (
                file.startswith(_STANDARD_LIBRARY) and "site-packages" not in file
            )
            if "importlib" in file:
                return False  # an import, which looks for its file
            if not is_python and name != __name__:
                return name.partition(".")[0] == self._package
            frame = frame.f_back
        return False


def _cwd() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  a text
    except OSError:
        return "/"


def _set(module: Any, name: str, value: object) -> None:
    """Replace a function in a module, and in the one written in C from which it comes."""
    setattr(module, name, value)
    if module is os:
        posix = sys.modules.get("posix")
        if posix is not None and hasattr(posix, name):
            setattr(posix, name, value)


def _shift_clock() -> None:
    now, now_ns, local, gm, text = time.time, time.time_ns, time.localtime, time.gmtime, time.strftime
    _set(time, "time", lambda: now() + _LATER_S)
    _set(time, "time_ns", lambda: now_ns() + _LATER_S * 10**9)
    _set(time, "localtime", lambda seconds=None: local(now() + _LATER_S if seconds is None else seconds))
    _set(time, "gmtime", lambda seconds=None: gm(now() + _LATER_S if seconds is None else seconds))
    _set(time, "strftime", lambda form, moment=None: text(form, time.localtime() if moment is None else moment))
    later = dt.timedelta(seconds=_LATER_S)

    class AnyDate(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, cls.__mro__[1])

    class LaterDate(dt.date, metaclass=AnyDate):
        @classmethod
        def today(cls) -> Any:
            return _Date.today() + later

    class LaterTime(dt.datetime, metaclass=AnyDate):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return _Time.now(tz) + later

        @classmethod
        def utcnow(cls) -> Any:
            return _Time.now(dt.UTC).replace(tzinfo=None) + later

        @classmethod
        def today(cls) -> Any:
            return _Time.now() + later

    _set(dt, "date", LaterDate)
    _set(dt, "datetime", LaterTime)


def neutral_copies(paths: list[Path], folder: Path) -> list[Path]:
    """Return copies with neutral names that sort in another order."""
    folder.mkdir()
    copies = []
    for number, path in enumerate(paths):
        copy = folder / f"s{(number * 7 + 3) % 97:02d}-{number}{path.suffix}"
        if path.is_file():
            shutil.copyfile(path, copy)
        else:
            copy = path  # the predictor of this use case does not read files
        copies.append(copy)
    return copies


def _scores(predictor: Predictor, paths: list[Path]) -> list[list[float]]:
    return [[float(score) for score in answer.scores] for answer in predictor.predict(list(paths))]
