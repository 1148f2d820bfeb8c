"""The steps of one run as processes: `StepProcesses` has a fork server start them and brings back how they ended.

It belongs to the driver. What happens on the other side of the sockets is in `mlops_core.runners.local.fork_server` and
`mlops_core.runners.local.supervision`.
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from mlops_core.errors import ExitCode, RunnerError
from mlops_core.runners.local.supervision import Ending, StepOrder
from mlops_core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_core.steps.context import StepRequest

Modules: TypeAlias = tuple[str, ...]
LOG_LIMIT_BYTES = 16 * 1024 * 1024
"""A step's log is cut after this; the rest is counted, so a step that prints without end fills no disk."""
_POLL_S = 0.2
_CHUNK = 1 << 16
_DEVICES = (Path("/dev"),)
"""Not only files: shared memory, terminals, accelerators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOutcome:
    """How a step's process ended; `error` is empty when it succeeded."""

    exit_code: ExitCode
    error: str


class StepProcesses:
    """Executes step requests, each in a process of its own, for as long as a run lasts. Safe to use from threads."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._server: _Template | None = None
        self._templates: dict[Modules, _Template] = {}
        self._idle: defaultdict[Modules, list[_Supervisor]] = defaultdict(list)
        self._busy: set[_Supervisor] = set()
        self._is_cancelled = False

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End whatever is left."""
        self.cancel()
        for supervisor in (one for idle in self._idle.values() for one in idle):
            supervisor.close()
        for template in (*self._templates.values(), self._server):
            if template is not None:
                template.close()

    def prepare(self, modules: Modules) -> None:
        """Begin to import what a step needs, so that it is ready when the step is; returns at once."""
        null = os.open(os.devnull, os.O_WRONLY)
        with _closing(null), contextlib.suppress(OSError, ValueError):
            self._begun_template(modules, log=null)

    def release(self, modules: Modules) -> None:
        """Give up the memory that holds imported modules; no step will need them again."""
        with self._lock:
            for supervisor in self._idle.pop(modules, []):
                supervisor.close()
            template = self._templates.pop(modules, None)
        if template is not None:
            template.close()

    def cancel(self) -> None:
        """Have all processes killed, and refuse to start more; `run` returns soon wherever it is waiting."""
        with self._lock:
            self._is_cancelled = True
            for supervisor in self._busy:
                supervisor.cancel()

    def run(
        self,
        request: StepRequest,
        *,
        folder: Path,
        log: Path,
        on_progress: Callable[[str, int, int], None],
        modules: Modules = (),
    ) -> ProcessOutcome:
        """Execute `request` in a process of its own and wait for its end.

        Args:
            request: what to execute.
            folder: an existing folder for the request and its result; the step may write below it.
            log: the file to which standard output and error are appended, up to `LOG_LIMIT_BYTES`.
            on_progress: called with (label, done, total).
            modules: imported before the process is forked; by default the step's own.
        """
        path = folder / "request.json"
        path.write_text(json.dumps(request.to_json()), encoding="utf-8")
        resources = request.step.resources
        order = StepOrder(
            request=path,
            scratch=request.scratch,
            writable=(folder, *request.outputs.values(), *_DEVICES, *read_settings().caches),
            timeout_s=resources.timeout_s,
            memory_limit_mb=resources.memory_limit_mb,
        )
        reading, writing = os.pipe()
        pump = _LogPump(reading, log)
        progress = _ProgressReader(request.progress_file, on_progress)
        try:
            report = self._execute(order, modules or (module_of(request.step.run),), log=writing, progress=progress)
        except (OSError, RunnerError, ValueError) as error:
            report = {"ending": Ending.CANCELLED} if self._is_cancelled else {"error": str(error)}
        pump.finish()
        progress.read()
        return _outcome(report, order)

    def _execute(self, order: StepOrder, modules: Modules, *, log: int, progress: _ProgressReader) -> dict[str, Any]:
        report: dict[str, Any] = {}
        with contextlib.ExitStack() as opened:
            opened.enter_context(_closing(log))
            supervisor = self._take_supervisor(modules, log=log, timeout_s=order.timeout_s)
            try:
                supervisor.send(order, log=log)
                opened.close()
                report = supervisor.wait(progress)
            finally:
                self._give_back(supervisor, modules, report)
        return report

    # --- Supervisors and what they are forked from ----------------------------------------------------------

    def _take_supervisor(self, modules: Modules, *, log: int, timeout_s: float) -> _Supervisor:
        with self._lock:
            idle = self._idle[modules]
            supervisor = idle.pop() if idle else None
        if supervisor is None:
            supervisor = self._template(modules, log=log, timeout_s=timeout_s).fork_supervisor()
        with self._lock:
            self._busy.add(supervisor)
            if self._is_cancelled:
                supervisor.cancel()
        return supervisor

    def _give_back(self, supervisor: _Supervisor, modules: Modules, report: dict[str, Any]) -> None:
        """Keep a supervisor for the next step, unless its step failed, was ended or left processes behind."""
        went_well = report.get("ending") == Ending.EXITED and not report["status"] and not report["left_behind"]
        with self._lock:
            self._busy.discard(supervisor)
            if went_well and not self._is_cancelled:
                self._idle[modules].append(supervisor)
                return
        supervisor.close()

    def _template(self, modules: Modules, *, log: int, timeout_s: float) -> _Template:
        """Return what steps that need `modules` are forked from; the plain server where a template is not safe."""
        server, template = self._begun_template(modules, log=log)
        return template if template.wait_until_ready(timeout_s, is_cancelled=lambda: self._is_cancelled) else server

    def _begun_template(self, modules: Modules, *, log: int) -> tuple[_Template, _Template]:
        """Return the server and the template of `modules`, which may still be importing them."""
        with self._lock:
            if self._server is None or not self._server.is_usable:
                self._server, self._templates = _start_server(), {}
            template = self._templates.get(modules)
            if template is None or not template.is_usable:
                template = self._templates[modules] = self._server.fork_template(modules, log=log)
            return self._server, template


