"""One run as it is seen from outside: `Drive`; and runs in processes that can be interrupted and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.testing.runners.backdoors import registered_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlops_core.testing.runners.witness import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """One run.

    Attributes:
        workspace: where it is kept.
        cwd: working directory of its process, empty before.
        record: the finished record as JSON; empty when the run raised.
        error: what it raised, one line; empty when it did not.
        kind: class of what it raised.
        exit_code: with which a command would have ended.
        events: what the observer received, in order.
        changed: what the runner changed in its process.
        connections: addresses to which its process connected.
        is_same_when_read: the record is equal after a JSON round trip.
        visits: the processes of its steps, as the witness saw them.
        returncode: of its process, where that was started for this run alone.
    """

    workspace: Path
    cwd: Path
    record: Mapping[str, Any]
    error: str
    kind: str
    exit_code: int
    events: Sequence[Sequence[Any]]
    changed: Sequence[str]
    connections: Sequence[str]
    is_same_when_read: bool
    visits: tuple[Visit, ...]
    returncode: int = 0

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return str(self.record.get("run_id", ""))

    @property
    def status(self) -> str:
        """Status of the run; ``raised`` when there is no record."""
        return str(self.record.get("status", "raised"))

    @property
    def outcome(self) -> str:
        """How the run ended, in one phrase."""
        reason = self.record.get("error") or self.error
        return f"{self.status}: {reason}" if reason else self.status

    @property
    def models(self) -> list[str]:
        """Versions under which the run registered a model: in the workspace, and in the engine's own registry."""
        own = (self.record.get("remote") or {}).get("model_package", "")
        rows = [model for model in registered_models(self.workspace) if model["run_id"] == self.run_id]
        return [*(str(model["version"]) for model in rows), *filter(None, [own])]

    def step(self, name: str) -> Mapping[str, Any]:
        """Return the record of a step; empty where there is none."""
        steps: Sequence[Mapping[str, Any]] = self.record.get("steps", ())
        return next((step for step in steps if step["name"] == name), {})

    def of(self, step: str) -> tuple[Visit, ...]:
        """Return the processes of a step."""
        return tuple(visit for visit in self.visits if visit.step == step)


def drive_of(
    result: Mapping[str, Any],
    *,
    workspace: Path,
    cwd: Path,
    visits: tuple[Visit, ...],
    returncode: int = 0,
) -> Drive:
    """Return the drive that `mlops_core.testing.inside.drives` reported."""
    return Drive(
        workspace=workspace,
        cwd=cwd,
        record=result.get("record") or {},
        error=result.get("error", ""),
        kind=result.get("kind", ""),
        exit_code=result.get("exit_code", 1),
        events=result.get("events", ()),
        changed=result.get("changed", ()),
        connections=result.get("connections", ()),
        is_same_when_read=result.get("is_same_when_read", False),
        visits=visits,
        returncode=returncode,
    )


class KillableDrive:
    """A run in a process of its own."""

    def __init__(
        self, arguments: Mapping[str, Any], *, folder: Path, environ: Mapping[str, str], workspace: Path
    ) -> None:
        """Start the run."""
        self._folder = folder
        self._workspace = workspace
        self._cwd = folder / "cwd"
        self._cwd.mkdir()
        path = folder / "call.json"
        path.write_text(json.dumps(arguments), encoding="utf-8")
        with (folder / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, "-P", "-m", "mlops_core.testing.inside.drives", str(path)],
                cwd=self._cwd,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float, *, visits: Callable[[], tuple[Visit, ...]]) -> Drive:
        """Wait for the end of the run; a process that does not end is killed."""
        try:
            returncode = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            returncode = -signal.SIGALRM
        path = self._folder / "result.json"
        log = (self._folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip()
        ending = f"its process ended with {returncode}: {log.splitlines()[-1] if log else 'no output'}"
        if returncode == -signal.SIGALRM:
            ending = f"it took longer than {timeout_s:g} s and was killed"
        result = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"error": ending}
        return drive_of(result, workspace=self._workspace, cwd=self._cwd, visits=visits(), returncode=returncode)
