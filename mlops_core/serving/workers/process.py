"""A worker process, as the pool sees it: started, asked, and ended or killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from mlops_core.serving.workers.framing import packed, receive_message
from mlops_core.settings import environment

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping

_GRACE_S = 2.0


class WorkerProcess:
    """A worker process, as the front sees it.

    Attributes:
        process: the process.
        is_killed: whether the pool has killed it.
    """

    def __init__(self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Watch a process that answers on the other end of a connection; `start` makes both."""
        self.process = process
        self.is_killed = False
        self._is_lost = asyncio.Event()  # it does not answer any more
        self._reader = reader
        self._writer = writer
        self._exited = asyncio.ensure_future(process.wait())
        self._exited.add_done_callback(self._hang_up_soon)

    @classmethod
    async def start(cls) -> WorkerProcess:
        """Start a worker.

        Raises:
            OSError: the system has no more processes or connections.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",
                    "-m",
                    "mlops_core.serving.workers.worker",
                    str(theirs.fileno()),
                    str(os.getpid()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                    start_new_session=True,  # Ctrl-C reaches the front only, which lets workers finish
                )
            except BaseException:
                writer.close()
                raise
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it can be asked."""
        return self.process.returncode is None and not self.is_killed and not self._is_lost.is_set()

    async def ask(self, message: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return the reply to a message.

        Raises:
            EOFError: the worker ended, or wrote something else than a reply.
            OSError: the connection broke.
        """
        try:
            self._writer.write(packed(message))
            await self._writer.drain()
            return await receive_message(self._reader)
        except (EOFError, OSError):
            self._is_lost.set()
            raise
        except ValueError as error:
            self._is_lost.set()
            raise EOFError("not a reply") from error

    async def ended(self) -> int:
        """Wait until the process has ended, and return its status; one that answers no more has a short time for it."""
        lost = asyncio.ensure_future(self._is_lost.wait())
        try:
            await asyncio.wait({self._exited, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        return await self._exit_within(_GRACE_S)

    def kill(self) -> None:
        """Kill the process; `ended` returns soon."""
        self.is_killed = True
        self._signal_kill()

    async def end(self) -> None:
        """Let the process end by itself, or kill it."""
        self._writer.close()
        if self.process.returncode is None:
            await self._exit_within(_GRACE_S)

    async def _exit_within(self, time_s: float) -> int:
        """Return the status of the process, which is killed if it has not ended in time."""
        try:
            await asyncio.wait({self._exited}, timeout=time_s)
            if not self._exited.done():
                self._signal_kill()
                await asyncio.wait({self._exited}, timeout=_GRACE_S)
        finally:
            self._signal_kill()  # if the caller is cancelled
        return self._exited.result() if self._exited.done() else -signal.SIGKILL  # the kernel may hold it for longer

    def _signal_kill(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    def _hang_up_soon(self, _: object) -> None:
        """Close the connection to a process that has ended, once it has been read; a child of it may hold it open."""
        asyncio.get_running_loop().call_later(_GRACE_S, self._writer.close)
