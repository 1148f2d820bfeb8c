"""The host: a warm interpreter that forks a child for each call and reports how the child ended.

Calls come as JSON lines on standard input, endings go as JSON lines to standard output. Core is imported here once;
a plugin never is, so that no call sees what another one has left in memory. A call may name foreign packages, such as
tensorflow, that take long to import: it is then forked from a *template*, a fork of the host that has imported them.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

_WARM = (
    "mlops_core.api",
    "mlops_core.config",
    "mlops_core.datasets.catalogue",
    "mlops_core.hookspecs",
    "mlops_core.use_cases.manager",
    "mlops_core.predictions",
    "mlops_core.runners.local.runner",
    "mlops_core.steps.execution",
    "mlops_core.testing.inside.observation",
)
_POLL_S = 0.002
_DESCRIPTORS = 1024


def main() -> int:
    """Serve until standard input is closed."""
    for name in _WARM:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal group; the caller decides
    templates: dict[tuple[str, ...], _Template | None] = {}
    for line in sys.stdin:
        message = json.loads(line)
        packages = tuple(message["packages"])
        if packages and packages not in templates:
            templates[packages] = _new_template(packages, message["sys_path"])
        template = templates.get(packages)
        sys.stdout.write((template.exchange(line) if template else _answered(message)) + "\n")
        sys.stdout.flush()
    for template in filter(None, templates.values()):
        template.close()
    return 0


def _answered(message: dict[str, Any]) -> str:
    """Fork a child for a call and return how it ended, as one line of JSON."""
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        _child(message)
    return json.dumps(_wait(pid, message["timeout_s"]))


class _Template:
    """The host's end of a template: a process that has imported what calls need, and forks a child for each."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self._pid = pid
        self._stream = channel.makefile("rw", encoding="utf-8")
        self.is_safe = self._stream.readline() == "safe\n"

    def exchange(self, line: str) -> str:
        """Have the template make a call and return how it ended."""
        self._stream.write(line)
        self._stream.flush()
        return self._stream.readline().rstrip("\n")

    def close(self) -> None:
        """End the template."""
        self._stream.close()
        os.waitpid(self._pid, 0)


def _new_template(packages: Iterable[str], sys_path: list[str]) -> _Template | None:
    """Return a template that has imported `packages`; None where a fork of it would not be safe."""
    near, far = socket.socketpair()
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        near.close()
        _serve_as_template(far, packages, sys_path)
    far.close()
    template = _Template(pid, near)
    near.close()  # the stream keeps the socket
    if template.is_safe:
        return template
    template.close()
    return None


def _serve_as_template(channel: socket.socket, packages: Iterable[str], sys_path: list[str]) -> NoReturn:
    # The sockets of other templates were inherited: while this process held them, those would never see their end.
    os.closerange(3, channel.fileno())
    os.closerange(channel.fileno() + 1, _DESCRIPTORS)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    sys.path[:] = sys_path
    for name in packages:
        with contextlib.suppress(Exception, SystemExit):  # whatever it is: the call imports it again and reports
            importlib.import_module(name)
    stream = channel.makefile("rw", encoding="utf-8")
    stream.write("safe\n" if threading.active_count() == 1 else "with threads\n")
    stream.flush()
    for line in stream:
        stream.write(_answered(json.loads(line)) + "\n")
        stream.flush()
    os._exit(0)


def _wait(pid: int, timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    is_timed_out = False
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline and not is_timed_out:
            is_timed_out = True
            _kill_group(pid)
        time.sleep(_POLL_S)
    return {
        "returncode": os.waitstatus_to_exitcode(status),
        "is_timed_out": is_timed_out,
        "has_left_processes": _kill_group(pid),
    }


def _kill_group(group: int) -> bool:
    """Kill what is left of a process group; tell whether anything was."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _child(message: dict[str, Any]) -> None:
    """Do what the call says; never return."""
    os.setsid()
    code = 1
    try:
        _enter(message)
        module, _, name = message["function"].partition(":")
        found: dict[str, object] = {"result": getattr(importlib.import_module(module), name)(message["arguments"])}
        code = 0
    except BaseException as error:  # noqa: BLE001  a plugin may raise anything, SystemExit included
        traceback.print_exc()
        text = " ".join(str(error).split())
        found = {"error": f"{type(error).__name__}: {text}" if text else type(error).__name__}
    Path(message["result"]).write_text(json.dumps(found), encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _enter(message: dict[str, Any]) -> None:
    log = os.open(message["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    for descriptor in (log, null):
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(message["environ"])
    time.tzset()
    tempfile.tempdir = None  # what was imported before may have asked for it
    sys.path[:] = message["sys_path"]
    importlib.invalidate_caches()
    os.chdir(message["cwd"])


if __name__ == "__main__":
    sys.exit(main())
