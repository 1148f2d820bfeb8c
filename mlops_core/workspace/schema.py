"""The tables of a workspace's database, and the migrations from older versions.

A migration is a script from one version to the next. It runs in the transaction that raises the version, so a
workspace is never between two; scripts are only ever added.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCHEMA_VERSION = 5

_VERSION_1 = """
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
) WITHOUT ROWID
"""

# Version 2: an order that does not depend on the clock (sequence); liveness by a lock instead of a process id; the
# time of the last change of a file's state; the ledger, from which approvals and aliases follow.
_VERSION_2 = """
CREATE TABLE runs_2 (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE, use_case TEXT NOT NULL,
    status TEXT NOT NULL, created TEXT NOT NULL, runner TEXT NOT NULL, duration_s REAL NOT NULL DEFAULT 0,
    model_version INTEGER
);
INSERT INTO runs_2 (run_id, use_case, status, created, runner, duration_s, model_version)
    SELECT run_id, use_case, status, created, runner, duration_s, model_version FROM runs ORDER BY created, run_id;
DROP TABLE runs;
ALTER TABLE runs_2 RENAME TO runs;
CREATE TABLE step_cache_2 (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, use_case TEXT NOT NULL, step TEXT NOT NULL,
    outputs TEXT NOT NULL, components TEXT NOT NULL, run_id TEXT NOT NULL, duration_s REAL NOT NULL
);
INSERT INTO step_cache_2 (key, use_case, step, outputs, components, run_id, duration_s)
    SELECT key, use_case, step, outputs, components, run_id, duration_s FROM step_cache ORDER BY created;
DROP TABLE step_cache;
ALTER TABLE step_cache_2 RENAME TO step_cache;
CREATE INDEX step_cache_by_step ON step_cache (use_case, step, sequence);
DROP TABLE file_digests;
CREATE TABLE file_digests (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, sha256 TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE ledger (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, use_case TEXT NOT NULL,
    subject TEXT NOT NULL, value TEXT NOT NULL, previous TEXT NOT NULL, why TEXT NOT NULL
);
CREATE INDEX ledger_by_subject ON ledger (use_case, subject, sequence);
CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_is_not_shortened BEFORE DELETE ON ledger
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
INSERT INTO ledger (at, who, use_case, subject, value, previous, why)
    SELECT created, 'mlops', use_case, 'version ' || version, status, '', 'registered by run ' || run_id
    FROM model_versions ORDER BY created, version;
ALTER TABLE model_versions DROP COLUMN status
"""

# Version 3: what is looked up is found through an index: a model by its identity, use cases whose names are given in
# another case, and the artifacts that a run needs (a JSON list; NULL where only the record of the run says).
_VERSION_3 = """
ALTER TABLE runs ADD COLUMN artifacts TEXT;
CREATE INDEX runs_by_use_case ON runs (use_case COLLATE NOCASE, sequence);
ALTER TABLE model_versions ADD COLUMN identity TEXT NOT NULL DEFAULT '';
UPDATE model_versions SET identity = model_identity(record);
CREATE INDEX model_versions_by_identity ON model_versions (identity);
CREATE INDEX model_versions_by_use_case ON model_versions (use_case COLLATE NOCASE, version);
CREATE INDEX ledger_by_use_case ON ledger (use_case COLLATE NOCASE, sequence)
"""

# Version 4: the entries of the ledger form a chain of hashes, whose head is kept apart; an entry without a hash cannot
# be written. The digest of a registration is that of the version's record.
_VERSION_4_TABLES = """
DROP TRIGGER IF EXISTS ledger_is_not_changed;
DROP TRIGGER IF EXISTS ledger_is_not_shortened;
DROP INDEX IF EXISTS ledger_by_subject;
DROP INDEX IF EXISTS ledger_by_use_case;
ALTER TABLE ledger RENAME TO ledger_3;
CREATE TABLE ledger (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, use_case TEXT NOT NULL,
    subject TEXT NOT NULL, value TEXT NOT NULL, previous TEXT NOT NULL, why TEXT NOT NULL, digest TEXT NOT NULL,
    hash TEXT NOT NULL CHECK (length(hash) = 64)
);
CREATE TABLE ledger_head (id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, hash TEXT NOT NULL)
"""
_VERSION_4_INDICES = """
DROP TABLE ledger_3;
CREATE INDEX ledger_by_subject ON ledger (use_case, subject, sequence);
CREATE INDEX ledger_by_use_case ON ledger (use_case COLLATE NOCASE, sequence);
CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_is_not_shortened BEFORE DELETE ON ledger
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END
"""


# Version 5: data assets. The digest is unique within a name: equal content has one version.
_VERSION_5 = """
CREATE TABLE IF NOT EXISTS data_assets (
    name TEXT NOT NULL, number INTEGER NOT NULL, digest TEXT NOT NULL, artifact TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (name, number), UNIQUE (name, digest)
) WITHOUT ROWID
"""


def _chain_ledger(database: sqlite3.Connection) -> None:
    from mlops_core.workspace.ledger import chain_entries

    chain_entries(database)


_SCRIPTS: Mapping[int, tuple[str | Callable[[sqlite3.Connection], None], ...]] = {
    1: (_VERSION_1,),
    2: (_VERSION_2,),
    3: (_VERSION_3,),
    4: (_VERSION_4_TABLES, _chain_ledger, _VERSION_4_INDICES),
    5: (_VERSION_5,),
}


def migrate(database: sqlite3.Connection, *, version: int) -> None:
    """Run every script after `version` (0: an empty database); call it within a transaction."""
    database.create_function("model_identity", 1, _identity, deterministic=True)
    for target in range(version + 1, SCHEMA_VERSION + 1):
        for part in _SCRIPTS[target]:
            if callable(part):
                part(database)
                continue
            for statement in _statements(part):
                database.execute(statement)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _identity(record: object) -> str:
    """Return the identity of a model version; empty, like that of no other, when its record is damaged."""
    from mlops_core.workspace.model_versions import identity_of

    try:
        return identity_of(json.loads(str(record)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _statements(script: str) -> list[str]:
    """Split a script into statements; a trigger has semicolons inside."""
    statements, current = [], ""
    for piece in script.split(";"):
        current += piece + ";"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
