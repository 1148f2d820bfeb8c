"""Starting a step's command without Docker: a process of this machine that sees one ``/opt/ml`` tree.

Where the system allows it, the process gets a mount namespace in which ``/opt/ml`` is the tree, so even code that
has the path in its source works unchanged. Elsewhere arguments, environment and configuration files are rewritten.
``python`` means this interpreter: the image is the environment in which the interpreter itself runs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlops_core.runners import LOG_LIMIT_BYTES, step_environment
from mlops_sagemaker.emulator.faults import FaultKind, StepFault, StepStopped
from mlops_sagemaker.emulator.jobs.tree import OPT_ML

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.jobs.tree import Tree

_POLL_S = 0.1
_GRACE_S = 10.0
"""Between the request to end and the kill; the service gives 120 s."""
_PRIVATE = ("AWS_", "SM_", "MLOPS_", "USECASE_", "SAGEMAKER_")
_PYTHON = ("python", "python3")
_CONFIGURATION = ("/opt/ml/config", "/opt/ml/input/config")
_MOUNT = """
set -e
if [ ! -d /opt/ml ]; then
  mkdir -p "$2" /opt
  mount --rbind /opt "$2"
  mount -t tmpfs tmpfs /opt
  for folder in "$2"/*; do
    if [ -d "$folder" ]; then mkdir "/opt/${folder##*/}"; mount --rbind "$folder" "/opt/${folder##*/}"; fi
  done
  mkdir /opt/ml
fi
mount --rbind "$1" /opt/ml
shift 2
exec "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOrder:
    """What a container is told.

    Attributes:
        command: entry point and arguments, with ``/opt/ml`` paths.
        environment: variables of the step.
        tree: its files.
        log: file for standard output and error.
        timeout_s: seconds until it is ended.
        image: of the definition; only for messages.
        stopped: set when the execution is stopped.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    tree: Tree
    log: Path
    timeout_s: float
    image: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)


class Containers(Protocol):
    """Whatever can carry out an order."""

    def run(self, order: ContainerOrder) -> int:
        """Run the command to its end and return the exit code.

        Raises:
            StepFault: it could not be started, or took too long.
            StepStopped: the execution was stopped.
        """


class ProcessContainers:
    """Runs each container as a process of this machine."""

    def __init__(self, *, has_mounts: bool | None = None) -> None:
        """Use mount namespaces; None for wherever the system allows it."""
        self.has_mounts = can_mount() if has_mounts is None else has_mounts

    def run(self, order: ContainerOrder) -> int:
        """Run the command to its end and return the exit code; 128 + n when signal n ended it."""
        if not order.command:
            raise StepFault(
                FaultKind.CLIENT,
                f"image '{order.image}': its own entry point is not known here; give ContainerEntrypoint",
            )
        command, environment = self._inside(order)
        with order.log.open("ab") as log:
            try:
                process = subprocess.Popen(  # noqa: S603  the definition's own command is what is executed
                    command,
                    cwd=order.tree.folder(OPT_ML),
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise StepFault(
                    FaultKind.CLIENT, f"image '{order.image}': cannot start {order.command[0]!r}: {error.strerror}"
                ) from error
            return _wait(process, order)

    def _inside(self, order: ContainerOrder) -> tuple[list[str], dict[str, str]]:
        inherited = {name: value for name, value in step_environment().items() if not name.startswith(_PRIVATE)}
        inherited["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        command = [_interpreter(order.command[0]), *order.command[1:]]
        given = dict(order.environment)
        if self.has_mounts:
            return [*_mounting(order.tree), *command], inherited | given
        for folder in _CONFIGURATION:
            order.tree.rewrite_files(folder)
        command = [order.tree.rewrite(part) for part in command]
        return command, inherited | {name: order.tree.rewrite(value) for name, value in given.items()}


def can_mount() -> bool:
    """Tell whether this system lets a process have an ``/opt/ml`` of its own."""
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return False
    probe = subprocess.run(  # noqa: S603  our own command
        [*_unshare(), "sh", "-c", "mount -t tmpfs tmpfs /opt && mkdir /opt/ml"], check=False, capture_output=True
    )
    return probe.returncode == 0


def _unshare() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [shutil.which("unshare") or "unshare", *user, "--mount"]


def _mounting(tree: Tree) -> list[str]:
    return [*_unshare(), "sh", "-c", _MOUNT, "sh", str(tree.folder(OPT_ML)), str(tree.root / "host-opt")]


def _interpreter(program: str) -> str:
    return sys.executable if Path(program).name in _PYTHON and not program.startswith(OPT_ML) else program


def _wait(process: subprocess.Popen[bytes], order: ContainerOrder) -> int:
    """Wait for the end; whatever the process leaves behind in its session is killed."""
    deadline = time.monotonic() + order.timeout_s
    try:
        while (left := deadline - time.monotonic()) > 0 and not order.stopped.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=min(_POLL_S, left))
                return 128 - code if code < 0 else code
            _shorten(order.log)
        _end(process)
    finally:
        _signal(process, signal.SIGKILL)
    if order.stopped.is_set():
        raise StepStopped
    raise StepFault(
        FaultKind.CLIENT, f"MaxRuntimeExceeded: the job ran longer than MaxRuntimeInSeconds={order.timeout_s:g}"
    )


def _shorten(log: Path) -> None:
    """Cut a log that grows without end; the process goes on writing to the end of the same file."""
    if log.stat().st_size > LOG_LIMIT_BYTES:
        with log.open("r+b") as stream:
            stream.truncate(LOG_LIMIT_BYTES // 2)
            stream.seek(0, os.SEEK_END)
            stream.write(b"\n[mlops: output was dropped here]\n")


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GRACE_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
