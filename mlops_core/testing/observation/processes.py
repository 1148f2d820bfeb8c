"""Processes in which a plugin's code is executed for a check, one for each call, forked from a warm interpreter.

The interpreter has imported core and no plugin; it is started once for each set of start-up variables (locale and hash
seed are fixed when an interpreter starts) and forks a process for every call (`mlops_core.processes`). A plugin that
exits, crashes, hangs or leaves processes behind therefore harms one call only, and a call costs milliseconds. A call
may name foreign packages, such as tensorflow, that take long to import: it is then forked from a template that has
imported them.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from mlops_core.processes.orders import Ending, Order, Report
from mlops_core.processes.pool import ProcessPool
from mlops_core.reading import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PLAIN = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
_WARM = (
    "mlops_core.api",
    "mlops_core.config",
    "mlops_core.config_files.loading",
    "mlops_core.datasets.catalogue",
    "mlops_core.hookspecs",
    "mlops_core.use_cases.manager",
    "mlops_core.predictions",
    "mlops_core.runners.local.runner",
    "mlops_core.steps.execution",
    "mlops_core.testing.inside.calls",
    "mlops_core.steps.observation",
)
_LOG_SHOWN = 20_000
_END_S = 10.0
"""A fork server has nothing to do when its socket is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a function in a process of its own.

    Attributes:
        function: ``"package.module:function"``; receives `arguments` and returns JSON types.
        arguments: JSON types.
        folder: an existing folder for the log and the result; used for one call only.
        cwd: working directory; None for `folder`.
        startup: environment variables that must be set when the interpreter starts.
        environ: environment variables that may be set later.
        timeout_s: seconds until its whole process tree is killed.
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
        returncode: of the process; negative for a signal.
        has_left_processes: processes that it had started were still running (they were killed).
        log: the end of its standard output and error.
        core_changes: attributes of core that were replaced when the function had ended.
    """

    result: Any
    error: str
    returncode: int
    has_left_processes: bool
    log: str
    core_changes: tuple[str, ...] = ()


class Caller(Protocol):
    """Makes calls, each in a process of its own: `Processes`, or who passes them on."""

    def call(self, call: Call) -> Answer:
        """Make a call and wait for its end."""


class Processes:
    """The warm interpreters of one or several sessions; a context manager."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._pools: dict[tuple[tuple[str, str], ...], ProcessPool] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes."""
        self.close()

    def close(self) -> tuple[int, ...]:
        """End all processes and return the exit codes of the interpreters that forked them."""
        pools = list(self._pools.values())
        self._pools.clear()
        for pool in pools:
            pool.close()
        return tuple(code for pool in pools if (code := pool.wait(_END_S)) is not None)

    def call(self, call: Call) -> Answer:
        """Make a call and wait for its end.

        Raises:
            RunnerError: the process that forks others has ended.
        """
        path, log = call.folder / "call.json", call.folder / "log.txt"
        sys_path = [entry for entry in sys.path if entry]
        message = {"function": call.function, "arguments": dict(call.arguments), "sys_path": sys_path}
        path.write_text(json.dumps(message), encoding="utf-8")
        order = Order(
            function="mlops_core.testing.inside.calls:execute",
            arguments={"call": str(path)},
            cwd=call.cwd or call.folder,
            environ={"PYTHONPATH": _absolute(os.environ.get("PYTHONPATH", "")), **call.environ},
            timeout_s=call.timeout_s,
        )
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        report = self._pool(call.startup).run(order, log=descriptor, modules=call.packages, sys_path=sys_path)
        return _answer(report, call, log=_end_of(log))

    def _pool(self, startup: Mapping[str, str]) -> ProcessPool:
        key = tuple(sorted(startup.items()))
        if key not in self._pools:
            self._pools[key] = ProcessPool(environ=lambda: {**os.environ, **_PLAIN, **startup}, warm=_WARM)
        return self._pools[key]


def _end_of(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _LOG_SHOWN))
        return stream.read(_LOG_SHOWN).decode("utf-8", errors="replace")


def _absolute(path: str) -> str:
    """Return a search path whose entries mean the same in every working directory."""
    return os.pathsep.join(os.path.abspath(entry) for entry in path.split(os.pathsep) if entry)  # noqa: PTH100  texts


def _answer(report: Report, call: Call, *, log: str) -> Answer:
    result = call.folder / "result.json"
    returncode = os.waitstatus_to_exitcode(report.status)
    try:
        outcome = read_json(result)
    except (OSError, ValueError):  # its process was killed before or while it wrote the file
        outcome = {}
    outcome = outcome if isinstance(outcome, dict) else {}
    if report.ending is Ending.TIMED_OUT:
        outcome = {"error": f"it took longer than {call.timeout_s:g} s and was killed"}
    elif not outcome:
        is_killed = returncode < 0
        outcome = {
            "error": f"its process was ended by signal {-returncode}"
            if is_killed
            else f"its process exited with {returncode}"
        }
    return Answer(
        result=outcome.get("result"),
        error=outcome.get("error", ""),
        returncode=returncode,
        has_left_processes=report.left_behind > 0,
        log=log,
        core_changes=tuple(outcome.get("core_changes", ())),
    )
