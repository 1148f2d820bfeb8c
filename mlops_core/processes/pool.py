"""`ProcessPool`: the driver's side of a fork server. It executes orders and returns their outcomes.

What happens on the other side of the sockets is in `mlops_core.processes.fork_server` and
`mlops_core.processes.supervision`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from mlops_core.errors import RunnerError
from mlops_core.processes.fork_server import serve_forked
from mlops_core.processes.orders import Ending, Order, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Modules: TypeAlias = tuple[str, ...]
_POLL_S = 0.2
_START_S = 60.0


class ProcessPool:
    """Executes orders, each in a process of its own. Safe to use from threads."""

    _origin: ClassVar[_Template | None] = None
    """The process from which fork servers are forked; None where each is an interpreter of its own."""

    def __init__(self, *, environ: Callable[[], Mapping[str, str]], warm: Modules = ()) -> None:
        """Create a pool; processes are started on the first order.

        Args:
            environ: returns the environment of the fork server when it is started.
            warm: modules that the fork server imports at once.
        """
        self._environ = environ
        self._warm = warm
        self._lock = threading.Lock()
        self._server: _Template | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._templates: dict[Modules, _Template] = {}
        self._idle: defaultdict[Modules, list[_Supervisor]] = defaultdict(list)
        self._busy: set[_Supervisor] = set()
        self._is_cancelled = False

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes."""
        self.close()

    @classmethod
    @contextlib.contextmanager
    def forked_from_here(cls) -> Iterator[None]:
        """Fork the fork servers of all pools of this process from it, as it is now, instead of starting interpreters.

        For many short runs: each begins with everything that this process has imported. The process must have no other
        thread yet.
        """
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            serve_forked(theirs)
        theirs.close()
        cls._origin = _Template(ours, pid=pid, is_server=True)
        try:
            yield
        finally:
            cls._origin.close()
            cls._origin = None
            os.waitpid(pid, 0)

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._is_cancelled

    def close(self) -> None:
        """End all processes; returns at once."""
        self.cancel()
        for supervisor in (one for idle in self._idle.values() for one in idle):
            supervisor.close()
        for template in (*self._templates.values(), self._server):
            if template is not None:
                template.close()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end of the fork server after `close`; kill it when it does not end.

        Returns:
            Its exit code; None when none was started.
        """
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()

    def start(self) -> None:
        """Start the fork server, which the first order does otherwise; returns before the server is ready."""
        with self._lock, contextlib.suppress(OSError, RunnerError, ValueError):  # the first order reports what is wrong
            if self._server is None:
                self._server = self._start_server()

    def prepare(self, modules: Modules, *, sys_path: Sequence[str] = ()) -> None:
        """Begin to import what an order needs, so that it is ready when the order comes; returns at once."""
        null = os.open(os.devnull, os.O_WRONLY)
        with closing(null), contextlib.suppress(OSError, ValueError):
            self._begun_template(modules, log=null, sys_path=sys_path)

    def release(self, modules: Modules) -> None:
        """Release the memory of imported modules that no further order needs."""
        with self._lock:
            for supervisor in self._idle.pop(modules, []):
                supervisor.close()
            template = self._templates.pop(modules, None)
        if template is not None:
            template.close()

    def cancel(self) -> None:
        """Kill the processes of all orders and refuse more; `run` returns soon wherever it is waiting."""
        with self._lock:
            self._is_cancelled = True
            for supervisor in self._busy:
                supervisor.cancel()

    def run(
        self,
        order: Order,
        *,
        log: int,
        modules: Modules = (),
        sys_path: Sequence[str] = (),
        on_wait: Callable[[], None] | None = None,
    ) -> Report:
        """Execute an order and wait for its end.

        Args:
            order: what to execute.
            log: descriptor for its standard output and error; closed here.
            modules: imported before its process is forked, once for all orders that name the same.
            sys_path: search path with which they are imported; empty for that of the fork server.
            on_wait: called several times a second while it is executed.

        Raises:
            RunnerError: it could not be executed, for example because the import of a module takes too long.
        """
        with contextlib.ExitStack() as opened:
            opened.enter_context(closing(log))
            try:
                supervisor = self._take_supervisor(modules, log=log, timeout_s=order.timeout_s, sys_path=sys_path)
                report: Report | None = None
                try:
                    supervisor.send(order, log=log)
                    opened.close()
                    report = supervisor.wait(on_wait or _do_nothing)
                finally:
                    self._give_back(supervisor, modules, report)
            except (OSError, ValueError, RunnerError) as error:
                if self._is_cancelled:
                    return Report(ending=Ending.CANCELLED)
                raise RunnerError(str(error)) from error
            return report

    # --- Supervisors and what they are forked from ----------------------------------------------------------

    def _take_supervisor(self, modules: Modules, *, log: int, timeout_s: float, sys_path: Sequence[str]) -> _Supervisor:
        with self._lock:
            idle = self._idle[modules]
            supervisor = idle.pop() if idle else None
        if supervisor is None:
            template = self._template(modules, log=log, timeout_s=timeout_s, sys_path=sys_path)
            supervisor = template.fork_supervisor()
        with self._lock:
            self._busy.add(supervisor)
            if self._is_cancelled:
                supervisor.cancel()
        return supervisor

    def _give_back(self, supervisor: _Supervisor, modules: Modules, report: Report | None) -> None:
        """Keep a supervisor for the next order, unless its order failed, was ended or left processes behind."""
        with self._lock:
            self._busy.discard(supervisor)
            if report is not None and report.is_clean and not self._is_cancelled:
                self._idle[modules].append(supervisor)
                return
        supervisor.close()

    def _template(self, modules: Modules, *, log: int, timeout_s: float, sys_path: Sequence[str]) -> _Template:
        """Return what orders that need `modules` are forked from; the plain server where a template is not safe."""
        server, template = self._begun_template(modules, log=log, sys_path=sys_path)
        return template if template.wait_until_ready(timeout_s, is_cancelled=lambda: self._is_cancelled) else server

    def _begun_template(self, modules: Modules, *, log: int, sys_path: Sequence[str]) -> tuple[_Template, _Template]:
        """Return the server and the template of `modules`, which may still be importing them."""
        with self._lock:
            if self._server is None or not self._server.is_usable:
                self._server, self._templates = self._start_server(), {}
            if not modules:
                return self._server, self._server
            template = self._templates.get(modules)
            if template is None or not template.is_usable:
                template = self._server.fork_template(modules, log=log, sys_path=sys_path)
                self._templates[modules] = template
            return self._server, template

    def _start_server(self) -> _Template:
        if self._origin is not None:
            return self._fork_server(self._origin)
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, "-P", "-m", "mlops_core.processes.fork_server", str(theirs.fileno()), *self._warm],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=dict(self._environ()),
                start_new_session=True,
            )
        threading.Thread(target=self._process.wait, name="fork server", daemon=True).start()
        return _Template(ours, pid=self._process.pid, is_server=True)

    def _fork_server(self, origin: _Template) -> _Template:
        null = os.open(os.devnull, os.O_WRONLY)
        own = self._environ()
        environ = {name: own.get(name) for name in {*os.environ, *own} if own.get(name) != os.environ.get(name)}
        with closing(null):
            server = origin.fork_template(self._warm, log=null, environ=environ)
        server.wait_until_ready(_START_S, is_cancelled=lambda: self._is_cancelled)
        return server


class _Supervisor:
    """The driver's end of a process that executes one order after another."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def send(self, order: Order, *, log: int) -> None:
        socket.send_fds(self._channel, [json.dumps(order.to_json()).encode()], [log])

    def wait(self, on_wait: Callable[[], None]) -> Report:
        """Return how the execution ended."""
        while not select.select([self._channel], [], [], _POLL_S)[0]:
            on_wait()
        return Report.from_json(_receive(self._channel))

    def cancel(self) -> None:
        """Kill the order's processes; `wait` returns soon."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._channel.close()


class _Template:
    """The driver's end of a process that forks others on request."""

    def __init__(self, channel: socket.socket, *, pid: int, is_server: bool = False) -> None:
        self._channel = channel
        self._pid = pid
        self._lock = threading.Lock()
        self._is_safe: bool | None = True if is_server else None
        self.is_usable = True

    def close(self) -> None:
        """Let it end; a template that hangs in an import is killed."""
        self._channel.close()
        if self._is_safe is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def fork_template(
        self,
        modules: Modules,
        *,
        log: int,
        sys_path: Sequence[str] = (),
        environ: Mapping[str, str | None] | None = None,
    ) -> _Template:
        """Fork a template; `environ` holds variables to set in it, and None for those to remove."""
        ours, theirs = socket.socketpair()
        message = {"kind": "template", "modules": modules, "sys_path": list(sys_path), "environ": environ or {}}
        with theirs:
            pid = self._ask(message, [theirs.fileno(), log])
        return _Template(ours, pid=pid)

    def fork_supervisor(self) -> _Supervisor:
        ours, theirs = socket.socketpair()
        with theirs:
            self._ask({"kind": "supervisor"}, [theirs.fileno()])
        return _Supervisor(ours)

    def wait_until_ready(self, timeout_s: float, *, is_cancelled: Callable[[], bool]) -> bool:
        """Wait for the end of its import; return whether processes can be forked from it.

        Raises:
            RunnerError: the import took longer than the order may take, or the pool was cancelled.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while self._is_safe is None:
                if is_cancelled() or time.monotonic() > deadline:
                    self.is_usable = False
                    self.close()
                    raise RunnerError(f"timed out after {timeout_s:g} s in the import of its module")
                if select.select([self._channel], [], [], _POLL_S)[0]:
                    self._is_safe = self._read_is_safe()
            return self._is_safe

    def _read_is_safe(self) -> bool:
        try:
            return bool(_receive(self._channel)["is_safe"])
        except (OSError, ValueError):  # the import ended the process; the order will do it again and be reported
            self.is_usable = False
            return False

    def _ask(self, message: Mapping[str, object], descriptors: list[int]) -> int:
        with self._lock:
            try:
                socket.send_fds(self._channel, [json.dumps(message).encode()], descriptors)
                return int(_receive(self._channel)["pid"])
            except (OSError, ValueError):
                self.is_usable = False
                raise


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[None]:
    """Close a descriptor in the end."""
    try:
        yield
    finally:
        os.close(descriptor)


def _do_nothing() -> None:
    """Wait for the next order."""


def _receive(channel: socket.socket) -> dict[str, Any]:
    """Return the next message, one line of JSON.

    Raises:
        ValueError: the other side has ended.
    """
    data = b""
    while not data.endswith(b"\n"):
        chunk = channel.recv(4096)
        if not chunk:
            raise ValueError("the process that supervises it has ended")
        data += chunk
    message: dict[str, Any] = json.loads(data)
    return message
