"""The supervisor of executions: it forks the process of an order, watches it and ends its whole tree.

The supervisor is a process of its own, so that code which runs away, forks, or is killed can always be ended and
reported, and so that everything ends when the driver does: the driver's end of the socket is then closed. Time and
memory limits are enforced here. A supervisor executes one order after another; the driver replaces it when one did not
end well.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time

from mlops_core.processes.confinement import (
    adopt_orphans,
    confine_writes,
    end_with_parent,
    kill_children,
    kill_group,
    tree_memory_bytes,
)
from mlops_core.processes.orders import MESSAGE_LIMIT, Ending, Order, Report

_MEMORY_INTERVAL_S = 0.05
_MIB = 1 << 20


def supervise(channel: socket.socket) -> Order | None:
    """Execute one order after the other, each in a fresh child of this process.

    Args:
        channel: delivers orders, each with the descriptor for standard output and error, and takes the reports. When
            it is closed, the driver is done, and whatever is being executed is ended.

    Returns:
        The order, in the process that has to execute it; None when the driver has closed the channel.
    """
    signal.signal(signal.SIGCHLD, lambda *_: None)
    adopt_orphans()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    while True:
        payload, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_LIMIT, 1)
        if not payload:
            return None
        order = Order.from_json(json.loads(payload))
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (woken, wake):
                os.close(descriptor)
            channel.close()
            _enter(order, *descriptors)
            return order
        ending, status = _watch(order, channel, pid=pid, woken=woken)
        left_behind = _clean_up(pid, *descriptors, is_over=ending is Ending.EXITED)
        report = Report(ending=ending, status=status, left_behind=left_behind)
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps(report.to_json()).encode() + b"\n")


def _clean_up(pid: int, log: int, *, is_over: bool) -> int:
    """Kill the rest of an execution; return how many processes it had left behind when it ended."""
    killed = 0 if sys.platform.startswith("linux") else kill_group(pid)
    killed += kill_children()
    if is_over and killed:
        os.write(log, f"[mlops: {killed} processes that the step left behind were killed]\n".encode())
    os.close(log)
    return killed if is_over else 0


def _enter(order: Order, log: int) -> None:
    """Prepare this process for the order's code."""
    os.setsid()
    end_with_parent()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(order.cwd)
    os.environ.update(order.environ)
    time.tzset()
    tempfile.tempdir = None  # a module that was imported before the fork may have asked for it
    if order.writable is None:
        return
    try:
        confine_writes(order.writable)
    except OSError as error:
        sys.stderr.write(f"mlops: writes of this step are not confined: {error}\n")


def _watch(order: Order, channel: socket.socket, *, pid: int, woken: int) -> tuple[Ending, int]:
    """Wait until the order's process ends or must be ended; return why, and its wait status."""
    deadline = time.monotonic() + order.timeout_s
    while True:
        status = _reap(pid)
        if status is not None:
            return Ending.EXITED, status
        left = deadline - time.monotonic()
        if left <= 0:
            return Ending.TIMED_OUT, 0
        if order.memory_limit_mb is not None and tree_memory_bytes(pid) > order.memory_limit_mb * _MIB:
            return Ending.OUT_OF_MEMORY, 0
        interval = left if order.memory_limit_mb is None else min(left, _MEMORY_INTERVAL_S)
        ready, _, _ = select.select([channel.fileno(), woken], [], [], interval)
        if channel.fileno() in ready:
            return Ending.CANCELLED, 0
        if woken in ready:
            os.read(woken, 512)


def _reap(pid: int) -> int | None:
    """Collect ended children; return the wait status of `pid` if it is among them."""
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == pid:
                return status
            if ended == 0:
                return None
    return None
