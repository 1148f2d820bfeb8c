"""One step in one process: start it, copy its log, pass on its progress, end its whole tree."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from mlops_core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlops_core.steps import StepRequest

LOG_LIMIT_BYTES = 16 * 1024 * 1024
"""A step's log is cut after this; the rest is counted, so a step that prints without end fills no disk."""
_POLL_S = 0.2
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOutcome:
    """How a step's process ended; `error` is empty when it succeeded."""

    exit_code: ExitCode
    error: str


def run_step_process(
    request: StepRequest,
    *,
    folder: Path,
    log: Path,
    cancel: threading.Event,
    on_progress: Callable[[str, int, int], None],
) -> ProcessOutcome:
    """Execute `request` in a process of its own and wait for its end.

    Args:
        request: what to execute.
        folder: an existing folder for the request and its result.
        log: the file to which standard output and error are appended, up to `LOG_LIMIT_BYTES`.
        cancel: when set, the process tree is killed.
        on_progress: called with (label, done, total).
    """
    path = folder / "request.json"
    path.write_text(json.dumps(request.to_json()), encoding="utf-8")
    process = subprocess.Popen(  # noqa: S603  our own interpreter and module
        [sys.executable, "-P", "-m", "mlops_core.steps", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=request.scratch,
        env=step_environment(),
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101  for mypy: stdout=PIPE
    pump = _LogPump(process.stdout, log)
    progress = _ProgressReader(request.progress_file, on_progress)
    ended_by = _wait(process, pump, progress, cancel=cancel, timeout_s=request.step.resources.timeout_s)
    return ended_by or _outcome(process.returncode, folder / "result.json")


def step_environment() -> dict[str, str]:
    """Return the environment of a step's process: ours, with a fixed hash seed and quiet native libraries."""
    return {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }


def _wait(
    process: subprocess.Popen[bytes],
    pump: _LogPump,
    progress: _ProgressReader,
    *,
    cancel: threading.Event,
    timeout_s: float,
) -> ProcessOutcome | None:
    deadline = time.monotonic() + timeout_s
    ended_by = None
    while ended_by is None and process.poll() is None:
        if pump.at_end.wait(_POLL_S):  # closing its output is nearly always a process's last act
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_POLL_S)
        progress.read()
        if cancel.is_set():
            ended_by = ProcessOutcome(exit_code=ExitCode.INTERRUPTED, error="stopped")
        elif time.monotonic() > deadline:
            ended_by = ProcessOutcome(
                exit_code=ExitCode.STEP, error=f"timed out after {timeout_s:g} s; its processes were killed"
            )
    kill_tree(process)
    pump.finish()
    progress.read()
    return ended_by


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started in its session, at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _outcome(returncode: int, result: Path) -> ProcessOutcome:
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

    def __init__(self, pipe: IO[bytes], log: Path) -> None:
        self.at_end = threading.Event()
        self._pipe = pipe
        self._log = log
        self._thread = threading.Thread(target=self._copy, name=f"log {log.name}", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for what is left in the pipe; its writers are dead."""
        self._thread.join(timeout=5)

    def _copy(self) -> None:
        written = dropped = 0
        with self._log.open("ab", buffering=0) as log:
            while chunk := os.read(self._pipe.fileno(), _CHUNK):
                kept = chunk[: max(0, LOG_LIMIT_BYTES - written)]
                log.write(kept)
                written += len(kept)
                dropped += len(chunk) - len(kept)
            if dropped:
                log.write(f"\n[mlops: {dropped} more bytes of output were dropped]\n".encode())
        self._pipe.close()
        self.at_end.set()


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
