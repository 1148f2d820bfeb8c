"""The file of the index, and bringing it up to date with the runs of the workspace."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.web.index.facts import read_indexed_facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.web.index.facts import IndexedFacts
    from mlops_core.workspace.store import Store

INDEX_FILE = "run-index-1.db"
"""In the folder of the workspace; another version of the index has a file of its own."""
ATTACHED = "found"
"""Name under which the index is attached to the database of the workspace."""
_BUSY_S = 10.0
_BATCH = 25
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (
    id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, stamp TEXT NOT NULL, metric TEXT, value REAL, unit TEXT,
    dataset TEXT NOT NULL, dataset_name TEXT NOT NULL, dataset_facts TEXT NOT NULL, has_search INTEGER NOT NULL,
    problem TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS settings (
    name INTEGER NOT NULL, fact INTEGER NOT NULL, value INTEGER NOT NULL, number REAL, PRIMARY KEY (name, fact)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS metrics (
    name INTEGER NOT NULL, fact INTEGER NOT NULL, value REAL NOT NULL, PRIMARY KEY (name, fact)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS settings_by_fact ON settings (fact);
CREATE INDEX IF NOT EXISTS metrics_by_fact ON metrics (fact);
CREATE INDEX IF NOT EXISTS facts_by_dataset ON facts (dataset);
CREATE INDEX IF NOT EXISTS facts_by_search ON facts (has_search) WHERE has_search
"""
STAMP = "runs.status || ' ' || runs.duration_s || ' ' || coalesce(runs.model_version, '')"
"""What changes in the row of a run when there is more to know about it."""


class RunIndex:
    """The index of one workspace.

    Attributes:
        path: its file.
    """

    def __init__(self, home: Path, *, path: Path | None = None) -> None:
        """Use the index in the folder of the workspace, or a temporary one where nothing can be written.

        Args:
            home: folder of the workspace.
            path: an index that another process has made, in place of that in the workspace.
        """
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.path = path or home / INDEX_FILE
        try:
            self._create()
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):  # damaged: it is derived, so make it again
                self.path.unlink(missing_ok=True)
                self._create()
                return
            self._temporary = tempfile.TemporaryDirectory(prefix="mlops-ui-")
            self.path = Path(self._temporary.name) / INDEX_FILE
            self._create()

    def close(self) -> None:
        """Remove a temporary index."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def attach(self, store: Store) -> None:
        """Make the tables of the index available to queries of the workspace's database, as ``found.facts``."""
        store.attach(self.path, name=ATTACHED)

    def count_stale(self, store: Store) -> int:
        """Return how many runs are not in the index, or have changed since; the index is attached to `store`."""
        with store.reading() as db:
            return int(db.execute(f"SELECT count(*) {_STALE}").fetchone()[0])

    def update(self, store: Store, *, limit: int = -1) -> int:
        """Index up to `limit` runs that are missing or have changed (-1: all), newest first; return how many.

        Args:
            store: the workspace, with the index attached.
            limit: the most runs to read.
        """
        count = 0
        with self._opened() as index:
            while limit < 0 or count < limit:
                batch = _BATCH if limit < 0 else min(_BATCH, limit - count)
                with store.reading() as db:
                    rows = db.execute(
                        f"SELECT runs.run_id, {STAMP} {_STALE} ORDER BY runs.sequence DESC LIMIT ?", (batch,)
                    ).fetchall()
                if not rows:
                    break
                found = [(run_id, stamp, read_indexed_facts(store.runs.folder(run_id))) for run_id, stamp in rows]
                with _transaction(index):
                    for run_id, stamp, facts in found:
                        _write(index, run_id, stamp, facts)
                count += len(rows)
        return count

    def forget_removed(self, store: Store) -> None:
        """Remove what is indexed about runs that the workspace does not have any more."""
        with store.reading() as db:
            gone = db.execute(
                f"SELECT id FROM {ATTACHED}.facts WHERE run_id NOT IN (SELECT run_id FROM runs)"
            ).fetchall()
        if gone:
            with self._opened() as index, _transaction(index):
                for (fact,) in gone:
                    _delete(index, fact)

    def _create(self) -> None:
        with self._opened() as index:
            index.execute("PRAGMA journal_mode = WAL")
            for statement in _TABLES.split(";"):
                index.execute(statement)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        index = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        try:
            index.execute("PRAGMA synchronous = OFF")  # derived: what a crash damages is made again
            yield index
        finally:
            index.close()


_STALE = (
    f"FROM main.runs AS runs LEFT JOIN {ATTACHED}.facts AS facts ON facts.run_id = runs.run_id "
    f"WHERE facts.id IS NULL OR facts.stamp != {STAMP}"
)


def _write(index: sqlite3.Connection, run_id: str, stamp: str, facts: IndexedFacts) -> None:
    known = index.execute("SELECT id FROM facts WHERE run_id = ?", (run_id,)).fetchone()
    if known is not None:
        _delete(index, known[0])
    metric = next(iter(facts.metrics), None)
    fact = index.execute(
        "INSERT INTO facts (run_id, stamp, metric, value, unit, dataset, dataset_name, dataset_facts, has_search, "
        "problem) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run_id,
            stamp,
            metric,
            facts.metrics[metric] if metric is not None else None,
            facts.units.get(metric, "") if metric is not None else None,
            facts.dataset,
            facts.dataset_name,
            facts.dataset_facts,
            facts.has_search,
            facts.problem,
        ),
    ).lastrowid
    index.executemany(
        "INSERT INTO settings (name, fact, value, number) VALUES (?, ?, ?, ?)",
        [(_text(index, name), fact, _text(index, value), number_of(value)) for name, value in facts.settings.items()],
    )
    index.executemany(
        "INSERT INTO metrics (name, fact, value) VALUES (?, ?, ?)",
        [(_text(index, name), fact, value) for name, value in facts.metrics.items()],
    )


def _delete(index: sqlite3.Connection, fact: int) -> None:
    for table, column in (("settings", "fact"), ("metrics", "fact"), ("facts", "id")):
        index.execute(f"DELETE FROM {table} WHERE {column} = ?", (fact,))


def _text(index: sqlite3.Connection, text: str) -> int:
    text = text.encode("utf-8", "backslashreplace").decode()
    row = index.execute("SELECT id FROM texts WHERE text = ?", (text,)).fetchone()
    return int(row[0] if row else index.execute("INSERT INTO texts (text) VALUES (?)", (text,)).lastrowid or 0)


def number_of(text: str) -> float | None:
    """Return the number in a text; None if it is not one, and for one that is not finite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number - number == 0 else None


@contextlib.contextmanager
def _transaction(index: sqlite3.Connection) -> Iterator[None]:
    index.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        index.execute("ROLLBACK")
        raise
    index.execute("COMMIT")
