"""Processes in which a plugin's code is executed for a check, one for each call, forked from a warm host.

A host is an interpreter that has imported core and no plugin; it is started once for each set of start-up
variables (locale and hash seed are fixed when an interpreter starts) and forks a child for every call. A plugin that
exits, crashes, hangs or leaves processes behind therefore harms one call only, and a call costs milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from mlops_core.errors import RunnerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PLAIN = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
_LOG_SHOWN = 20_000
_END_S = 10.0
"""A host has nothing to do when its input is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a child shall do.

    Attributes:
        function: ``"package.module:function"``; it is given `arguments` and returns JSON types.
        arguments: JSON types.
        folder: an existing folder for the log and the result.
        cwd: working directory; None for `folder`.
        startup: environment variables that must be set when the interpreter starts.
        environ: environment variables that may be set later.
        timeout_s: seconds until its whole process group is killed.
        packages: foreign packages that are imported before, once for all calls that name the same.
    """

    function: str
    arguments: Mapping[str, Any]
    folder: Path
    cwd: Path | None = None
    startup: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 300.0
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a call ended.

    Attributes:
        result: what the function returned; None when it did not return.
        error: why it did not return, one line; empty when it did.
        returncode: of the child; negative for a signal.
        has_left_processes: processes that it had started were still there (they were killed).
        log: the end of its standard output and error.
    """

    result: Any
    error: str
    returncode: int
    has_left_processes: bool
    log: str


class Processes:
    """The hosts of one or several sessions; a context manager. Safe in one thread."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._hosts: dict[tuple[tuple[str, str], ...], subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the hosts."""
        for host in self._hosts.values():
            for stream in (host.stdin, host.stdout):
                if stream is not None:
                    stream.close()
        for host in self._hosts.values():
            _await_end(host)
        self._hosts.clear()

    def call(self, call: Call) -> Answer:
        """Have a child do it and wait for its end.

        Raises:
            RunnerError: the host itself has ended.
        """
        result, log = call.folder / "result.json", call.folder / "log.txt"
        message = {
            "function": call.function,
            "arguments": dict(call.arguments),
            "result": str(result),
            "log": str(log),
            "cwd": str(call.cwd or call.folder),
            "environ": {"PYTHONPATH": _absolute(os.environ.get("PYTHONPATH", "")), **call.environ},
            "sys_path": [entry for entry in sys.path if entry],
            "timeout_s": call.timeout_s,
            "packages": list(call.packages),
        }
        ended = self._exchange(self._host(call.startup), message)
        text = log.read_text(encoding="utf-8", errors="replace")[-_LOG_SHOWN:] if log.exists() else ""
        found = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
        error = found.get("error", "") if found else _ending(ended, call.timeout_s)
        return Answer(
            result=found.get("result"),
            error=error,
            returncode=ended["returncode"],
            has_left_processes=ended["has_left_processes"],
            log=text,
        )

    def _host(self, startup: Mapping[str, str]) -> subprocess.Popen[str]:
        key = tuple(sorted(startup.items()))
        if key not in self._hosts:
            self._hosts[key] = subprocess.Popen(
                [sys.executable, "-m", "mlops_core.testing.inside.host"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, **_PLAIN, **startup},
                start_new_session=True,
            )
        return self._hosts[key]

    @staticmethod
    def _exchange(host: subprocess.Popen[str], message: Mapping[str, Any]) -> dict[str, Any]:
        assert host.stdin is not None  # noqa: S101  for mypy: both are pipes
        assert host.stdout is not None  # noqa: S101
        try:
            host.stdin.write(json.dumps(message) + "\n")
            host.stdin.flush()
            ended: dict[str, Any] = json.loads(host.stdout.readline())
        except (OSError, ValueError) as error:
            raise RunnerError(f"the process that forks others for the checks has ended: {error}") from error
        return ended


def _await_end(host: subprocess.Popen[str]) -> None:
    """Wait for a host, whose input is closed; kill it with its templates where it does not end."""
    try:
        host.wait(timeout=_END_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(host.pid, signal.SIGKILL)
        host.wait()


def _absolute(path: str) -> str:
    """Return a search path whose entries mean the same in every working directory."""
    return os.pathsep.join(os.path.abspath(entry) for entry in path.split(os.pathsep) if entry)  # noqa: PTH100  texts


def _ending(ended: Mapping[str, Any], timeout_s: float) -> str:
    if ended["is_timed_out"]:
        return f"it took longer than {timeout_s:g} s and was killed"
    code = ended["returncode"]
    return f"its process was ended by signal {-code}" if code < 0 else f"its process exited with {code}"
