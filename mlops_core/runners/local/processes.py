"""The steps of one run as processes: `StepProcesses` executes step requests in a `ProcessPool`.

It adds what a step needs beside a process: its log, up to a limit, its progress, and its own report of how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mlops_core.errors import ExitCode, RunnerError, StepError
from mlops_core.processes.orders import Ending, Order, Report
from mlops_core.processes.pool import Modules, ProcessPool, closing
from mlops_core.processes.short_names import short_name
from mlops_core.reading import read_json
from mlops_core.redaction import Redactor
from mlops_core.runners.local.progress_file import ProgressReader
from mlops_core.settings import read_settings
from mlops_core.steps.observation import Observation

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Mapping

    from mlops_core.steps.context import StepRequest

LOG_LIMIT_BYTES = 16 * 1024 * 1024
"""A step's log has at most so many bytes, its head and its tail; what is between is counted and dropped, so that a step
that prints without end fills no disk."""
LOG_TAIL_BYTES = 1 << 20
"""So much of the end of a log is kept: the traceback is there."""
_CHUNK = 1 << 16
_RESULT_LIMIT_BYTES = 4 << 20
_LONGEST_ERROR, _LONGEST_WARNING, _MOST_WARNINGS = 20_000, 2_000, 100
_SHOWN = 200
_LITTLE_BYTES = 128 << 10
"""With less free space, a report or a log may not have found room."""
_MOST_OBSERVED = 10
_STEP_MODULE = "mlops_core.steps.process"
_DEVICES = (Path("/dev"),)
"""Not only files: shared memory, terminals, accelerators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOutcome:
    """How a step's process ended.

    Attributes:
        exit_code: its exit code.
        error: one line; empty when it succeeded.
        warnings: what the step logged as a warning, processes that it left behind, and undeclared reads.
        observed: what its process touched, as `mlops_core.steps.observation.Observation` writes it.
    """

    exit_code: ExitCode
    error: str
    warnings: tuple[str, ...] = ()
    observed: Mapping[str, Any] = field(default_factory=dict)


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
        redactor: Redactor | None = None,
    ) -> ProcessOutcome:
        """Execute `request` in a process of its own and wait for its end.

        Args:
            request: what to execute.
            folder: an existing folder for the request and its result; the step may write below it.
            log: the file to which standard output and error are appended, up to `LOG_LIMIT_BYTES`.
            on_progress: called with (label, done, total).
            modules: imported before the process is forked; by default the step's own.
            redactor: takes secrets out of the log and the outcome; None where the request holds none.
        """
        path = folder / "request.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(request.to_json()), encoding="utf-8")
        with short_name(request.scratch) as temporary:
            order = _order(request, path, temporary=temporary)
            pump = _LogPump(log, redactor or Redactor())
            outcome = self._carry_out(order, request, pump=pump, on_progress=on_progress, modules=modules)
        if not redactor:
            return outcome
        warnings = tuple(map(redactor.text, outcome.warnings))
        return replace(outcome, error=redactor.text(outcome.error), warnings=warnings)

    def _carry_out(
        self,
        order: Order,
        request: StepRequest,
        *,
        pump: _LogPump,
        on_progress: Callable[[str, int, int], None],
        modules: Modules,
    ) -> ProcessOutcome:
        progress = ProgressReader(request.progress_file, on_progress)
        try:
            report = self._pool.run(
                order, log=pump.writing, modules=modules or (module_of(request.step.run),), on_wait=progress.read
            )
            outcome = _outcome(report, order, result=Path(str(order.arguments["request"])).with_name("result.json"))
            progress.read()
        except (RunnerError, StepError) as error:
            outcome = ProcessOutcome(exit_code=ExitCode.STEP, error=str(error))
        pump.finish()
        return outcome


def _order(request: StepRequest, path: Path, *, temporary: Path) -> Order:
    resources = request.step.resources
    return Order(
        function=f"{_STEP_MODULE}:run_request_file",
        arguments={"request": str(path)},
        cwd=request.scratch,
        environ={"TMPDIR": str(temporary)},
        writable=(path.parent, *request.outputs.values(), *_DEVICES, *read_settings().caches),
        timeout_s=resources.timeout_s,
        memory_limit_mb=resources.memory_limit_mb,
    )


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
    left = f"{report.left_behind} processes that the step left behind were killed"
    return replace(outcome, warnings=(*outcome.warnings, left))


