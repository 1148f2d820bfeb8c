"""Processes on this machine in the place of containers, for runners that execute an engine's document here.

The environment of this process takes the place of the image: ``python`` is the Python that runs here. Of the variables
of the user, only those in a list reach the process, so a document cannot read other secrets there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.runners.local.processes import LOG_LIMIT_BYTES, step_environment

if TYPE_CHECKING:
    import threading

_LOG_TAIL_BYTES = 1 << 20
_POLL_S = 0.1
_GRACE_S = 10.0
"""Time between SIGTERM and SIGKILL; services wait longer."""
_PYTHON = ("python", "python3")
INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE", "TMPDIR", "TEMP", "TMP"),
        *("PYTHONPATH", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONWARNINGS"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "VIRTUAL_ENV", "CONDA_PREFIX"),
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "XLA_FLAGS"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS"),
        *("VECLIB_MAXIMUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_CPP_MIN_LOG_LEVEL"),
        *("TF_ENABLE_ONEDNN_OPTS", "TF_DETERMINISTIC_OPS", "KERAS_BACKEND", "KERAS_HOME", "MPLBACKEND", "MPLCONFIGDIR"),
        *("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("SYSTEMROOT", "COVERAGE_PROCESS_START"),
    }
)
"""The environment variables of the user that a container inherits, besides those that begin with ``LC_``."""


def inherited_environment() -> dict[str, str]:
    """Return the environment variables that a container inherits."""
    return {name: value for name, value in step_environment().items() if name in INHERITED or name.startswith("LC_")}


def ending_with_parent() -> list[str]:
    """Return what is put before a command so that it ends when this process is killed; empty where nothing can."""
    setpriv = shutil.which("setpriv") if sys.platform.startswith("linux") else None
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def python_program(program: str) -> str:
    """Return the executable for a program of a container; ``python`` is the Python of this process."""
    return sys.executable if Path(program).name in _PYTHON else program


def wait_for_end(
    process: subprocess.Popen[bytes], *, log: Path, timeout_s: float, stopped: threading.Event
) -> int | None:
    """Wait for the end of a process, and kill all processes that remain in its session.

    Args:
        process: leader of a session of its own.
        log: file of its output, which is kept below the limit of logs.
        timeout_s: seconds after which it is ended.
        stopped: set when it has to be ended earlier.

    Returns:
        Its exit code, 128 + n if signal n ended it; None if it was ended here.
    """
    deadline = time.monotonic() + timeout_s
    try:
        while (remaining_s := deadline - time.monotonic()) > 0 and not stopped.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=min(_POLL_S, remaining_s))
                return 128 - code if code < 0 else code
            _shorten(log)
        _end(process)
        return None
    finally:
        _signal(process, signal.SIGKILL)


def _shorten(log: Path) -> None:
    """Drop the middle of a log that exceeds the limit; the process continues to append to the same file."""
    if log.stat().st_size > LOG_LIMIT_BYTES:
        with log.open("r+b") as stream:
            stream.seek(-_LOG_TAIL_BYTES, os.SEEK_END)
            tail = stream.read()
            stream.truncate(LOG_LIMIT_BYTES // 2)
            stream.seek(0, os.SEEK_END)
            stream.write(b"\n[mlops: output was dropped here]\n" + tail)


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GRACE_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
