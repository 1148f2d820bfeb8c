"""Starts the commands of nodes as processes on this machine, without Docker.

The Python that runs here takes the place of the image's. A command sees only its folders and a short list of the user's
environment variables (`mlops_core.runners.container.processes`).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlops_core.runners import RunnerError
from mlops_core.runners.container.processes import ending_with_parent, inherited_environment, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Mapping

_PYTHON = re.compile(r"python3?(?=\s)")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOrder:
    """An order to execute a command.

    Attributes:
        name: of the node or trial, for messages.
        command: text for a shell.
        environment: environment variables of the node.
        folder: working directory.
        log: file for standard output and error.
        timeout_s: time limit in seconds.
        stopped: set when the execution is stopped.
    """

    name: str
    command: str
    environment: Mapping[str, str]
    folder: Path
    log: Path
    timeout_s: float
    stopped: threading.Event = field(default_factory=threading.Event)


class Containers(Protocol):
    """Executes commands of nodes."""

    def run(self, order: NodeOrder) -> int | None:
        """Execute a command to its end; return its exit code, or None if it was ended by its limit or stopped.

        Raises:
            RunnerError: it could not be started.
        """


class ProcessContainers:
    """Executes each command as a process on this machine."""

    def run(self, order: NodeOrder) -> int | None:
        """Execute a command to its end."""
        inherited = inherited_environment()
        inherited["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        command = order.command
        if match := _PYTHON.match(command):
            command = f"{shlex.quote(sys.executable)}{command[match.end() :]}"
        shell = shutil.which("bash") or shutil.which("sh") or "/bin/sh"
        with order.log.open("ab") as log:
            try:
                process = subprocess.Popen(  # noqa: S603  the command of the job
                    [*ending_with_parent(), shell, "-c", f"exec {command}" if match else command],
                    cwd=order.folder,
                    env=inherited | dict(order.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise RunnerError(f"node '{order.name}': its command cannot be started: {error.strerror}") from error
            return wait_for_end(process, log=order.log, timeout_s=order.timeout_s, stopped=order.stopped)
