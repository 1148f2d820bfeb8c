"""Index of uploads to a prefix of an object store, kept in the workspace, so that interrupted uploads are resumed."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_EVERY_S = 0.5
"""Time between two commits: files sent after the last one are sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An object that the store has confirmed: path below the prefix, SHA-256 and size of its content, etag."""

    path: str
    sha256: str
    size: int
    etag: str


class Receipts:
    """The receipts of one prefix. Use it as a context manager, from one thread."""

    def __init__(self, folder: Path, place: str) -> None:
        """Open the receipts of `place`, an address in an object store, in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(place.encode()).hexdigest()[:32]
        self._db = sqlite3.connect(folder / f"{name}.db", timeout=30, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS receipts (path TEXT PRIMARY KEY, sha256 TEXT, size INTEGER, etag TEXT) "
            "WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS uploads (path TEXT PRIMARY KEY, sha256 TEXT, upload_id TEXT) WITHOUT ROWID"
        )
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        """Return the receipts."""
        return self

    def __exit__(self, *_: object) -> None:
        """Commit and close."""
        self._db.commit()
        self._db.close()

    def add(self, receipt: Receipt) -> None:
        """Keep a receipt."""
        self._db.execute(
            "INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?)",
            (receipt.path, receipt.sha256, receipt.size, receipt.etag),
        )
        if time.monotonic() - self._written > _EVERY_S:
            self._db.commit()
            self._written = time.monotonic()

    def add_all(self, receipts: Iterable[Receipt]) -> None:
        """Keep several receipts."""
        self._db.executemany(
            "INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?)",
            ((each.path, each.sha256, each.size, each.etag) for each in receipts),
        )
        self._db.commit()

    def get(self, path: str) -> Receipt | None:
        """Return the receipt of a path."""
        row = self._db.execute("SELECT path, sha256, size, etag FROM receipts WHERE path = ?", (path,)).fetchone()
        return Receipt(path=row[0], sha256=row[1], size=row[2], etag=row[3]) if row else None

    def remove(self, paths: Iterable[str]) -> None:
        """Forget removed objects."""
        self._db.executemany("DELETE FROM receipts WHERE path = ?", ((path,) for path in paths))
        self._db.commit()

    # --- Uploads in parts ---------------------------------------------------------------------------------

    def begin_upload(self, path: str, *, sha256: str, upload_id: str) -> None:
        """Record the start of an upload in parts."""
        self._db.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)", (path, sha256, upload_id))
        self._db.commit()

    def open_upload(self, path: str) -> tuple[str, str] | None:
        """Return (SHA-256 of the file, id of the upload) of an unfinished upload."""
        row = self._db.execute("SELECT sha256, upload_id FROM uploads WHERE path = ?", (path,)).fetchone()
        return (row[0], row[1]) if row else None

    def end_upload(self, path: str) -> None:
        """Forget an upload that is complete or was aborted."""
        self._db.execute("DELETE FROM uploads WHERE path = ?", (path,))
        self._db.commit()
