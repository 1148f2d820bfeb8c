"""The steps of one run as processes: `StepProcesses` executes step requests in a `ProcessPool`.

It adds what a step needs beside a process: its log, up to a limit, its progress, and its own report of how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mlops_core.errors import ExitCode, RunnerError
from mlops_core.processes.orders import Ending, Order, Report
from mlops_core.processes.pool import Modules, ProcessPool, closing
from mlops_core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.steps.context import StepRequest

LOG_LIMIT_BYTES = 16 * 1024 * 1024
"""A step's log is cut after this; the rest is counted, so a step that prints without end fills no disk."""
_CHUNK = 1 << 16
_STEP_MODULE = "mlops_core.steps.process"
_DEVICES = (Path("/dev"),)
"""Not only files: shared memory, terminals, accelerators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOutcome:
    """How a step's process ended.

    Attributes:
        exit_code: its exit code.
        error: one line; empty when it succeeded.
        warnings: what the step logged as a warning, and processes that it left behind.
    """

    exit_code: ExitCode
    error: str
    warnings: tuple[str, ...] = ()


class StepProcesses:
    """Executes step requests, each in a process of its own, for as long as a run lasts. Safe to use from threads."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._pool = ProcessPool(environ=step_environment, warm=(_STEP_MODULE,))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes."""
        self._pool.close()

    def start(self) -> None:
        """Start the process from which those of the steps are forked; returns before it is ready."""
        self._pool.start()

    def prepare(self, modules: Modules) -> None:
        """Begin to import what a step needs, so that it is ready when the step is; returns at once."""
        self._pool.prepare(modules)

    def release(self, modules: Modules) -> None:
        """Give up the memory that holds imported modules; no step will need them again."""
        self._pool.release(modules)

    def cancel(self) -> None:
        """Kill all processes and refuse to start more; `run` returns soon wherever it is waiting."""
        self._pool.cancel()

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
        order = Order(
            function=f"{_STEP_MODULE}:run_request_file",
            arguments={"request": str(path)},
            cwd=request.scratch,
            environ={"TMPDIR": str(request.scratch)},
            writable=(folder, *request.outputs.values(), *_DEVICES, *read_settings().caches),
            timeout_s=resources.timeout_s,
            memory_limit_mb=resources.memory_limit_mb,
        )
        reading, writing = os.pipe()
        pump = _LogPump(reading, log)
        progress = _ProgressReader(request.progress_file, on_progress)
        try:
            report = self._pool.run(
                order, log=writing, modules=modules or (module_of(request.step.run),), on_wait=progress.read
            )
            outcome = _outcome(report, order, result=path.with_name("result.json"))
        except RunnerError as error:
            outcome = ProcessOutcome(exit_code=ExitCode.STEP, error=str(error))
        pump.finish()
        progress.read()
        return outcome


def module_of(reference: str) -> str:
    """Return the module of a reference such as ``"package.module:function"``."""
    return reference.partition(":")[0]


def step_environment() -> dict[str, str]:
    """Return the environment of a step's process: ours, with a fixed hash seed and quiet native libraries."""
    return {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }


def _outcome(report: Report, order: Order, *, result: Path) -> ProcessOutcome:
    if report.ending is Ending.CANCELLED:
        return ProcessOutcome(exit_code=ExitCode.INTERRUPTED, error="stopped")
    if report.ending is Ending.TIMED_OUT:
        error = f"timed out after {order.timeout_s:g} s; its processes were killed"
        return ProcessOutcome(exit_code=ExitCode.STEP, error=error)
    if report.ending is Ending.OUT_OF_MEMORY:
        error = f"used more than its limit memory_limit_mb={order.memory_limit_mb}; its processes were killed"
        return ProcessOutcome(exit_code=ExitCode.STEP, error=error)
    outcome = _reported(os.waitstatus_to_exitcode(report.status), result)
    if not report.left_behind:
        return outcome
    left = f"{report.left_behind} process(es) that the step left behind were killed"
    return replace(outcome, warnings=(*outcome.warnings, left))


def _reported(returncode: int, result: Path) -> ProcessOutcome:
    if returncode < 0:
        name = signal.Signals(-returncode).name
        hint = " (out of memory?)" if -returncode == signal.SIGKILL else ""
        return ProcessOutcome(exit_code=ExitCode.STEP, error=f"its process was ended by {name}{hint}")
    try:
        data = json.loads(result.read_text(encoding="utf-8"))
        code, error = ExitCode(data["exit_code"]), str(data["error"])
        warnings = tuple(map(str, data["warnings"]))
    except (OSError, ValueError, KeyError):
        return ProcessOutcome(
            exit_code=ExitCode.STEP, error=f"its process exited with {returncode} before it could report"
        )
    if code == ExitCode.OK != returncode:
        return ProcessOutcome(exit_code=ExitCode.STEP, error=f"its process exited with {returncode}")
    return ProcessOutcome(exit_code=code, error=error, warnings=warnings)


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
        with closing(self._pipe), self._log.open("ab", buffering=0) as log:
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
