"""The workspace on disk: runs, artifacts by content digest, the step cache and file digests (SQLite + files).

``mlops.db`` is SQLite in WAL mode; ``objects/ab/abcd.../`` holds one artifact (a folder) under the digest of its
content; ``runs/<run-id>/`` one run; ``datasets/<name>/`` fetched data; ``work/`` what is not finished. Files
appear by rename, so a reader never sees a part of one, and several processes may share a workspace.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mlops_core.errors import StoreError, UsageError
from mlops_core.records import RunRecord, RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, use_case TEXT NOT NULL, status TEXT NOT NULL, created TEXT NOT NULL,
    runner TEXT NOT NULL, pid INTEGER NOT NULL, duration_s REAL NOT NULL DEFAULT 0, model_version INTEGER
);
CREATE TABLE step_cache (
    key TEXT PRIMARY KEY, use_case TEXT NOT NULL, step TEXT NOT NULL, outputs TEXT NOT NULL,
    components TEXT NOT NULL, run_id TEXT NOT NULL, duration_s REAL NOT NULL, created REAL NOT NULL
);
CREATE INDEX step_cache_by_step ON step_cache (use_case, step, created);
CREATE TABLE file_digests (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    sha256 TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE model_versions (
    use_case TEXT NOT NULL, version INTEGER NOT NULL, run_id TEXT NOT NULL, created TEXT NOT NULL,
    artifact TEXT NOT NULL, status TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (use_case, version)
) WITHOUT ROWID;
"""


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


class Store:
    """One workspace, opened. Use as a context manager, from one thread."""

    def __init__(self, home: Path) -> None:
        """Create or open the workspace in the folder `home`.

        Raises:
            StoreError: it cannot be created, or a newer version wrote it.
        """
        self.home = home.absolute()
        self.objects = self.home / "objects"
        self.runs = self.home / "runs"
        self.datasets = self.home / "datasets"
        self.work = self.home / "work"
        try:
            for folder in (self.objects, self.runs, self.datasets, self.work):
                folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.home / "mlops.db", timeout=30, isolation_level=None)
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
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        with self.transaction():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise StoreError(
                    f"workspace {self.home} has version {version}; this mlops reads version {SCHEMA_VERSION}; "
                    "use the mlops that wrote it, or set MLOPS_HOME to another folder"
                )

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

    # --- Artifacts ----------------------------------------------------------------------------------------

    def artifact_path(self, digest: str) -> Path:
        """Return the folder in which the artifact `digest` is, or would be."""
        return self.objects / digest[:2] / digest

    def has_artifact(self, digest: str) -> bool:
        """Tell whether the artifact is there."""
        return self.artifact_path(digest).is_dir()

    def add_artifact(self, folder: Path) -> str:
        """Move `folder` (in this workspace) into the store and return its digest.

        An artifact that is there already is kept, and `folder` is removed. The files become read only.
        """
        from mlops_core.datasets import digest_tree

        digest = digest_tree(folder)
        target = self.artifact_path(digest)
        if target.is_dir():
            shutil.rmtree(folder)
            return digest
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        target.parent.mkdir(exist_ok=True)
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # not: another process was faster with the same content
                raise
            shutil.rmtree(folder)
        return digest

    def work_folder(self, prefix: str) -> Path:
        """Return a new, private folder for unfinished work."""
        return Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self.work))

    # --- The step cache -----------------------------------------------------------------------------------

    def cached_step(self, key: str) -> CachedStep | None:
        """Return the step of this key, if all of its artifacts are still there."""
        row = self._db.execute("SELECT * FROM step_cache WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        cached = _cached_step(row)
        return cached if all(map(self.has_artifact, cached.outputs.values())) else None

    def latest_step(self, use_case: str, step: str) -> CachedStep | None:
        """Return what was last done for a step of this name, with whatever key."""
        row = self._db.execute(
            "SELECT * FROM step_cache WHERE use_case = ? AND step = ? ORDER BY created DESC LIMIT 1", (use_case, step)
        ).fetchone()
        return _cached_step(row) if row else None

    def remember_step(self, use_case: str, step: str, cached: CachedStep) -> None:
        """Keep what a step did under its key."""
        self._db.execute(
            "INSERT OR REPLACE INTO step_cache VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                cached.key,
                use_case,
                step,
                json.dumps(dict(cached.outputs)),
                json.dumps(dict(cached.components)),
                cached.run_id,
                cached.duration_s,
                time.time(),
            ),
        )

    # --- File digests (a `StatCache` of mlops_core.datasets) ----------------------------------------------

    def lookup(self, path: str, *, size: int, mtime_ns: int, inode: int) -> str | None:
        """Return the digest of a file that has not changed since it was stored."""
        row = self._db.execute(
            "SELECT sha256 FROM file_digests WHERE path = ? AND size = ? AND mtime_ns = ? AND inode = ?",
            (path, size, mtime_ns, inode),
        ).fetchone()
        return str(row[0]) if row else None

    def store(self, path: str, *, size: int, mtime_ns: int, inode: int, sha256: str) -> None:
        """Keep the digest of a file."""
        self._db.execute(
            "INSERT OR REPLACE INTO file_digests VALUES (?, ?, ?, ?, ?)", (path, size, mtime_ns, inode, sha256)
        )

    # --- Runs ---------------------------------------------------------------------------------------------

    def run_folder(self, run_id: str) -> Path:
        """Return the folder of a run."""
        return self.runs / run_id

    def save_run(self, record: RunRecord) -> None:
        """Write ``run.json`` and the line of ``runs list``."""
        folder = self.run_folder(record.run_id)
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "run.json", json.dumps(record.to_json(), indent=1, ensure_ascii=False) + "\n")
        self._db.execute(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.run_id,
                record.use_case,
                record.status,
                record.created,
                record.runner,
                os.getpid(),
                record.duration_s,
                record.model_version,
            ),
        )

    def list_runs(self, *, use_case: str | None = None, limit: int = 50) -> tuple[RunSummary, ...]:
        """Return the newest runs first; a run whose process is gone is shown as stopped."""
        rows = self._db.execute(
            "SELECT * FROM runs WHERE ?1 IS NULL OR use_case = ?1 COLLATE NOCASE "
            "ORDER BY created DESC, run_id DESC LIMIT ?2",
            (use_case, limit),
        )
        return tuple(_run_summary(row) for row in rows)

    def load_run(self, run_id: str) -> RunRecord:
        """Return the record of a run; ``latest`` and unambiguous beginnings of an id are understood.

        Raises:
            UsageError: no such run, or several.
            StoreError: its record is damaged.
        """
        path = self.run_folder(self.full_run_id(run_id)) / "run.json"
        try:
            record = RunRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"run record {path} cannot be read: {error}") from error
        return record

    def full_run_id(self, run_id: str) -> str:
        """Return the id of the one run that `run_id` begins, or of the newest for ``latest``.

        Raises:
            UsageError: there is none, or there are several.
        """
        if run_id == "latest":
            rows = self._db.execute("SELECT run_id FROM runs ORDER BY created DESC, run_id DESC LIMIT 1").fetchall()
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


def _run_summary(row: sqlite3.Row) -> RunSummary:
    status = RunStatus(row["status"])
    if status is RunStatus.RUNNING and not _is_alive(row["pid"]):
        status = RunStatus.STOPPED
    return RunSummary(
        run_id=row["run_id"],
        use_case=row["use_case"],
        status=status,
        created=row["created"],
        runner=row["runner"],
        duration_s=row["duration_s"],
        model_version=row["model_version"],
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the whole new one, also after a crash."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
