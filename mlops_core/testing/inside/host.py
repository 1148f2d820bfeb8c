"""The host: a warm interpreter that forks a child for each call and reports how the child ended.

Calls come as JSON lines on standard input, endings go as JSON lines to standard output. Core is imported here once;
a plugin never is, so that no call sees what another one has left in memory.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

_WARM = (
    "mlops_core.api",
    "mlops_core.config",
    "mlops_core.datasets",
    "mlops_core.hookspecs",
    "mlops_core.manager",
    "mlops_core.predictions",
    "mlops_core.runners.local",
    "mlops_core.steps",
    "mlops_core.testing.inside.observation",
)
_POLL_S = 0.002


def main() -> int:
    """Serve until standard input is closed."""
    for name in _WARM:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal group; the caller decides
    for line in sys.stdin:
        message = json.loads(line)
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            _child(message)
        sys.stdout.write(json.dumps(_wait(pid, message["timeout_s"])) + "\n")
        sys.stdout.flush()
    return 0


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
    sys.path[:] = message["sys_path"]
    importlib.invalidate_caches()
    os.chdir(message["cwd"])


if __name__ == "__main__":
    sys.exit(main())
