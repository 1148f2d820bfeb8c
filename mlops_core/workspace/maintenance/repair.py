"""Faults inside the database: missing tables and damaged rows, found for ``mlops doctor`` and mended with ``--repair``.

What can be derived from files or other tables is derived; the rest is removed, and said to be lost. SQLite's own check
of the file is `mlops_core.workspace.maintenance.housekeeping.database_fault`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from mlops_core.workspace.assets.store import read_asset
from mlops_core.workspace.database import DATABASE
from mlops_core.workspace.ledger import (
    ChainHead,
    chain_head,
    current_aliases,
    read_head,
    record_digest,
    record_registration,
    restart_chain,
)
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.registry import read_version
from mlops_core.workspace.runs import is_damaged
from mlops_core.workspace.schema import migrate
from mlops_core.workspace.step_cache import texts_by_name
from mlops_core.workspace.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

_LOST = {
    "step_cache": "the results of earlier steps: steps run again instead of being reused",
    "ledger_head": "the newest hash of the ledger: entries that are missing at its end may no longer be noticed",
    "ledger": "approvals, aliases and their history: every version waits for approval again",
    "data_assets": "names and versions of data sets; register them again with: mlops datasets register",
    "model_versions": "registered models; register one again with: mlops run --resume RUN",
}
"""Table -> what is lost when it is made again; the others follow from files."""


LOST_WITH_DATABASE = "; ".join(_LOST[table] for table in ("model_versions", "ledger", "data_assets", "step_cache"))
"""What is lost when a whole database is made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFault:
    """A fault inside the database.

    Attributes:
        subject: the table or row.
        fault: what is wrong.
        lost: what is lost when it is mended.
        mend: mends it within a transaction; None where it cannot be mended.
        fix: what to do where it cannot be mended.
    """

    subject: str
    fault: str
    lost: str
    mend: Callable[[sqlite3.Connection], None] | None
    fix: str = "restore mlops.db from a backup"


def database_faults(store: Store) -> Iterator[DatabaseFault]:
    """Yield the faults of the tables, then those of their rows."""
    with store.reading() as db:
        with _new_database() as new:
            expected, found = _columns(new), _columns(db)
        damaged = [table for table in expected if table not in found or expected[table] - found[table]]
        rows = [fault for find, tables in _ROW_FAULTS.items() if not tables & set(damaged) for fault in find(db, store)]
    for table in damaged:
        yield _table_fault(store, table, is_missing=table not in found)
    yield from rows


def mend(store: Store, fault: DatabaseFault) -> None:
    """Mend a fault.

    Raises:
        StoreError: the workspace cannot be written.
    """
    if fault.mend is not None:
        with store.transaction() as db:
            fault.mend(db)


