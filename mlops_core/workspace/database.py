"""The file ``mlops.db``: opening it where nothing can be written, and what SQLite's errors mean for the user."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError
from mlops_core.reading import fault_of

if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE = "mlops.db"
HEAD_FILE = "ledger-head.json"
BUSY_S = 30.0
"""How long a process waits for another one that writes."""
_LOG = "-wal"
_LITTLE_BYTES = 1 << 20
_LONGEST_PATH_BYTES = 504
"""SQLite's limit of 512 for the name of the journal beside it; links are resolved first, so none can shorten it."""
_ELSEWHERE = "set MLOPS_HOME to another folder"
_FULL = f"make room or {_ELSEWHERE}; finished steps are kept"
_READ_ONLY = f"it can be read, but not written: make it writable or {_ELSEWHERE}"
_DAMAGED = "mend it with: mlops doctor --repair"
_RESTORE = f"restore {DATABASE} from a backup"
RENEW = f"{_RESTORE}, or make a new one, without models: mlops doctor --repair"
_ADVICE: Mapping[int, str] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
}
_SQLITE_ADVICE: Mapping[int, str] = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_BUSY: "another process is writing in it; try again",
    sqlite3.SQLITE_CORRUPT: f"{_RESTORE}, or {_ELSEWHERE}",
    sqlite3.SQLITE_NOTADB: RENEW,
    sqlite3.SQLITE_ERROR: _DAMAGED,  # a table or a column is missing
}


def loss_of_database(home: Path) -> str:
    """Return why the database that a workspace had is not there any more, or is not a file; empty if nothing is wrong.

    SQLite would take an empty or a missing file for a new database: without runs, models and approvals.
    """
    path = home / DATABASE
    fault = "a folder" if path.is_dir() else fault_of(path)
    if fault:
        return f"{DATABASE} is {fault}"
    try:
        what = "" if path.stat().st_size else "empty"
    except FileNotFoundError:
        what = "missing"
    except OSError:  # opening it says why
        return ""
    return f"{DATABASE} is {what}, though {trace}" if what and (trace := _trace_of_database(home)) else ""


def check_length(home: Path) -> None:
    """Refuse a workspace whose database SQLite cannot open, which it would not explain.

    Raises:
        StoreError: its path is too long.
    """
    length = len(os.fsencode(os.path.realpath(home / DATABASE)))
    if length > _LONGEST_PATH_BYTES:
        raise StoreError(
            f"workspace {str(home)[:80]}...: the path of its {DATABASE} has {length} bytes; SQLite opens paths of at "
            f"most {_LONGEST_PATH_BYTES}: use a shorter one (--workspace or MLOPS_HOME)"
        )


def _trace_of_database(home: Path) -> str:
    """Return what says that a workspace had a database; empty for a new workspace."""
    if (home / HEAD_FILE).exists():
        return f"{HEAD_FILE} knows entries of its ledger"
    with contextlib.suppress(OSError):
        for run in (home / "runs").iterdir():
            if (run / "run.json").exists():
                return f"runs/{run.name} has a record"
    return ""


def is_no_database(path: Path) -> bool:
    """Return whether a file is not a database at all, so that nothing in it can be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            db.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        return _primary_code(error) == sqlite3.SQLITE_NOTADB
    return False


def workspace_error(home: Path, error: OSError | sqlite3.Error, *, is_new: bool = False) -> StoreError:
    """Return a failure to read or write a workspace, with its true cause and what to do.

    Args:
        home: the folder of the workspace.
        error: the failure.
        is_new: there was no workspace before.
    """
    if not is_new and not (home / DATABASE).exists():
        return disappeared(home)
    if isinstance(error, sqlite3.Error):
        advice = _SQLITE_ADVICE.get(_primary_code(error)) or _advice_by_disk(home)
        return StoreError(f"workspace {home}: {DATABASE}: {error}; {advice}")
    return StoreError(f"workspace {home}: {error}; {_ADVICE.get(error.errno or 0, _ELSEWHERE)}")


def _advice_by_disk(home: Path) -> str:
    """Return what to do about an error of the disk, which SQLite does not describe."""
    disk = os.statvfs(next(path for path in (home, *home.parents) if path.exists()))
    if disk.f_flag & os.ST_RDONLY:
        return _READ_ONLY
    return _FULL if disk.f_bavail * disk.f_frsize < _LITTLE_BYTES else _ELSEWHERE


def disappeared(home: Path) -> StoreError:
    """Return the error for a workspace that was removed or replaced while it was in use."""
    return StoreError(
        f"workspace {home} has disappeared: something removed or replaced it while it was in use; what was done in it "
        "is lost"
    )


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another process has locked the database, so that it is worth waiting."""
    return _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a database in whose folder nothing can be written.

    A database in WAL mode has a second file while it is in use or after a crash. Where SQLite cannot use it in its
    place, both are copied; without it, the file alone is complete.

    Raises:
        sqlite3.Error: it cannot be read.
        OSError: it cannot be copied.
    """
    log = path.with_name(f"{path.name}{_LOG}")
    if not log.exists() or log.stat().st_size == 0:
        return sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        db.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        db.close()
        return _copied(path, log)
    return db


def copy_in_memory(db: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy of an open database in memory, and close it: an old one that cannot be migrated in its place."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    memory.row_factory = db.row_factory
    db.backup(memory)
    db.close()
    return memory


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    """Return a copy of a database and its log in memory."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    with tempfile.TemporaryDirectory() as folder:
        for part in (path, log):
            shutil.copyfile(part, Path(folder) / part.name)
        copy = sqlite3.connect(Path(folder) / path.name)
        copy.backup(memory)
        copy.close()
    memory.execute("PRAGMA query_only = ON")
    return memory


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
