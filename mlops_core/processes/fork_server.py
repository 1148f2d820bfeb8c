"""The process from which others are forked: Python, core and the modules of an order are imported once.

A `mlops_core.processes.pool.ProcessPool` starts ``python -m mlops_core.processes.fork_server`` for its first order. On
request the server forks a *template*, which imports modules and then serves in the same way. From the template
supervisors are forked (`mlops_core.processes.supervision`), one for each order that is executed at the same time, and
from those the process of each order. So orders share imported code and nothing else: none sees what another one left
in memory.

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

from mlops_core.processes.orders import MESSAGE_LIMIT
from mlops_core.processes.supervision import supervise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.processes.orders import Order


def main() -> int:
    """Serve the socket whose descriptor is the first argument, after importing the modules that the others name.

    Returns:
        The exit code of an order's process, or 0 when the driver has closed the socket.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal group; the driver decides
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for templates and supervisors
    for module in sys.argv[2:]:
        importlib.import_module(module)
    order = _serve(socket.socket(fileno=int(sys.argv[1])))
    if order is None:
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return _leave(_execute(order))


def serve_forked(channel: socket.socket) -> NoReturn:
    """Serve in a process that was forked instead of started; it must have no other thread."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    order = _serve(channel)
    if order is None:
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _leave(_execute(order))


def _execute(order: Order) -> int:
    """Call the order's function; return its exit code, 1 when it raised."""
    module, _, name = order.function.partition(":")
    try:
        return int(getattr(importlib.import_module(module), name)(order.arguments))
    except BaseException:  # noqa: BLE001  foreign code may raise anything; the log says what
        traceback.print_exc()
        return 1


def _serve(channel: socket.socket) -> Order | None:
    """Answer until the driver closes `channel`; return the order in a process that has to execute it."""
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
        for name, value in message["environ"].items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        channel = _become_template(message["modules"], message["sys_path"], *descriptors)


def _become_template(modules: Sequence[str], sys_path: Sequence[str], channel: int, log: int) -> socket.socket:
    """Import `modules`, with their output in the log, and tell the driver whether forking is safe."""
    _redirect_output(log)
    if sys_path:
        sys.path[:] = sys_path
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException:  # noqa: BLE001  whatever it raises: the order's process imports it again and reports
            traceback.print_exc()
    _flush()
    null = os.open(os.devnull, os.O_WRONLY)
    _redirect_output(null)
    served = socket.socket(fileno=channel)
    served.sendall(json.dumps({"is_safe": threading.active_count() == 1}).encode() + b"\n")
    return served


def _leave(code: int) -> NoReturn:
    """End a process as the interpreter would, but without taking its modules apart.

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
