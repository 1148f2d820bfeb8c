"""Digests of files that were read before, by path and state of the file (table ``file_digests``).

The column ``path`` holds a digest of the path.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from typing import TYPE_CHECKING

from mlops_core.workspace.database import BUSY_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.datasets.tree_walk import FileState

_RACY_NS = 50_000_000
"""A file that changed this shortly before it was hashed may change again without a new time."""
_WAIT_MS = 200
"""How long to wait for a process that writes: reading a few files again costs little more."""


class FileDigestCache:
    """The file digests of one workspace: a `StatCache` of `mlops_core.datasets.digests`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Use an open database of the present schema."""
        self._db = database

    def lookup(self, path: str, state: FileState) -> str | None:
        """Return the digest of a file that has not changed since it was stored."""
        row = self._db.execute(
            "SELECT sha256 FROM file_digests "
            "WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ? AND inode = ?",
            (_key(path), state.size, state.mtime_ns, state.ctime_ns, state.inode),
        ).fetchone()
        return str(row[0]) if row else None

    def lookup_all(self, states: Mapping[str, FileState]) -> dict[str, str]:
        """Return the digests, by path, of the files that have not changed since they were stored."""
        by_key = {_key(path): path for path in states}
        rows = self._db.execute(
            "SELECT path, size, mtime_ns, ctime_ns, inode, sha256 FROM file_digests "
            "WHERE path IN (SELECT value FROM json_each(?))",
            (json.dumps(list(by_key)),),
        )
        known = ((by_key[key], tuple(state), sha256) for key, *state, sha256 in rows)
        return {path: sha256 for path, state, sha256 in known if states[path] == state}

    def store(self, digests: Sequence[tuple[str, FileState, str]]) -> None:
        """Keep the digests of files, except those that changed so shortly ago that a next change could look the same.

        A database that cannot be written now, because it is read-only or full or another process writes it, is no
        reason to stop: the files will be read again.
        """
        latest = time.time_ns() - _RACY_NS
        rows = [
            (_key(path), state.size, state.mtime_ns, state.ctime_ns, state.inode, sha256)
            for path, state, sha256 in digests
            if state.ctime_ns <= latest
        ]
        self._db.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT OR REPLACE INTO file_digests VALUES (?, ?, ?, ?, ?, ?)", rows)
                self._db.execute("COMMIT")
            except sqlite3.OperationalError:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        self._db.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")


def _key(path: str) -> str:
    """Return what is stored of a path: a digest, because a folder's name may hold the value of a secret variable."""
    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()
