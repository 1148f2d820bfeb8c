"""A workspace on disk: opening it, its folders, and the transactions of its database.

``mlops.db`` is SQLite in WAL mode; ``objects/`` holds artifacts, ``manifests/`` their files, ``runs/<run-id>/`` a run,
``datasets/<name>/`` fetched data, ``work/`` unfinished work. Files appear by rename, so a reader never sees part of
one, and several processes may share a workspace. Each subject has a class, which owns its folder or table.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Self

from mlops_core.errors import MlopsError, StoreError
from mlops_core.workspace.artifacts import ArtifactStore
from mlops_core.workspace.database import (
    BUSY_S,
    DATABASE,
    RENEW,
    check_length,
    copy_in_memory,
    disappeared,
    is_busy,
    loss_of_database,
    open_for_reading,
    workspace_error,
)
from mlops_core.workspace.file_digests import FileDigestCache
from mlops_core.workspace.files import claim, new_folder
from mlops_core.workspace.ledger import ChainHead, keep_head
from mlops_core.workspace.manifests import ManifestStore
from mlops_core.workspace.runs import RunStore
from mlops_core.workspace.schema import SCHEMA_VERSION, migrate
from mlops_core.workspace.step_cache import StepCache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Store:
    """An open workspace. Use it as a context manager, from one thread.

    Attributes:
        home: the folder of the workspace, absolute.
        datasets: the folder of fetched data sets.
        work: the folder of unfinished work.
        artifacts: the folders that steps wrote, by digest.
        manifests: the files of artifacts and data sets, by digest.
        runs: the records of runs.
        step_cache: the outputs of executed steps, by step key.
        file_digests: the digests of files that were read before.
    """

    def __init__(self, home: Path) -> None:
        """Create or open the workspace in the folder `home`; one that cannot be written is opened for reading.

        Raises:
            StoreError: the workspace cannot be created or read, its path is too long, its database is lost, or a newer
                version of mlops wrote it.
        """
        self.home = home.absolute()
        self.datasets = self.home / "datasets"
        self.work = self.home / "work"
        self.manifests = ManifestStore(self.home / "manifests")
        self.artifacts = ArtifactStore(self.home / "objects", manifests=self.manifests, work=self.work)
        runs = self.home / "runs"
        self._claims: dict[Path, int] = {}
        self._head = ChainHead()
        self._not_writable: OSError | sqlite3.Error | None = None
        check_length(self.home)
        if loss := loss_of_database(self.home):
            raise StoreError(f"workspace {self.home}: {loss}; {RENEW}")
        is_new = not (self.home / DATABASE).exists()
        try:
            for folder in (self.artifacts.root, self.manifests.root, runs, self.datasets, self.work):
                self._make(folder)
            self._db = self._opened()
        except (OSError, sqlite3.Error) as error:
            raise workspace_error(self.home, error, is_new=is_new) from error
        self._identity = self._present_identity()
        self.runs = RunStore(runs, self._db)
        self.step_cache = StepCache(self._db)
        self.file_digests = FileDigestCache(self._db)

    @property
    def is_there(self) -> bool:
        """Whether the workspace is the one that was opened; something may remove or replace it while it is in use."""
        return self._identity is not None and self._present_identity() == self._identity

    def _present_identity(self) -> tuple[int, int] | None:
        """Return device and inode of the database; None if there is none."""
        with contextlib.suppress(OSError):
            found = (self.home / DATABASE).stat()
            return found.st_dev, found.st_ino
        return None

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Close the database.

        Raises:
            StoreError: in place of an error of the database, and of any other where the workspace is gone.
        """
        self.close()
        if isinstance(error, MlopsError | OSError) and not self.is_there:
            raise disappeared(self.home) from error
        if isinstance(error, sqlite3.Error):
            raise workspace_error(self.home, error) from error

    def close(self) -> None:
        """Close the database and give up what `work_folder` created."""
        self._db.close()
        while self._claims:
            os.close(self._claims.popitem()[1])

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if not (self.home / DATABASE).exists():
                raise
            self._not_writable = error

    def _opened(self) -> sqlite3.Connection:
        path = self.home / DATABASE
        try:
            return self._prepared(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None))
        except sqlite3.OperationalError as error:
            if is_busy(error) or not path.exists():
                raise
            self._not_writable = self._not_writable or error
        return self._prepared(open_for_reading(path))

    def _prepared(self, db: sqlite3.Connection) -> sqlite3.Connection:
        try:
            db.row_factory = sqlite3.Row
            if self._not_writable is None:
                _use_write_ahead_log(db)
            db.execute("PRAGMA synchronous = NORMAL")
            if _version(db) != SCHEMA_VERSION:
                if self._not_writable is not None:
                    db = copy_in_memory(db)
                self._migrate(db)
            if self._not_writable is not None:
                db.execute("PRAGMA query_only = ON")  # a copy in memory could be written, to no effect
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # reads the file, where a version does not
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        with _transaction(db, "BEGIN IMMEDIATE"):
            version = _version(db)
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"workspace {self.home} has version {version}; this mlops reads version {SCHEMA_VERSION}; "
                    "use the mlops that wrote it, or set MLOPS_HOME to another folder"
                )
            migrate(db, version=version)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock of the database; commit on exit, to the disk, and roll back on an error.

        Raises:
            StoreError: the workspace can only be read.
        """
        if self._not_writable is not None:
            raise workspace_error(self.home, self._not_writable)
        self._db.execute("PRAGMA synchronous = FULL")  # a decision survives a power failure
        try:
            with _transaction(self._db, "BEGIN IMMEDIATE"):
                yield self._db
        finally:
            self._db.execute("PRAGMA synchronous = NORMAL")
        self._head = keep_head(self.home, self._db, kept=self._head)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read one state of the database; neither waits for a process that writes nor makes one wait."""
        with _transaction(self._db, "BEGIN"):
            yield self._db

    def attach(self, path: Path, *, name: str) -> None:
        """Make the tables of another database available to `reading`, as ``name.table``."""
        self._db.execute(f"ATTACH DATABASE ? AS {name}", (str(path),))

    def work_folder(self, prefix: str) -> Path:
        """Create a private folder for unfinished work, which is this process's until it ends or the folder is removed.

        Housekeeping removes what dead processes left behind.
        """
        folder = new_folder(self.work, prefix)
        self._claims[folder] = claim(folder)
        return folder

    def remove_work_folder(self, folder: Path) -> None:
        """Remove a folder that `work_folder` created."""
        shutil.rmtree(folder, ignore_errors=True)
        descriptor = self._claims.pop(folder, None)
        if descriptor is not None:
            os.close(descriptor)


def _use_write_ahead_log(db: sqlite3.Connection) -> None:
    """Switch a new database to WAL; SQLite refuses at once while another process does so, hence the retries."""
    end = time.monotonic() + BUSY_S
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    db.execute(begin)
    try:
        yield
    except BaseException:
        if db.in_transaction:  # SQLite itself rolls back when the disk is full
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
