"""Moving the models of a use case that was renamed to its new name, with their numbers, aliases and ledger.

The ledger is append-only: the entries of the old name stay. Under the new name they are written again, with the time
and the person of the original, so that approvals, aliases and what was in production on a past day are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError, did_you_mean
from mlops_core.names import require_name
from mlops_core.workspace.ledger import append, check_reason, login

if TYPE_CHECKING:
    import sqlite3

    from mlops_core.workspace.store import Store

_DEPLOYMENTS = ("deployment ", "test of deployment ")
"""Beginnings of the subjects that stay with the old name: those of endpoints, which keep theirs."""
_OVER = ("rolled back", "failed", "replaced", "deleted")
NAME_SUBJECT = "name"
"""Subject of the entry about a new name: `previous` is the old name, `value` the new one."""
_ALIAS_PREFIX = "alias "


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMove:
    """What was moved.

    Attributes:
        old: name before.
        new: name now.
        versions: numbers of the versions, ascending.
    """

    old: str
    new: str
    versions: tuple[int, ...]


def move_models(store: Store, old: str, new: str, *, why: str, who: str = "") -> ModelMove:
    """Move all versions of the use case `old` to the name `new`, in one transaction.

    Args:
        store: the workspace.
        old: name of the use case in the registry, in any case; its plugin does not have to be installed.
        new: its new name, which has no versions yet: numbers stay, and two histories cannot be one.
        why: the reason, for later readers.
        who: who does it; the login name when it is not given.

    Raises:
        UsageError: no model of `old` is registered or one is deployed, `new` has versions or is not a portable name,
            or no reason was given.
    """
    require_name(new, what="use case")
    check_reason(why, what=f"model {old}")
    with store.transaction() as db:
        name = _registered(db, old)
        taken = _versions(db, new)
        if name.casefold() == new.casefold():
            raise UsageError(f"model {name}: the new name is the same")
        if taken:
            raise UsageError(
                f"model {new} has versions already ({', '.join(map(str, taken))}); models are moved to a name without "
                f"any: move those first, for example: mlops models move {new} {new}_BEFORE"
            )
        _refuse_deployments(db, name)
        moved = _versions(db, name)
        db.execute("UPDATE model_versions SET use_case = ? WHERE use_case = ?", (new, name))
        _copy_ledger(db, name, new)
        person = who or login()
        for subject, value in _aliases(db, name):
            reason = f"moved to {new}: {why}"
            append(db, use_case=name, subject=subject, value="", who=person, why=reason, previous=value)
        for use_case in (name, new):
            append(db, use_case=use_case, subject=NAME_SUBJECT, value=new, who=person, why=why, previous=name)
    return ModelMove(old=name, new=new, versions=moved)


def _registered(db: sqlite3.Connection, wanted: str) -> str:
    names = [str(row[0]) for row in db.execute("SELECT DISTINCT use_case FROM model_versions ORDER BY use_case")]
    for name in names:
        if name.casefold() == wanted.casefold():
            return name
    hint = did_you_mean(wanted, names) or ";"
    raise UsageError(f"no registered model of '{wanted}'{hint} models: {', '.join(names) or 'none'}")


def _versions(db: sqlite3.Connection, use_case: str) -> tuple[int, ...]:
    rows = db.execute(
        "SELECT version FROM model_versions WHERE use_case = ? COLLATE NOCASE ORDER BY version", (use_case,)
    )
    return tuple(int(row[0]) for row in rows)


def _refuse_deployments(db: sqlite3.Connection, name: str) -> None:
    """Refuse a move while an endpoint answers under the old name."""
    rows = db.execute(
        "SELECT subject, value, max(sequence) FROM ledger WHERE use_case = ? AND subject >= ? AND subject < ? "
        "GROUP BY subject ORDER BY sequence",
        (name, _DEPLOYMENTS[0], f"{_DEPLOYMENTS[0].strip()}!"),
    )
    for subject, state, _ in rows:
        if state not in _OVER:
            raise UsageError(
                f"{subject} of model {name} is {state}; delete its endpoint before the models are moved: mlops "
                f"deployments delete -u {name} --to staging|production --why ..."
            )


def _copy_ledger(db: sqlite3.Connection, old: str, new: str) -> None:
    """Write the entries of `old` under `new`.

    Entries that are left under `new` from models that were moved away come before them and do not count: the newest
    entry on a subject does.
    """
    rows = db.execute(
        "SELECT at, who, subject, value, previous, why, digest FROM ledger WHERE use_case = ? ORDER BY sequence", (old,)
    ).fetchall()
    for row in rows:
        if row["subject"] != NAME_SUBJECT and not row["subject"].startswith(_DEPLOYMENTS):
            append(db, use_case=new, **dict(row))


def _aliases(db: sqlite3.Connection, use_case: str) -> list[tuple[str, str]]:
    """Return subject and version of each alias that points somewhere."""
    rows = db.execute(
        "SELECT subject, value FROM ledger WHERE use_case = ? AND subject LIKE ? ORDER BY sequence",
        (use_case, f"{_ALIAS_PREFIX}%"),
    ).fetchall()
    newest = {str(row[0]): str(row[1]) for row in rows}
    return [(subject, value) for subject, value in newest.items() if value]
