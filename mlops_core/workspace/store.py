"""A workspace on disk: opening it, its folders, and the transactions of its database.

``mlops.db`` is SQLite in WAL mode; ``objects/`` holds artifacts, ``manifests/`` their files, ``runs/<run-id>/`` a run,
``datasets/<name>/`` fetched data, ``work/`` unfinished work. Files appear by rename, so a reader never sees part of
one, and several processes may share a workspace. Each subject has a class, which owns its folder or table.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Self

from mlops_core.errors import StoreError
from mlops_core.workspace.artifacts import ArtifactStore
from mlops_core.workspace.file_digests import FileDigestCache
from mlops_core.workspace.files import new_folder
from mlops_core.workspace.manifests import ManifestStore
from mlops_core.workspace.runs import RunStore
from mlops_core.workspace.schema import SCHEMA_VERSION, migrate
from mlops_core.workspace.step_cache import StepCache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUSY_S = 30.0
"""How long a process waits for another one that writes."""


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
        """Create or open the workspace in the folder `home`.

        Raises:
            StoreError: the workspace cannot be created, or a newer version of mlops wrote it.
        """
        self.home = home.absolute()
        self.datasets = self.home / "datasets"
        self.work = self.home / "work"
        self.manifests = ManifestStore(self.home / "manifests")
        self.artifacts = ArtifactStore(self.home / "objects", manifests=self.manifests, work=self.work)
        runs = self.home / "runs"
        try:
            for folder in (self.artifacts.root, self.manifests.root, runs, self.datasets, self.work):
                folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.home / "mlops.db", timeout=_BUSY_S, isolation_level=None)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"workspace {self.home} cannot be used: {error}; set MLOPS_HOME to another folder"
            ) from error
        self.runs = RunStore(runs, self._db)
        self.step_cache = StepCache(self._db)
        self.file_digests = FileDigestCache(self._db)

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
            migrate(self._db, version=version)

    def _use_write_ahead_log(self) -> None:
        """Switch a new database to WAL; SQLite refuses at once while another process does so, hence the retries."""
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
        """Hold the write lock of the database; commit on exit, roll back on an error."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def work_folder(self, prefix: str) -> Path:
        """Create a private folder for unfinished work; housekeeping removes what dead processes left behind."""
        return new_folder(self.work, prefix)