def renew_database(home: Path, *, why: str) -> str:
    """Make a new database in place of one of which nothing can be read; return the new name of what was there, if any.

    The runs are those in ``runs/``; the ledger goes on after the newest entry that ``ledger-head.json`` knows.

    Raises:
        StoreError: the workspace cannot be written.
        OSError: as above.
        sqlite3.Error: as above.
    """
    kept = _set_aside(home)
    with closing(sqlite3.connect(home / DATABASE, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        db.execute("BEGIN IMMEDIATE")
        migrate(db, version=0)
        _restart_after_kept_head(db, home, why=why)
        db.execute("COMMIT")
    with Store(home) as store, store.transaction() as db:
        _list_runs(store)
    return kept


def _set_aside(home: Path) -> str:
    """Rename what is in the place of the database, with its log; return its new name, empty if nothing was there."""
    kept = next(name for number in count(1) if not os.path.lexists(home / (name := f"{DATABASE}.damaged-{number}")))
    for suffix in ("-wal", "-shm", ""):
        path = home / f"{DATABASE}{suffix}"
        if os.path.lexists(path):
            path.rename(home / f"{kept}{suffix}")
    return kept if os.path.lexists(home / kept) else ""


def _restart_after_kept_head(db: sqlite3.Connection, home: Path, *, why: str) -> None:
    """Let an empty ledger go on after the entry that ``ledger-head.json`` knows; without it, from the beginning."""
    with suppress(ValueError):
        head = read_head(home)
        if head and head.sequence > chain_head(db).sequence:
            db.execute("INSERT OR REPLACE INTO ledger_head VALUES (1, ?, ?)", (head.sequence, head.hash))
            restart_chain(db, why=why)


# --- Tables -----------------------------------------------------------------------------------------------


def _table_fault(store: Store, table: str, *, is_missing: bool) -> DatabaseFault:
    what = "is missing" if is_missing else "lacks a column"
    is_derived = table in ("step_cache", "file_digests")

    def make(db: sqlite3.Connection) -> None:
        if not is_missing:
            db.execute(f"DROP TABLE {table}")
        for statement in _statements_for(table):
            db.execute(statement)
        _refill(store, db, table)

    can_mend = is_missing or is_derived
    return DatabaseFault(
        subject=f"table {table}", fault=what, lost=_LOST.get(table, ""), mend=make if can_mend else None
    )


@contextmanager
def _new_database() -> Iterator[sqlite3.Connection]:
    """Return the database of a new workspace, in memory, until the context ends."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        migrate(db, version=0)
        yield db


def _columns(db: sqlite3.Connection) -> dict[str, set[str]]:
    """Return table -> its columns."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = [row["name"] for row in db.execute(query).fetchall()]
    return {name: {column["name"] for column in db.execute(f"PRAGMA table_info({name})")} for name in names}


def _statements_for(table: str) -> list[str]:
    """Return what creates a table, its indices and its triggers."""
    query = "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL ORDER BY type = 'table' DESC"
    with _new_database() as new:
        return [row["sql"] for row in new.execute(query, (table,))]


def _refill(store: Store, db: sqlite3.Connection, table: str) -> None:
    columns = _columns(db)
    if table == "ledger_head" and "hash" in columns.get("ledger", ()):
        _derive_head(db)
        if chain_head(db) == ChainHead():  # both tables were lost
            _restart_after_kept_head(db, store.home, why="the tables of the ledger were missing")
    if table == "ledger" and {"model_versions", "ledger_head"} <= columns.keys():
        restart_chain(db, why="the table of the ledger was missing")
        rows = db.execute("SELECT use_case, version FROM model_versions ORDER BY created, version").fetchall()
        for row in rows:
            record_registration(db, use_case=row["use_case"], version=row["version"], why="the ledger was lost")
    if table == "runs":
        _list_runs(store)


def _list_runs(store: Store, *, besides: AbstractSet[str] = frozenset()) -> None:
    for run_id in sorted({path.name for path in store.runs.root.iterdir() if path.is_dir()} - besides):
        store.runs.list_again(run_id)


# --- Rows -------------------------------------------------------------------------------------------------


def _step_faults(db: sqlite3.Connection, _: Store) -> Iterator[DatabaseFault]:
    for row in db.execute("SELECT rowid AS id, * FROM step_cache").fetchall():
        if not (_is_mapping(row["outputs"]) and _is_mapping(row["components"]) and _is_number(row["duration_s"])):
            yield DatabaseFault(
                subject=f"result of step '{row['step']}' of {row['use_case']}",
                fault="its row is damaged",
                lost="a result that could be reused: the step runs again",
                mend=partial(_execute, statement="DELETE FROM step_cache WHERE rowid = ?", values=(row["id"],)),
            )


def _run_faults(db: sqlite3.Connection, store: Store) -> Iterator[DatabaseFault]:
    for row in db.execute("SELECT * FROM runs").fetchall():
        if is_damaged(row):
            mend = partial(_list_again, store=store, sequence=row["sequence"])
            yield DatabaseFault(subject=f"run {row['run_id']}", fault="its row is damaged", lost="", mend=mend)


def _list_again(db: sqlite3.Connection, *, store: Store, sequence: int) -> None:
    """Make the row of a run again; its folder is that of no other row, since the row may have lost the name."""
    db.execute("DELETE FROM runs WHERE sequence = ?", (sequence,))
    listed = {row["run_id"] for row in db.execute("SELECT run_id FROM runs")}
    _list_runs(store, besides=listed)


def _model_faults(db: sqlite3.Connection, _: Store) -> Iterator[DatabaseFault]:
    for row in db.execute("SELECT * FROM model_versions").fetchall():
        use_case, version = row["use_case"], row["version"]
        try:
            read_version(row, status=ApprovalStatus.PENDING)
        except (ValueError, KeyError, TypeError, AttributeError):
            statement = "DELETE FROM model_versions WHERE use_case = ? AND version = ?"
            yield DatabaseFault(
                subject=f"model {use_case} version {version}",
                fault="its row is damaged",
                lost=f"the version; register it again with: mlops run --resume {row['run_id']}",
                mend=partial(_execute, statement=statement, values=(use_case, version)),
            )


def _version_faults(db: sqlite3.Connection, _: Store) -> Iterator[DatabaseFault]:
    """Yield a fault for each version whose approval is not in the ledger."""
    query = (
        "SELECT use_case, version FROM model_versions AS model WHERE typeof(version) = 'integer' "
        "AND NOT EXISTS (SELECT 1 FROM ledger WHERE use_case = model.use_case "
        "AND subject = 'version ' || model.version AND value IN (?, ?, ?))"
    )
    for row in db.execute(query, tuple(ApprovalStatus)).fetchall():
        use_case, version = row["use_case"], row["version"]
        yield DatabaseFault(
            subject=f"model {use_case} version {version}",
            fault="its approval is not in the ledger",
            lost="its approval: it waits for approval again",
            mend=partial(record_registration, use_case=use_case, version=version, why="its approval was lost"),
        )


def _asset_faults(db: sqlite3.Connection, _: Store) -> Iterator[DatabaseFault]:
    for row in db.execute("SELECT * FROM data_assets").fetchall():
        try:
            read_asset(row)
        except (ValueError, TypeError):
            statement = "DELETE FROM data_assets WHERE name IS ? AND number IS ?"
            yield DatabaseFault(
                subject=f"data asset {row['name']}:{row['number']}",
                fault="its row is damaged",
                lost="the version of the data set; register it again with: mlops datasets register",
                mend=partial(_execute, statement=statement, values=(row["name"], row["number"])),
            )


def _head_faults(db: sqlite3.Connection, _: Store) -> Iterator[DatabaseFault]:
    for row in db.execute("SELECT * FROM ledger_head").fetchall():
        if not (isinstance(row["sequence"], int) and isinstance(row["hash"], str)):
            yield DatabaseFault(
                subject="table ledger_head", fault="its row is damaged", lost=_LOST["ledger_head"], mend=_derive_head
            )


def _derive_head(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM ledger_head")
    db.execute("INSERT INTO ledger_head SELECT 1, sequence, hash FROM ledger ORDER BY sequence DESC LIMIT 1")


def _record_faults(db: sqlite3.Connection, _: Store) -> Iterator[DatabaseFault]:
    """Yield a fault for each version whose record is not the one that was registered."""
    query = (
        "SELECT use_case, version, run_id, record, (SELECT digest FROM ledger WHERE use_case = model.use_case "
        "AND subject = 'version ' || model.version AND value = ? AND digest != '' ORDER BY sequence DESC LIMIT 1) "
        "AS digest FROM model_versions AS model"
    )
    for row in db.execute(query, (ApprovalStatus.PENDING,)).fetchall():
        if row["digest"] and row["digest"] != record_digest(row["record"]) and _is_object(row["record"]):
            yield DatabaseFault(
                subject=f"model {row['use_case']} version {row['version']}",
                fault=f"its record was changed since it was registered by run {row['run_id']}",
                lost="",
                mend=None,
            )


def _alias_faults(db: sqlite3.Connection, _: Store) -> Iterator[DatabaseFault]:
    """Yield a fault for each alias of a version that does not exist."""
    for (use_case,) in db.execute("SELECT DISTINCT use_case FROM ledger").fetchall():
        for alias, version in current_aliases(db, use_case).items():
            if not db.execute(
                "SELECT 1 FROM model_versions WHERE use_case = ? AND version = ?", (use_case, version)
            ).fetchone():
                yield DatabaseFault(
                    subject=f"alias {alias} of model {use_case}",
                    fault=f"it points to version {version}, which does not exist",
                    lost="",
                    mend=None,
                    fix="restore mlops.db from a backup, register the version again, or remove the alias: "
                    f"mlops models alias {alias} --remove -u {use_case} --why ...",
                )


_ROW_FAULTS: dict[Callable[[sqlite3.Connection, Store], Iterator[DatabaseFault]], set[str]] = {
    _step_faults: {"step_cache"},
    _run_faults: {"runs"},
    _model_faults: {"model_versions"},
    _asset_faults: {"data_assets"},
    _head_faults: {"ledger_head", "ledger"},
    _version_faults: {"model_versions", "ledger", "ledger_head"},
    _record_faults: {"model_versions", "ledger"},
    _alias_faults: {"model_versions", "ledger"},
}
"""What finds damaged rows -> the tables that it reads."""


def _execute(db: sqlite3.Connection, *, statement: str, values: tuple[object, ...]) -> None:
    db.execute(statement, values)


def _is_mapping(text: object) -> bool:
    try:
        texts_by_name(text)
    except (ValueError, TypeError):
        return False
    return True


def _is_object(text: object) -> bool:
    """Return whether a record is so far whole that what differs is its content."""
    try:
        return bool(json.loads(text))  # type: ignore[arg-type]  # whatever the row holds
    except (ValueError, TypeError):
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
