"""Runs the command of a container without Docker: as a process on this machine with its own ``/opt/ml`` tree.

Where the system allows it, the process gets a mount namespace in which ``/opt/ml`` is the tree, so that code with
hard-coded paths works. Elsewhere, the paths in arguments, environment and configuration files are rewritten.
``python`` is the Python that runs the emulator: its environment takes the place of the image. Of the environment
variables of the user, only those in a list reach the process, so a definition cannot read other secrets there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlops_core.runners.container.processes import (
    ending_with_parent,
    inherited_environment,
    python_program,
    wait_for_end,
)
from mlops_sagemaker.emulator.faults import FaultKind, StepFault, StepStopped
from mlops_sagemaker.emulator.paths import OPT_ML, leaves_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.jobs.tree import Tree

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
    """An order to run a container.

    Attributes:
        command: entry point and arguments, with ``/opt/ml`` paths.
        environment: environment variables of the step.
        tree: files of the container.
        log: file for standard output and error.
        timeout_s: time limit in seconds.
        image: image of the definition, for error messages.
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
    """Runs containers."""

    def run(self, order: ContainerOrder) -> int:
        """Run the command to its end and return the exit code.

        Raises:
            StepFault: the command could not be started, or exceeded its time limit.
            StepStopped: the execution was stopped.
        """


class ProcessContainers:
    """Runs each container as a process on this machine."""

    def __init__(self, *, has_mounts: bool | None = None) -> None:
        """Set whether to use mount namespaces; None for wherever the system allows it."""
        self.has_mounts = can_mount() if has_mounts is None else has_mounts

    def run(self, order: ContainerOrder) -> int:
        """Run the command to its end and return the exit code, which is 128 + n if signal n ended it."""
        if not order.command:
            raise StepFault(
                FaultKind.CLIENT,
                f"image '{order.image}': its entry point is unknown here; set ContainerEntrypoint",
            )
        for part in order.command:
            if leaves_tree(part):
                raise StepFault(FaultKind.CLIENT, f"image '{order.image}': {part!r} leads out of {OPT_ML}")
        command, environment = self._inside(order)
        self._check_program(order, environment)
        with order.log.open("ab") as log:
            try:
                process = subprocess.Popen(  # noqa: S603  the command of the definition
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

    def _check_program(self, order: ContainerOrder, environment: Mapping[str, str]) -> None:
        """Refuse a program that does not exist: what starts it would report that as a failure of the job itself."""
        program = _program(order.command[0])
        if program.startswith(OPT_ML):
            program = order.tree.rewrite(program)
        if shutil.which(program, path=environment["PATH"]) is None:
            raise StepFault(
                FaultKind.CLIENT,
                f"image '{order.image}': cannot start {order.command[0]!r}: no such program, or not executable",
            )

    def _inside(self, order: ContainerOrder) -> tuple[list[str], dict[str, str]]:
        inherited = inherited_environment()
        inherited["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        command = [_program(order.command[0]), *order.command[1:]]
        variables = dict(order.environment)
        if self.has_mounts:
            return [*_mounting(order.tree), *command], inherited | variables
        for folder in _CONFIGURATION:
            order.tree.rewrite_files(folder)
        command = [order.tree.rewrite(part) for part in command]
        return [*ending_with_parent(), *command], inherited | {
            name: order.tree.rewrite(value) for name, value in variables.items()
        }


def can_mount() -> bool:
    """Return whether this system allows a process to have its own ``/opt/ml``."""
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return False
    probe = subprocess.run(  # noqa: S603  a fixed command
        [*_unshare(), "sh", "-c", "mount -t tmpfs tmpfs /opt && mkdir /opt/ml"], check=False, capture_output=True
    )
    return probe.returncode == 0


def _unshare() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [shutil.which("unshare") or "unshare", *user, "--mount"]


def _mounting(tree: Tree) -> list[str]:
    # After unshare: a new user namespace resets what was set before it.
    return [
        *_unshare(),
        *ending_with_parent(),
        "sh",
        "-c",
        _MOUNT,
        "sh",
        str(tree.folder(OPT_ML)),
        str(tree.root / "host-opt"),
    ]


def _program(program: str) -> str:
    """Return the executable for a program; ``python`` is the Python of this process."""
    return program if program.startswith(OPT_ML) else python_program(program)


def _wait(process: subprocess.Popen[bytes], order: ContainerOrder) -> int:
    """Wait for the end of the process, and kill all processes that remain in its session."""
    code = wait_for_end(process, log=order.log, timeout_s=order.timeout_s, stopped=order.stopped)
    if code is not None:
        return code
    if order.stopped.is_set():
        raise StepStopped
    raise StepFault(
        FaultKind.CLIENT, f"MaxRuntimeExceeded: the job ran longer than MaxRuntimeInSeconds={order.timeout_s:g}"
    )