class _Supervisor:
    """The driver's end of a process that executes one step after another."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def send(self, order: StepOrder, *, log: int) -> None:
        socket.send_fds(self._channel, [json.dumps(order.to_json()).encode()], [log])

    def wait(self, progress: _ProgressReader) -> dict[str, Any]:
        """Return how the execution ended, and read its progress meanwhile."""
        while not select.select([self._channel], [], [], _POLL_S)[0]:
            progress.read()
        return _receive(self._channel)

    def cancel(self) -> None:
        """Have the step killed; `wait` returns soon."""
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

    def fork_template(self, modules: Modules, *, log: int) -> _Template:
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self._ask({"kind": "template", "modules": modules}, [theirs.fileno(), log])
        return _Template(ours, pid=pid)

    def fork_supervisor(self) -> _Supervisor:
        ours, theirs = socket.socketpair()
        with theirs:
            self._ask({"kind": "supervisor"}, [theirs.fileno()])
        return _Supervisor(ours)

    def wait_until_ready(self, timeout_s: float, *, is_cancelled: Callable[[], bool]) -> bool:
        """Wait for the end of its import; tell whether steps can be forked from it.

        Raises:
            RunnerError: the import took longer than the step may take, or the run was cancelled.
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
        except (OSError, ValueError):  # the import ended the process; the step will do it again and be reported
            self.is_usable = False
            return False

    def _ask(self, message: dict[str, object], descriptors: list[int]) -> int:
        with self._lock:
            try:
                socket.send_fds(self._channel, [json.dumps(message).encode()], descriptors)
                return int(_receive(self._channel)["pid"])
            except (OSError, ValueError):
                self.is_usable = False
                raise


