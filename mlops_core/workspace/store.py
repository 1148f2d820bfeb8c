"""The workspace on disk: runs, artifacts, the step cache and file digests (SQLite + files).

``mlops.db`` is SQLite in WAL mode; ``objects/`` holds artifacts (`mlops_core.workspace.artifacts`); ``runs/<run-id>/``
one run; ``datasets/<name>/`` fetched data; ``work/`` what is not finished. Files appear by rename, so a reader never
sees a part of one, and several processes may share a workspace.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import sqlite3
import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from mlops_core.errors import StoreError, UsageError
from mlops_core.workspace.artifacts import ArtifactStore, write_atomically
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord
from mlops_core.workspace.schema import SCHEMA_VERSION, bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_core.datasets.digests import FileState

JOURNAL = "steps.jsonl"
_BUSY_S = 30.0
"""How long one process waits for another one that writes."""
_RACY_NS = 50_000_000
"""A file that changed this shortly before it was hashed may change again without a new time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedStep:
    """A step that was done before.

    Attributes:
        key: digest of its step key.
        outputs: output -> digest of the artifact.
        components: what the key is made of.
        run_id: the run that did the work.
        duration_s: how long that took.
    """

    key: str
    outputs: Mapping[str, str]
    components: Mapping[str, str]
    run_id: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One line of ``mlops runs list``."""

    run_id: str
    use_case: str
    status: RunStatus
    created: str
    runner: str
    duration_s: float
    model_version: int | None


class Store(ArtifactStore):
    """One workspace, opened. Use as a context manager, from one thread."""

    def __init__(self, home: Path) -> None:
        """Create or open the workspace in the folder `home`.

        Raises:
            StoreError: it cannot be created, or a newer version wrote it.
        """
        super().__init__(home)
        self.runs = self.home / "runs"
        self.datasets = self.home / "datasets"
        try:
            for folder in (self.objects, self.manifests, self.runs, self.datasets, self.work):
                folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.home / "mlops.db", timeout=_BUSY_S, isolation_level=None)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"workspace {self.home} cannot be used: {error}; set MLOPS_HOME to another folder"
            ) from error

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database."""
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _prepare(self) -> None:
        self._db.row_factory = sqlite3.Row
        self._use_write_ahead_log()
        self._db.execute("PRAGMA synchronous = NORMAL")
        if self._version() == SCHEMA_VERSION:
            return
        with self.transaction():
            version = self._version()
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"workspace {self.home} has version {version}; this mlops reads version {SCHEMA_VERSION}; "
                    "use the mlops that wrote it, or set MLOPS_HOME to another folder"
                )
            bring_up_to_date(self._db, found=version)

    def _use_write_ahead_log(self) -> None:
        """Change the mode of a new database; while another process does, SQLite refuses at once, so ask again."""
        end = time.monotonic() + _BUSY_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
            else:
                return

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock of the database; all or nothing of what is done inside is kept."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- The step cache -----------------------------------------------------------------------------------

    def cached_step(self, key: str) -> CachedStep | None:
        """Return the step of this key, if all of its artifacts are still there."""
        cached = self.recorded_step(key)
        return cached if cached and all(map(self.has_artifact, cached.outputs.values())) else None

    def recorded_step(self, key: str) -> CachedStep | None:
        """Return the step of this key, whether or not its artifacts are still there."""
        row = self._db.execute("SELECT * FROM step_cache WHERE key = ?", (key,)).fetchone()
        return _cached_step(row) if row else None

    def latest_step(self, use_case: str, step: str) -> CachedStep | None:
        """Return what was last done for a step of this name, with whatever key."""
        row = self._db.execute(
            "SELECT * FROM step_cache WHERE use_case = ? AND step = ? ORDER BY sequence DESC LIMIT 1", (use_case, step)
        ).fetchone()
        return _cached_step(row) if row else None

    def expected_duration_s(self, use_case: str, step: str) -> float | None:
        """Return the median duration of the last times that a step of this name was run; None when it never was."""
        rows = self._db.execute(
            "SELECT duration_s FROM step_cache WHERE use_case = ? AND step = ? ORDER BY sequence DESC LIMIT 5",
            (use_case, step),
        ).fetchall()
        return statistics.median(row[0] for row in rows) if rows else None

    def remember_step(self, use_case: str, step: str, cached: CachedStep) -> None:
        """Keep what a step did under its key."""
        self._db.execute(
            "INSERT OR REPLACE INTO step_cache (key, use_case, step, outputs, components, run_id, duration_s) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                cached.key,
                use_case,
                step,
                json.dumps(dict(cached.outputs)),
                json.dumps(dict(cached.components)),
                cached.run_id,
                cached.duration_s,
            ),
        )

    # --- File digests (a `StatCache` of mlops_core.datasets.catalogue) ----------------------------------------------

    def lookup(self, path: str, state: FileState) -> str | None:
        """Return the digest of a file that has not changed since it was stored."""
        row = self._db.execute(
            "SELECT sha256 FROM file_digests "
            "WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ? AND inode = ?",
            (_as_text(path), state.size, state.mtime_ns, state.ctime_ns, state.inode),
        ).fetchone()
        return str(row[0]) if row else None

    def store(self, path: str, state: FileState, *, sha256: str) -> None:
        """Keep the digest of a file, unless it changed so shortly ago that its next change could look the same."""
        if state.ctime_ns > time.time_ns() - _RACY_NS:
            return
        self._db.execute(
            "INSERT OR REPLACE INTO file_digests VALUES (?, ?, ?, ?, ?, ?)",
            (_as_text(path), state.size, state.mtime_ns, state.ctime_ns, state.inode, sha256),
        )

    # --- Runs ---------------------------------------------------------------------------------------------

    def run_folder(self, run_id: str) -> Path:
        """Return the folder of a run."""
        return self.runs / run_id

    @contextlib.contextmanager
    def run_lock(self, run_id: str) -> Iterator[None]:
        """Mark a run as being carried out by this process; the system takes the mark away when the process ends.

        Raises:
            UsageError: another process carries it out.
        """
        folder = self.run_folder(run_id)
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        with (folder / "run.lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"run {run_id} is being carried out by another process") from None
            yield

    def is_run_alive(self, run_id: str) -> bool:
        """Tell whether a process is carrying out the run."""
        try:
            with (self.run_folder(run_id) / "run.lock").open("r") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def save_run(self, record: RunRecord) -> None:
        """Write ``run.json`` and the line of ``runs list``; the journal of its steps has then served its purpose."""
        folder = self.run_folder(record.run_id)
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "run.json", json.dumps(record.to_json(), indent=1, ensure_ascii=False) + "\n")
        self._db.execute(
            "INSERT INTO runs (run_id, use_case, status, created, runner, duration_s, model_version) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id) DO UPDATE SET "
            "status = excluded.status, duration_s = excluded.duration_s, model_version = excluded.model_version",
            (
                record.run_id,
                record.use_case,
                record.status,
                record.created,
                record.runner,
                record.duration_s,
                record.model_version,
            ),
        )
        (folder / JOURNAL).unlink(missing_ok=True)

    def append_step(self, run_id: str, step: StepRecord) -> None:
        """Add one line to the journal of a run: the cost of a step does not grow with the number of steps."""
        line = json.dumps(step.to_json(), ensure_ascii=False) + "\n"
        with (self.run_folder(run_id) / JOURNAL).open("a", encoding="utf-8") as stream:
            stream.write(line)

    def forget_run(self, run_id: str) -> None:
        """Remove a run: its folder and its line. What it made stays, as long as something else refers to it."""
        self._db.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
        shutil.rmtree(self.run_folder(run_id), ignore_errors=True)

    def list_runs(self, *, use_case: str | None = None, limit: int = 50) -> tuple[RunSummary, ...]:
        """Return the newest runs first, all for a limit of -1; a run whose process is gone is shown as stopped."""
        rows = self._db.execute(
            "SELECT * FROM runs WHERE ?1 IS NULL OR use_case = ?1 COLLATE NOCASE ORDER BY sequence DESC LIMIT ?2",
            (use_case, limit),
        )
        return tuple(self._run_summary(row) for row in rows)

    def _run_summary(self, row: sqlite3.Row) -> RunSummary:
        fields = {name: row[name] for name in row.keys() if name != "sequence"}  # noqa: SIM118  a Row is no dict
        fields["status"] = self._status_now(RunStatus(row["status"]), row["run_id"])
        return RunSummary(**fields)

    def _status_now(self, status: RunStatus, run_id: str) -> RunStatus:
        is_gone = status is RunStatus.RUNNING and not self.is_run_alive(run_id) and not self._is_remote(run_id)
        return RunStatus.STOPPED if is_gone else status

    def _is_remote(self, run_id: str) -> bool:
        """Tell whether a service carries out the run; it goes on without a process of this machine."""
        try:
            data = json.loads((self.run_folder(run_id) / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(data, dict) and bool(data.get("remote"))

    def load_run(self, run_id: str) -> RunRecord:
        """Return the record of a run; ``latest`` and unambiguous beginnings of an id are understood.

        Raises:
            UsageError: no such run, or several.
            StoreError: its record is damaged.
        """
        path = self.run_folder(self.full_run_id(run_id)) / "run.json"
        try:
            record = RunRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
            journal = {step.name: step for step in _read_journal(path.with_name(JOURNAL))}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"run record {path} cannot be read: {error}") from error
        steps = tuple(journal.get(step.name, step) for step in record.steps)
        return replace(record, steps=steps, status=self._status_now(record.status, record.run_id))

    def full_run_id(self, run_id: str) -> str:
        """Return the id of the one run that `run_id` begins, or of the newest for ``latest``.

        Raises:
            UsageError: there is none, or there are several.
        """
        if run_id == "latest":
            rows = self._db.execute("SELECT run_id FROM runs ORDER BY sequence DESC LIMIT 1").fetchall()
        else:
            rows = self._db.execute(
                "SELECT run_id FROM runs WHERE substr(run_id, 1, length(?1)) = ?1 ORDER BY run_id LIMIT 3", (run_id,)
            ).fetchall()
            rows = [row for row in rows if row[0] == run_id] or rows
        if not rows:
            raise UsageError(f"no run '{run_id}' in {self.home}; mlops runs list shows what is there")
        if len(rows) > 1:
            raise UsageError(f"run '{run_id}' is ambiguous: {', '.join(row[0] for row in rows)}, ...; give more of it")
        return str(rows[0][0])


def _cached_step(row: sqlite3.Row) -> CachedStep:
    return CachedStep(
        key=row["key"],
        outputs=json.loads(row["outputs"]),
        components=json.loads(row["components"]),
        run_id=row["run_id"],
        duration_s=row["duration_s"],
    )


def _read_journal(path: Path) -> Iterator[StepRecord]:
    """Yield the complete lines of a journal; the last one may have been cut off when the driver was killed."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    for line in text[: text.rfind("\n") + 1].splitlines():
        yield StepRecord.from_json(json.loads(line))


def _as_text(path: str) -> str:
    """Return a path that may hold bytes which are no UTF-8 as text that SQLite takes."""
    return path.encode(errors="backslashreplace").decode()
