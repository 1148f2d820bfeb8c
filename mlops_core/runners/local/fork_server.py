"""The process from which a run's steps are forked: Python, core and a step's module are imported once.

A run starts ``python -m mlops_core.runners.local.fork_server`` when its first step has to be executed. On request the
server forks a *template*, which imports the module of a step and then serves in the same way. From the template
supervisors are forked (`mlops_core.runners.local.supervision`), one for each step that runs at the same time, and from
those each execution, which calls `mlops_core.steps.execution.run_request_file`, as a container does. So steps share
imported code and nothing else: no step sees what another one left in memory.

Messages are JSON objects over a Unix socket, with file descriptors attached; each is answered before the next.
The end of the driver closes the sockets, and that ends everything here.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import signal
import socket
import sys
import threading
import traceback
from typing import TYPE_CHECKING, NoReturn

from mlops_core.runners.local.supervision import MESSAGE_LIMIT, supervise
from mlops_core.steps.execution import run_request_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def main() -> int:
    """Serve the socket whose descriptor is the only argument; in a step's process, execute the step.

    Returns:
        The exit code of the step's process, or 0 when the driver has closed the socket.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal group; the driver decides
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for templates and supervisors
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is None:
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return _leave(run_request_file(request))


def _serve(channel: socket.socket) -> Path | None:
    """Answer until the driver closes `channel`; return the request in a process that shall execute it."""
    while True:
        payload, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_LIMIT, 2)
        if not payload:
            return None
        message = json.loads(payload)
        gc.freeze()  # what is imported stays shared with the children: the collector leaves it alone
        pid = os.fork()
        if pid:
            for descriptor in descriptors:
                os.close(descriptor)
            channel.sendall(json.dumps({"pid": pid}).encode() + b"\n")
            continue
        channel.close()
        if message["kind"] == "supervisor":
            return supervise(socket.socket(fileno=descriptors[0]))
        channel = _become_template(message["modules"], *descriptors)


def _become_template(modules: Sequence[str], channel: int, log: int) -> socket.socket:
    """Import `modules`, with their output in the log, and tell the driver whether forking is safe."""
    _redirect_output(log)
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException:  # noqa: BLE001  whatever it raises: the step imports it again and reports
            traceback.print_exc()
    _flush()
    null = os.open(os.devnull, os.O_WRONLY)
    _redirect_output(null)
    served = socket.socket(fileno=channel)
    served.sendall(json.dumps({"is_safe": threading.active_count() == 1}).encode() + b"\n")
    return served


def _leave(code: int) -> NoReturn:
    """End a step's process as the interpreter would, but without taking its modules apart.

    That last part copies every page which the process shares with the template: 18 ms instead of 1.5 with numpy
    loaded. Threads are waited for, exit functions run, and files that are still open are flushed, as at any end.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001  what the interpreter itself calls first
    atexit._run_exitfuncs()  # noqa: SLF001  and second
    gc.collect()
    for item in gc.get_objects():
        if isinstance(item, io.TextIOWrapper | io.BufferedWriter | io.BufferedRandom) and not item.closed:
            with contextlib.suppress(OSError, ValueError):
                item.flush()
    _flush()
    os._exit(code)


def _redirect_output(descriptor: int) -> None:
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


if __name__ == "__main__":
    sys.exit(main())