def module_of(reference: str) -> str:
    """Return the module of a reference such as ``"package.module:function"``."""
    return reference.partition(":")[0]


def _start_server() -> _Template:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603  our own interpreter and module
            [sys.executable, "-P", "-m", "mlops_core.runners.local.fork_server", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=step_environment(),
            start_new_session=True,
        )
    threading.Thread(target=process.wait, name="fork server", daemon=True).start()
    return _Template(ours, pid=process.pid, is_server=True)


def step_environment() -> dict[str, str]:
    """Return the environment of a step's process: ours, with a fixed hash seed and quiet native libraries."""
    return {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }


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


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _outcome(report: dict[str, Any], order: StepOrder) -> ProcessOutcome:
    if "error" in report:
        return ProcessOutcome(exit_code=ExitCode.STEP, error=report["error"])
    if report["ending"] == Ending.CANCELLED:
        return ProcessOutcome(exit_code=ExitCode.INTERRUPTED, error="stopped")
    if report["ending"] == Ending.TIMED_OUT:
        error = f"timed out after {order.timeout_s:g} s; its processes were killed"
        return ProcessOutcome(exit_code=ExitCode.STEP, error=error)
    if report["ending"] == Ending.OUT_OF_MEMORY:
        error = f"used more than its limit memory_limit_mb={order.memory_limit_mb}; its processes were killed"
        return ProcessOutcome(exit_code=ExitCode.STEP, error=error)
    return _reported(os.waitstatus_to_exitcode(report["status"]), order.request.with_name("result.json"))


def _reported(returncode: int, result: Path) -> ProcessOutcome:
    if returncode < 0:
        name = signal.Signals(-returncode).name
        hint = " (out of memory?)" if -returncode == signal.SIGKILL else ""
        return ProcessOutcome(exit_code=ExitCode.STEP, error=f"its process was ended by {name}{hint}")
    try:
        data = json.loads(result.read_text(encoding="utf-8"))
        code, error = ExitCode(data["exit_code"]), str(data["error"])
    except (OSError, ValueError, KeyError):
        return ProcessOutcome(
            exit_code=ExitCode.STEP, error=f"its process exited with {returncode} before it could report"
        )
    if code == ExitCode.OK != returncode:
        return ProcessOutcome(exit_code=ExitCode.STEP, error=f"its process exited with {returncode}")
    return ProcessOutcome(exit_code=code, error=error)


class _LogPump:
    """Copies a pipe to a file in a thread, up to a limit."""

    def __init__(self, pipe: int, log: Path) -> None:
        self._pipe = pipe
        self._log = log
        self._thread = threading.Thread(target=self._copy, name=f"log {log.name}", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for what is left in the pipe; its writers are dead."""
        self._thread.join(timeout=5)

    def _copy(self) -> None:
        written = dropped = 0
        with _closing(self._pipe), self._log.open("ab", buffering=0) as log:
            while chunk := os.read(self._pipe, _CHUNK):
                kept = chunk[: max(0, LOG_LIMIT_BYTES - written)]
                # A full disk must not stop the step: what cannot be kept of the log is counted as dropped.
                with contextlib.suppress(OSError):
                    written += log.write(kept) or 0
                    chunk = chunk[len(kept) :]
                dropped += len(chunk)
            if dropped:
                with contextlib.suppress(OSError):
                    log.write(f"\n[mlops: {dropped} more bytes of output were dropped]\n".encode())


class _ProgressReader:
    """Reads what a step appends to its progress file."""

    def __init__(self, path: Path | None, on_progress: Callable[[str, int, int], None]) -> None:
        self._path = path
        self._on_progress = on_progress
        self._offset = 0

    def read(self) -> None:
        """Pass on the newest complete line since the last call."""
        if self._path is None or not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        if complete:
            event = json.loads(complete.splitlines()[-1])
            self._on_progress(event["label"], event["done"], event["total"])