def _reported(returncode: int, result: Path) -> ProcessOutcome:
    if returncode < 0:
        hint = " (out of memory?)" if -returncode == signal.SIGKILL else ""
        return ProcessOutcome(exit_code=ExitCode.STEP, error=f"its process was ended by {_signal(-returncode)}{hint}")
    try:
        outcome = _outcome_from_json(read_json(result, limit_bytes=_RESULT_LIMIT_BYTES))
    except FileNotFoundError:
        error = f"its process exited with {returncode} before it could report{_lack_of_room(result.parent)}"
        return ProcessOutcome(exit_code=ExitCode.STEP, error=error)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else " ".join(str(fault).split())[:_SHOWN]
        error = f"its process exited with {returncode}, and {result.name} is not its report: {reason}"
        return ProcessOutcome(exit_code=ExitCode.STEP, error=error)
    if outcome.exit_code == ExitCode.OK != returncode:
        return ProcessOutcome(exit_code=ExitCode.STEP, error=f"its process exited with {returncode}")
    return outcome


def _lack_of_room(folder: Path) -> str:
    """Return that a disk is full, where it is: a process can neither write why it ends, nor its log."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    return f": its disk has {free:,} free bytes; make room" if free < _LITTLE_BYTES else ""


def _outcome_from_json(data: Any) -> ProcessOutcome:
    """Return the outcome in ``result.json``, which a step may have overwritten.

    Raises:
        ValueError: a value is not valid; `KeyError` and `TypeError` likewise.
    """
    code, error, warnings = data["exit_code"], data["error"], data["warnings"]
    if type(code) is not int or not isinstance(error, str) or not isinstance(warnings, list):
        raise TypeError("a value has the wrong type")
    if not all(isinstance(warning, str) for warning in warnings):
        raise TypeError("a warning is not a text")
    return ProcessOutcome(
        exit_code=ExitCode(code),
        error=_writable(error)[:_LONGEST_ERROR],
        warnings=tuple(_writable(warning)[:_LONGEST_WARNING] for warning in warnings[:_MOST_WARNINGS]),
        observed=_observed(data.get("observed")),
    )


def _observed(data: Any) -> dict[str, int | list[str]]:
    """Return what of an observation, which a step may have overwritten, has the right form."""
    found: dict[str, int | list[str]] = {}
    for item in fields(Observation):
        value = data.get(item.name) if isinstance(data, dict) else None
        if type(value) is int:
            found[item.name] = value
        elif isinstance(value, list):
            found[item.name] = [_writable(str(text))[:_SHOWN] for text in value[:_MOST_OBSERVED]]
    return found


def _writable(text: str) -> str:
    """Return a text that can be written as UTF-8; outputs escape its control characters when they are shown."""
    return text.encode(errors="backslashreplace").decode()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal, which has no name
        return f"signal {number}"


class _LogPump:
    """Copies a pipe to a file in a thread, without secrets and up to a limit: its head, and from its end what fits.

    Attributes:
        writing: the pipe's other end.
    """

    def __init__(self, log: Path, redactor: Redactor) -> None:
        self._pipe, self.writing = os.pipe()
        self._log = log
        self._redactor = redactor
        self._thread = threading.Thread(target=self._copy, name=f"log {log.name}", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for what is left in the pipe; its writers are dead."""
        self._thread.join(timeout=5)

    def _copy(self) -> None:
        head = LOG_LIMIT_BYTES - LOG_TAIL_BYTES
        written = dropped = 0
        tail = bytearray()
        with closing(self._pipe), self._log.open("ab", buffering=0) as log:
            for chunk in self._redactor.chunks(iter(lambda: os.read(self._pipe, _CHUNK), b"")):
                kept = chunk[: max(0, head - written)]
                # A full disk must not stop the step: what cannot be kept of the log is counted as dropped.
                count = 0
                with contextlib.suppress(OSError):
                    count = log.write(kept) or 0
                written += count
                dropped += len(kept) - count
                tail += chunk[len(kept) :]
                if len(tail) > LOG_TAIL_BYTES + _CHUNK:  # not every time, since it moves all of them
                    dropped += len(tail) - LOG_TAIL_BYTES
                    del tail[:-LOG_TAIL_BYTES]
            with contextlib.suppress(OSError):
                self._finish_log(log, tail, dropped)

    @staticmethod
    def _finish_log(log: io.RawIOBase, tail: bytearray, dropped: int) -> None:
        if len(tail) > LOG_TAIL_BYTES:
            dropped += len(tail) - LOG_TAIL_BYTES
            del tail[:-LOG_TAIL_BYTES]
        if dropped:
            start = tail.find(b"\n") + 1  # the tail begins with a whole line
            dropped += start
            note = f"[mlops: {dropped} more bytes of output were dropped"
            tail[:start] = f"\n{note} here]\n".encode()
            tail += f"\n{note} before the last {LOG_TAIL_BYTES >> 20} MiB]\n".encode()
        while tail:
            del tail[: log.write(tail) or 0]
