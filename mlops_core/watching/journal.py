"""The journal of arrivals and starts: one SQLite file, so that no start is lost or doubled whenever a process dies.

An arrival is pending until a start takes it. A rule has at most one start that is not finished; what arrives meanwhile
waits for the next one. Times are those of the caller, so that a recorded stream of events is replayed as it happened.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Self

    from mlops_core.watching.arrivals import Arrival
    from mlops_core.watching.rules import TriggerRule

_FORMAT = 1
_TABLES = """
CREATE TABLE arrivals (
    rule TEXT NOT NULL, identity TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL, sequencer TEXT NOT NULL,
    at REAL NOT NULL, start_id INTEGER, PRIMARY KEY (rule, identity)
) WITHOUT ROWID;
CREATE INDEX arrivals_that_wait ON arrivals (rule, at) WHERE start_id IS NULL;
CREATE INDEX arrivals_by_key ON arrivals (rule, key, sequencer);
CREATE TABLE starts (
    start_id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, run_id TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
    created REAL NOT NULL, ended REAL, data_digest TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX starts_by_rule ON starts (rule, status);
CREATE TABLE outputs (digest TEXT PRIMARY KEY, run_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY, state TEXT NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
"""


class Reception(StrEnum):
    """What an arrival means to a rule."""

    NEW = "new"
    DOUBLED = "doubled"
    """The same arrival was reported before."""
    SUPERSEDED = "superseded"
    """A later version of the object was reported before."""


class StartStatus(StrEnum):
    """How far a start is."""

    STARTED = "started"
    """Its run may exist; a start of this status holds back the next one of its rule."""
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """There was nothing to run: an earlier run had the same data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecord:
    """One start of a rule.

    Attributes:
        start_id: number of the start, in their order.
        rule: name of the rule.
        run_id: id of its run, chosen before the run exists.
        status: how far it is.
        created: when it was decided, in seconds since 1970.
        data_digest: of the data that the run reads; empty until it is known.
        note: one line about its end.
    """

    start_id: int
    rule: str
    run_id: str
    status: StartStatus
    created: float
    data_digest: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The arrivals that wait for the next start of a rule.

    Attributes:
        count: of arrivals.
        due_at: when the start is due, in seconds since 1970, if nothing else arrives.
        is_held: a start of the rule is not finished.
    """

    count: int
    due_at: float
    is_held: bool


class StartJournal:
    """The journal of one watcher or of one simulation."""

    def __init__(self, path: Path | None) -> None:
        """Open or create the journal at `path`; None keeps it in memory.

        Raises:
            StoreError: it cannot be read or written, or has another format.
        """
        self._path = path
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path or ":memory:", timeout=30, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a start that is recorded survives a power cut
            with self._transaction():
                version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
                if version not in (0, _FORMAT):
                    raise StoreError(f"journal {path} has format {version}; expected {_FORMAT}: update mlops")
                if version == 0:
                    for statement in _TABLES.split(";"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {_FORMAT}")
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"journal {path}: {error}; expected a file that can be written, made by mlops watch"
            ) from None

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- Arrivals -----------------------------------------------------------------------------------------

    def receive(
        self,
        arrivals: Iterable[tuple[Arrival, tuple[str, ...]]],
        *,
        files: Mapping[str, tuple[str, str]] | None = None,
        removed: Iterable[str] = (),
    ) -> list[tuple[Arrival, str, Reception]]:
        """Record arrivals with the names of the rules that accept them, in one transaction.

        Args:
            arrivals: what arrived, and the rules that accept it.
            files: path -> (state, digest) of files that were read, recorded together with what follows from them.
            removed: paths of files that are no longer there; those that waited for a start no longer wait.

        Returns:
            Each arrival and rule, and what the one means to the other.
        """
        received = []
        with self._transaction():
            for arrival, rules in arrivals:
                received += [(arrival, rule, self._receive(arrival, rule)) for rule in rules]
            self._db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?)",
                [(path, state, digest) for path, (state, digest) in (files or {}).items()],
            )
            gone = [(path,) for path in removed]
            self._db.executemany("DELETE FROM files WHERE path = ?", gone)
            self._db.executemany("DELETE FROM arrivals WHERE key = ? AND start_id IS NULL", gone)
        return received

    def _receive(self, arrival: Arrival, rule: str) -> Reception:
        values = (rule, arrival.identity, arrival.key, arrival.version, arrival.sequencer.ljust(32, "0"), arrival.at)
        later = (
            arrival.sequencer
            and self._db.execute(
                "SELECT 1 FROM arrivals WHERE rule = ? AND key = ? AND sequencer > ? LIMIT 1",
                (rule, arrival.key, values[4]),
            ).fetchone()
        )
        inserted = self._db.execute(
            "INSERT OR IGNORE INTO arrivals VALUES (?, ?, ?, ?, ?, ?, ?)", (*values, 0 if later else None)
        )
        if inserted.rowcount == 0:
            return Reception.DOUBLED
        return Reception.SUPERSEDED if later else Reception.NEW

    def known_files(self) -> dict[str, tuple[str, str]]:
        """Return path -> (state, digest) of the files that were read."""
        return {row["path"]: (row["state"], row["digest"]) for row in self._db.execute("SELECT * FROM files")}

    # --- Starts -------------------------------------------------------------------------------------------

    def waiting(self, rule: TriggerRule) -> Waiting | None:
        """Return what waits for the next start of a rule; None for nothing."""
        row = self._db.execute(
            "SELECT count(*) AS count, min(at) AS first, max(at) AS last FROM arrivals "
            "WHERE rule = ? AND start_id IS NULL",
            (rule.name,),
        ).fetchone()
        if not row["count"]:
            return None
        due = min(row["last"] + rule.quiet_s, row["first"] + rule.max_wait_s)
        return Waiting(count=row["count"], due_at=due, is_held=self.unfinished(rule.name) is not None)

    def start(self, rule: TriggerRule, *, run_id: str, now: float) -> StartRecord | None:
        """Take everything that waits into a new start if it is due, and return it.

        Returns:
            None while the rule has a start that is not finished, while more may arrive, and when nothing waits.
        """
        with self._transaction():
            waiting = self.waiting(rule)
            if waiting is None or waiting.is_held or now < waiting.due_at:
                return None
            row = self._db.execute(
                "INSERT INTO starts (rule, run_id, status, created) VALUES (?, ?, ?, ?)",
                (rule.name, run_id, StartStatus.STARTED, now),
            )
            self._db.execute(
                "UPDATE arrivals SET start_id = ? WHERE rule = ? AND start_id IS NULL", (row.lastrowid, rule.name)
            )
        return self.unfinished(rule.name)

    def note_data(self, start: StartRecord, digest: str) -> None:
        """Record the digest of the data of a start, before its run begins."""
        with self._transaction():
            self._db.execute("UPDATE starts SET data_digest = ? WHERE start_id = ?", (digest, start.start_id))

    def finish(self, start: StartRecord, status: StartStatus, *, now: float, note: str = "") -> None:
        """Record how a start ended; the next one of its rule may follow."""
        with self._transaction():
            self._db.execute(
                "UPDATE starts SET status = ?, ended = ?, note = ? WHERE start_id = ?",
                (status, now, note, start.start_id),
            )

    def release(self, start: StartRecord, *, now: float, note: str) -> None:
        """Record that a start could not begin; the arrivals that it took wait again."""
        with self._transaction():
            self._db.execute(
                "UPDATE starts SET status = ?, ended = ?, note = ? WHERE start_id = ?",
                (StartStatus.FAILED, now, note, start.start_id),
            )
            self._db.execute(
                "UPDATE arrivals SET start_id = NULL WHERE rule = ? AND start_id = ?", (start.rule, start.start_id)
            )

    def unfinished(self, rule: str) -> StartRecord | None:
        """Return the start of a rule that is not finished."""
        return self._first("rule = ? AND status = ?", rule, StartStatus.STARTED)

    def earlier_with(self, digest: str, *, rule: str) -> StartRecord | None:
        """Return the newest start of a rule that ended well with the same data."""
        return self._first("rule = ? AND status = ? AND data_digest = ?", rule, StartStatus.DONE, digest)

    def note_outputs(self, run_id: str, digests: Iterable[str]) -> None:
        """Record the SHA-256 of files that a run made: none of them is new data."""
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO outputs VALUES (?, ?)", [(each, run_id) for each in digests])

    def maker_of(self, digest: str) -> str:
        """Return the run that made a file of this SHA-256; empty for none."""
        row = self._db.execute("SELECT run_id FROM outputs WHERE digest = ?", (digest,)).fetchone()
        return str(row["run_id"]) if row else ""

    def starts(self) -> list[StartRecord]:
        """Return all starts, oldest first."""
        return [_start(row) for row in self._db.execute("SELECT * FROM starts ORDER BY start_id")]

    def keys_of(self, start: StartRecord) -> list[str]:
        """Return the keys of the objects that a start took."""
        rows = self._db.execute(
            "SELECT DISTINCT key FROM arrivals WHERE rule = ? AND start_id = ? ORDER BY key",
            (start.rule, start.start_id),
        )
        return [str(row["key"]) for row in rows]

    def _first(self, condition: str, *values: object) -> StartRecord | None:
        row = self._db.execute(
            f"SELECT * FROM starts WHERE {condition} ORDER BY start_id DESC LIMIT 1",  # noqa: S608  a constant
            values,
        ).fetchone()
        return _start(row) if row else None


def _start(row: sqlite3.Row) -> StartRecord:
    return StartRecord(
        start_id=row["start_id"],
        rule=row["rule"],
        run_id=row["run_id"],
        status=StartStatus(row["status"]),
        created=row["created"],
        data_digest=row["data_digest"],
        note=row["note"],
    )
