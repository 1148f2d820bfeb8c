"""Whole runs in a process that can be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.processes.confinement import descendant_pids
from mlops_core.processes.pool import ProcessPool
from mlops_core.runners.discovery import open_runner
from mlops_core.runners.observers import SilentObserver

if TYPE_CHECKING:
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.records import StepRecord

_POLL_S = 0.002


def run_locally(arguments: dict[str, Any]) -> dict[str, Any]:
    """Carry out a run in ``arguments["workspace"]`` and return its record.

    ``runner`` names another runner; ``kill`` is (step, delay in seconds): this process then kills
    itself that long after the step has started, unless the step has ended before.
    """
    with ProcessPool.forked_from_here():  # before the plugin is imported: steps must not see what that leaves in memory
        return _run(arguments)


def _run(arguments: dict[str, Any]) -> dict[str, Any]:
    from mlops_core.workspace.store import Store

    request = _request(arguments)
    kill = arguments.get("kill")
    observer = _Killer(step=kill[0], delay_s=kill[1]) if kill else SilentObserver()
    with Store(Path(arguments["workspace"])) as store:
        runner = open_runner(arguments.get("runner", "local"), store, observer=observer, jobs=arguments.get("jobs"))
        record = runner.run(request)
        found: dict[str, Any] = record.to_json()
        digests = {digest for step in record.steps for digest in step.outputs.values()}
        found["artifacts"] = {digest: str(store.artifacts.path(digest)) for digest in sorted(digests)}
    return found


def _request(arguments: dict[str, Any]) -> RunRequest:
    from mlops_core.api import prepare_run

    return prepare_run(
        arguments["use_case"],
        config=arguments["config"],
        overrides=arguments["overrides"],
        parameters=arguments["parameters"],
        seed=arguments["seed"],
        force=arguments.get("force", ()),
        is_offline=True,
    )


class _Killer(SilentObserver):
    """Kills this process, without cleaning up, while a step is running.

    The clock starts when the step's process exists, not when the runner announces the step, and a process that has
    ended is too late: on a busy machine either can be far from what the runner reports. Without a delay it kills at
    once, before the step can end.
    """

    def __init__(self, *, step: str, delay_s: float) -> None:
        self._step = step
        self._delay_s = delay_s
        self._ended = threading.Event()

    def step_started(self, name: str) -> None:
        """Start the clock."""
        if name == self._step:
            threading.Thread(target=self._kill, daemon=True).start()

    def step_ended(self, record: StepRecord) -> None:
        """Too late."""
        if record.name == self._step:
            self._ended.set()

    def _kill(self) -> None:
        if not self._delay_s:
            os.kill(os.getpid(), signal.SIGKILL)
        while not self._ended.is_set() and not self._is_process_there():
            time.sleep(_POLL_S)
        time.sleep(self._delay_s)
        if self._is_process_there() and not self._ended.is_set():
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_process_there(self) -> bool:
        """Tell whether a descendant works in the folder of the step; always true where the system does not show it."""
        if not sys.platform.startswith("linux"):
            return True
        for pid in descendant_pids(os.getpid()):
            with contextlib.suppress(OSError):
                if f"-{self._step}" in str(Path(f"/proc/{pid}/cwd").readlink()):
                    return True
        return False
