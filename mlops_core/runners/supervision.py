"""The supervisor of one execution of a step: it starts the step's process, watches it and ends its whole tree.

The supervisor is a process of its own, so that a step which runs away, forks, or is killed can always be ended
and reported, and so that it ends when the driver does: the driver's end of the socket is then closed. Time and
memory limits are kept here. What the step reports itself is in ``result.json``, which the driver reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mlops_core.runners.confinement import (
    adopt_orphans,
    confine_writes,
    end_with_parent,
    kill_children,
    tree_memory_bytes,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_MEMORY_INTERVAL_S = 0.05
_MIB = 1 << 20


class Ending(StrEnum):
    """Why an execution ended."""

    EXITED = "exited"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOrder:
    """What a supervisor is told.

    Attributes:
        request: the file with the step's request; ``result.json`` appears beside it.
        scratch: the working directory, also for temporary files.
        writable: folders and devices to which the step may write; nothing else is writable.
        timeout_s: seconds until its processes are killed.
        memory_mb: resident memory of all its processes, in MiB, at which they are killed; None for no limit.
    """

    request: Path
    scratch: Path
    writable: tuple[Path, ...]
    timeout_s: float
    memory_mb: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the order as JSON types only."""
        return {
            "request": str(self.request),
            "scratch": str(self.scratch),
            "writable": [str(path) for path in self.writable],
            "timeout_s": self.timeout_s,
            "memory_mb": self.memory_mb,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepOrder:
        """Return the order that `to_json` wrote."""
        return cls(
            request=Path(data["request"]),
            scratch=Path(data["scratch"]),
            writable=tuple(map(Path, data["writable"])),
            timeout_s=data["timeout_s"],
            memory_mb=data["memory_mb"],
        )


def supervise(order: StepOrder, channel: socket.socket, *, log: int) -> Path:
    """Fork the step's process and watch over it; the supervisor itself never returns.

    Args:
        order: what to execute, within which limits.
        channel: its end tells that the run is cancelled; the ending is reported to it as JSON.
        log: descriptor for standard output and error.

    Returns:
        The request's file, in the step's process only.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    adopt_orphans()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    pid = os.fork()
    if pid:
        _watch_and_exit(order, channel, pid=pid, pipe=(woken, wake), log=log)
    for descriptor in (woken, wake):
        os.close(descriptor)
    channel.close()
    _enter(order, log)
    return order.request


def _enter(order: StepOrder, log: int) -> None:
    """Turn this process into the one in which the step's code may run."""
    os.setsid()
    end_with_parent()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(order.scratch)
    os.environ["TMPDIR"] = str(order.scratch)
    tempfile.tempdir = None
    try:
        confine_writes(order.writable)
    except OSError as error:
        sys.stderr.write(f"mlops: writes of this step are not confined: {error}\n")


def _watch_and_exit(order: StepOrder, channel: socket.socket, *, pid: int, pipe: tuple[int, int], log: int) -> NoReturn:
    try:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(pipe[1])
        ending, status = _watch(order, channel, pid=pid, woken=pipe[0])
        killed = kill_children()
        if ending is Ending.EXITED and killed:
            os.write(log, f"[mlops: {killed} processes that the step left behind were killed]\n".encode())
        os.close(log)
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps({"ending": ending, "status": status}).encode() + b"\n")
    finally:
        os._exit(0)


def _watch(order: StepOrder, channel: socket.socket, *, pid: int, woken: int) -> tuple[Ending, int]:
    """Wait until the step's process ends or must be ended; return why, and its wait status."""
    deadline = time.monotonic() + order.timeout_s
    while True:
        status = _reap(pid)
        if status is not None:
            return Ending.EXITED, status
        left = deadline - time.monotonic()
        if left <= 0:
            return Ending.TIMED_OUT, 0
        if order.memory_mb is not None and tree_memory_bytes(pid) > order.memory_mb * _MIB:
            return Ending.OUT_OF_MEMORY, 0
        interval = left if order.memory_mb is None else min(left, _MEMORY_INTERVAL_S)
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
