"""Runs that a watcher starts, each in a process of its own, which goes on when the watcher dies.

The id of a run is chosen and recorded before its process is started, and the process holds a lock for as long as it
lives. So a watcher that starts again can tell each case: the process lives; it ended; it was cut off, and the run is
resumed; or it never made a run, and is started again under the same id.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import ExitCode, MlopsError
from mlops_core.runners.saved_config import require_complete
from mlops_core.watching.journal import StartStatus
from mlops_core.workspace.records import RunStatus
from mlops_core.workspace.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PROGRAM = (sys.executable, "-c", "from mlops_core.cli import main; main()")
_LOG_TAIL_BYTES = 4096
_ENDED_WELL = frozenset({RunStatus.ACCEPTED, RunStatus.REJECTED, RunStatus.UNDECIDED, RunStatus.PARTIAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        status: of the start.
        note: one line about it.
        is_cut_off: it was killed and can be resumed.
        is_missing: it never began.
        exit_code: that of ``mlops run``; 0 for a run that was cut off.
    """

    status: StartStatus
    note: str
    is_cut_off: bool = False
    is_missing: bool = False
    exit_code: int = 0


class RunProcesses:
    """The processes of runs, found by the ids of the runs.

    Example:
        >>> RunProcesses(Path("watch"), workspace=Path("workspace")).is_alive("20260101-000000-abcdef")
        False
    """

    def __init__(self, folder: Path, *, workspace: Path) -> None:
        """Keep locks and logs in `folder`; the runs are those of `workspace`."""
        self._folder = folder
        self._workspace = workspace
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, run_id: str, arguments: Sequence[str]) -> None:
        """Start ``mlops run`` for a new run.

        Raises:
            OSError: no process can be started.
        """
        self._spawn(run_id, ["run", "--run-id", run_id, *arguments])

    def resume(self, run_id: str, arguments: Sequence[str] = ()) -> None:
        """Start ``mlops run --resume`` for a run that was cut off.

        Raises:
            OSError: no process can be started.
        """
        self._spawn(run_id, ["run", "--resume", run_id, *arguments])

    def _spawn(self, run_id: str, arguments: Sequence[str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [*_PROGRAM, "--workspace", str(self._workspace), *arguments]
        with self._lock(run_id).open("w") as lock, self._log(run_id).open("ab") as log:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._children[run_id] = subprocess.Popen(  # noqa: S603  our own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock.fileno(),),  # the lock is held as long as this process lives
                start_new_session=True,  # Ctrl-C is for the watcher
                env={**os.environ, "NO_COLOR": "1"},
            )

    def is_alive(self, run_id: str) -> bool:
        """Return whether a process carries out the run, also one of an earlier watcher."""
        child = self._children.get(run_id)
        if child is not None and child.poll() is None:
            return True
        try:
            with self._lock(run_id).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def outcome(self, run_id: str) -> RunOutcome:
        """Return how a run ended whose process does not live.

        Raises:
            StoreError: the workspace cannot be read.
        """
        with Store(self._workspace) as store:
            folder = store.runs.folder(run_id)
            if not (folder / "run.json").exists():
                code = self.exit_code(run_id) or 0
                return RunOutcome(
                    status=StartStatus.FAILED,
                    note=self._last_line(run_id),
                    is_missing=True,
                    exit_code=code if code > 0 else int(ExitCode.DEFECT),
                )
            store.runs.list_again(run_id)  # it may have been killed between the record and the row
            record = store.runs.load(run_id)
            if record.status in _ENDED_WELL:
                return RunOutcome(status=StartStatus.DONE, note=f"{record.status}", exit_code=record.exit_code)
            if record.status is RunStatus.FAILED:
                return RunOutcome(status=StartStatus.FAILED, note=record.error, exit_code=record.exit_code)
            try:
                require_complete(folder, run_id=run_id)
            except MlopsError:  # killed before its configuration was written: nothing of it has happened
                store.runs.forget(run_id)
                return RunOutcome(status=StartStatus.FAILED, note="cut off", is_missing=True)
        return RunOutcome(status=StartStatus.FAILED, note="cut off", is_cut_off=True)

    def exit_code(self, run_id: str) -> int | None:
        """Return the exit code of a process that this watcher started; None for any other, or while it lives."""
        child = self._children.get(run_id)
        return None if child is None else child.poll()

    def forget(self, run_id: str) -> None:
        """Remove the lock and the log of a run that has ended."""
        self._children.pop(run_id, None)
        for path in (self._lock(run_id), self._log(run_id)):
            path.unlink(missing_ok=True)

    def output_digests(self, run_id: str) -> set[str]:
        """Return the SHA-256 of files that a run made: its folder and its artifacts."""
        digests: set[str] = set()
        with contextlib.suppress(MlopsError, OSError), Store(self._workspace) as store:
            from mlops_core.datasets.digests import iter_tree

            record = store.runs.load(run_id)
            folders = [store.runs.folder(run_id)]
            folders += [store.artifacts.path(digest) for step in record.steps for digest in step.outputs.values()]
            for folder in folders:
                if folder.is_dir():
                    digests |= {file.sha256 for file in iter_tree(folder, cache=store.file_digests) if file.size}
        return digests

    def _lock(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.lock"

    def _log(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.log"

    def _last_line(self, run_id: str) -> str:
        """Return the error that a process printed before it made a run."""
        try:
            content = self._log(run_id).read_bytes()[-_LOG_TAIL_BYTES:]
        except OSError:
            return "no run was made"
        lines = [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("mlops: error:")]
        return (errors or lines or ["no run was made"])[-1]
