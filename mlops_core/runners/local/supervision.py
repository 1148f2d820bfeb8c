"""The supervisor of a step's execution: it forks the step's process, watches it and ends its whole tree.

The supervisor is a process of its own, so that a step which runs away, forks, or is killed can always be ended
and reported, and so that everything ends when the driver does: the driver's end of the socket is then closed. Time
and memory limits are kept here. What the step reports itself is in ``result.json``, which the driver reads. A
supervisor executes one step after another; the driver replaces it when one did not end well.
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
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.runners.local.confinement import (
    adopt_orphans,
    confine_writes,
    end_with_parent,
    kill_children,
    tree_memory_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGE_LIMIT = 1 << 16
"""Bytes; a message holds a few paths."""
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
        memory_limit_mb: resident memory of all its processes, in MiB, at which they are killed; None for no limit.
    """

    request: Path
    scratch: Path
    writable: tuple[Path, ...]
    timeout_s: float
    memory_limit_mb: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the order as JSON types only."""
        return {
            "request": str(self.request),
            "scratch": str(self.scratch),
            "writable": [str(path) for path in self.writable],
            "timeout_s": self.timeout_s,
            "memory_limit_mb": self.memory_limit_mb,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepOrder:
        """Return the order that `to_json` wrote."""
        return cls(
            request=Path(data["request"]),
            scratch=Path(data["scratch"]),
            writable=tuple(map(Path, data["writable"])),
            timeout_s=data["timeout_s"],
            memory_limit_mb=data["memory_limit_mb"],
        )


def supervise(channel: socket.socket) -> Path | None:
    """Execute one order after the other, each in a fresh child of this process.

    Args:
        channel: orders come from it, each with the descriptor for standard output and error; how each execution ended
            is reported to it. Its end tells that the run is over or cancelled, and ends what is being executed.

    Returns:
        The request's file, in a step's process only; None when the driver has closed the channel.
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
        order = StepOrder.from_json(json.loads(payload))
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (woken, wake):
                os.close(descriptor)
            channel.close()
            _enter(order, *descriptors)
            return order.request
        ending, status = _watch(order, channel, pid=pid, woken=woken)
        left_behind = _clean_up(*descriptors, is_over=ending is Ending.EXITED)
        report = {"ending": ending, "status": status, "left_behind": left_behind}
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps(report).encode() + b"\n")


def _clean_up(log: int, *, is_over: bool) -> int:
    """Kill what is left of an execution; return how many processes the step had left behind when it ended."""
    killed = kill_children()
    if is_over and killed:
        os.write(log, f"[mlops: {killed} processes that the step left behind were killed]\n".encode())
    os.close(log)
    return killed if is_over else 0


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
