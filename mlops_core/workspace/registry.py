"""Model versions: an accepted model becomes a numbered version of its use case, waiting for a person's approval.

What happens to versions is in an append-only ledger: who set which approval status or moved which alias, when and
why. The present state is the newest entry on a subject; nothing is ever changed or removed, so what was in
production on a past day can be said. An entry is written only if the subject still has the value that its writer
saw (compare and swap), in one transaction, so an alias never points at two versions and no move is lost.
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError, UsageError, did_you_mean
from mlops_core.evaluation.metrics import Direction
from mlops_core.workspace.model_versions import ApprovalStatus, LedgerEntry, ModelVersion, judge_promotion

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from mlops_core.workspace.store import Store

BEST = "best"
"""The alias that core itself moves, by the rule of `judge_promotion`."""
CORE = "mlops"
"""Who it was, in entries that no person made."""
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
_ALIAS_SUBJECT = "alias "
_VERSION_SUBJECT = "version "


class Registry:
    """The model versions of one workspace."""

    def __init__(self, store: Store) -> None:
        """Use the database of `store`."""
        self._store = store

    # --- Versions -----------------------------------------------------------------------------------------

    def register(self, version: ModelVersion) -> ModelVersion:
        """Give the model the next number of its use case.

        The same model with the same evaluation, from a run that was resumed or repeated, keeps the version that it
        has.

        Args:
            version: `version.version` and `version.status` are ignored.
        """
        with self._store.transaction() as db:
            known = self._same(db, version)
            if known is not None:
                return known
            newest = db.execute(
                "SELECT coalesce(max(version), 0) FROM model_versions WHERE use_case = ?", (version.use_case,)
            ).fetchone()[0]
            numbered = replace(version, version=newest + 1, status=ApprovalStatus.PENDING, aliases=())
            db.execute(
                "INSERT INTO model_versions (use_case, version, run_id, created, artifact, record) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    numbered.use_case,
                    numbered.version,
                    numbered.run_id,
                    numbered.created,
                    numbered.artifact,
                    json.dumps(numbered.record()),
                ),
            )
            _append(
                db,
                use_case=numbered.use_case,
                subject=f"{_VERSION_SUBJECT}{numbered.version}",
                value=ApprovalStatus.PENDING,
                who=CORE,
                why=f"registered by run {numbered.run_id}",
            )
        return numbered

    def versions(self, use_case: str | None = None) -> tuple[ModelVersion, ...]:
        """Return the versions of one use case, or of all, newest first."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT * FROM model_versions WHERE ?1 IS NULL OR use_case = ?1 COLLATE NOCASE "
                "ORDER BY use_case, version DESC",
                (use_case,),
            ).fetchall()
            state = _state(db)
        return tuple(_model_version(row, state) for row in rows)

    def version(self, use_case: str, wanted: int | str | None = None) -> ModelVersion:
        """Return one version, by its number or by an alias; the newest when none is given.

        Raises:
            UsageError: there is none.
        """
        versions = self.versions(use_case)
        for version in versions:
            if wanted is None or str(wanted) == str(version.version) or wanted in version.aliases:
                return version
        known = ", ".join(str(version.version) for version in reversed(versions)) or "none; run it first"
        aliases = sorted(alias for version in versions for alias in version.aliases)
        what = f"version or alias '{wanted}' of model '{use_case}'" if wanted else f"registered model of '{use_case}'"
        raise UsageError(
            f"no {what} in {self._store.home}{did_you_mean(str(wanted), aliases) or ';'} versions: {known}"
            + (f"; aliases: {', '.join(aliases)}" if aliases else "")
        )

    def servable_version(self, use_case: str, wanted: int | str | None = None) -> ModelVersion:
        """Return the version that predictions are made with: like `version`, but a rejected one only by its number.

        Raises:
            UsageError: there is none, or an alias points to a rejected version.
        """
        found = self.version(use_case, wanted)
        if found.status is not ApprovalStatus.REJECTED or str(wanted) == str(found.version):
            return found
        if wanted is not None:
            raise UsageError(
                f"alias '{wanted}' of model '{use_case}' points to version {found.version}, which was rejected; move "
                f"it with mlops models alias, or name the version: {found.version}"
            )
        accepted = [known for known in self.versions(use_case) if known.status is not ApprovalStatus.REJECTED]
        if not accepted:
            raise UsageError(f"every version of model '{use_case}' was rejected; name one to use it all the same")
        return accepted[0]

    # --- The ledger ---------------------------------------------------------------------------------------

    def set_status(
        self,
        version: ModelVersion,
        status: ApprovalStatus,
        *,
        why: str,
        who: str = "",
        moves_aliases: bool = False,
    ) -> tuple[LedgerEntry, ...]:
        """Approve or reject a version; return the entries of the moved aliases and, last, of the decision.

        Args:
            version: as the person who decides saw it.
            status: the new one.
            why: the reason, for later readers; not empty.
            who: who decides; the login name when it is not given.
            moves_aliases: in the same transaction, move each alias of a version that is rejected back to the newest of
                its earlier versions that is not rejected, and remove an alias that has none.

        Raises:
            UsageError: another user has decided in the meantime, no reason was given, or aliases point to the version
                that is rejected and may not be moved.
        """
        use_case, subject = version.use_case, f"{_VERSION_SUBJECT}{version.version}"
        who = who or _login()
        with self._store.transaction() as db:
            _check_unchanged(db, use_case, subject, expected=version.status, why=why)
            aliases = _aliases(_state(db), use_case, version.version) if status is ApprovalStatus.REJECTED else ()
            if aliases and not moves_aliases:
                raise UsageError(
                    f"model {use_case} version {version.version} cannot be rejected while it is "
                    f"{' and '.join(repr(alias) for alias in aliases)}; move {'it' if len(aliases) == 1 else 'them'} "
                    "with mlops models alias, or reject it with --move-aliases, which moves each alias back to its "
                    "version before"
                )
            return (
                *(_move_back(db, version, alias, who=who, why=why) for alias in aliases),
                _append(
                    db, use_case=use_case, subject=subject, value=status, who=who, why=why, previous=version.status
                ),
            )

    def move_alias(
        self, use_case: str, alias: str, *, version: int | None, expected: int | None, why: str, who: str = ""
    ) -> LedgerEntry:
        """Point an alias at another version, if it still points where the caller saw it.

        Args:
            use_case: name of the use case.
            alias: lower-case letters, digits, ``-`` and ``_``.
            version: the new target; None to remove the alias.
            expected: the target that the caller saw; None for none.
            why: the reason, for later readers; not empty.
            who: who does it; the login name when it is not given.

        Raises:
            UsageError: the name is not legal, the version does not exist, or the alias has moved in the meantime.
        """
        if not _ALIAS.match(alias):
            raise UsageError(f"alias {alias!r} is not a letter followed by lower-case letters, digits, '-' and '_'")
        if version is not None:
            self.version(use_case, version)
        subject, before = f"{_ALIAS_SUBJECT}{alias}", "" if expected is None else str(expected)
        with self._store.transaction() as db:
            _check_unchanged(db, use_case, subject, expected=before, why=why)
            if version is not None and _is_rejected(db, use_case, str(version)):
                raise UsageError(f"model {use_case} version {version} was rejected; approve it before it gets an alias")
            value = "" if version is None else str(version)
            return _append(
                db, use_case=use_case, subject=subject, value=value, who=who or _login(), why=why, previous=before
            )

    def alias_target(self, use_case: str, alias: str) -> int | None:
        """Return the version to which an alias refers; None if the alias does not exist."""
        with self._store.reading() as db:
            value = _current(db, use_case, f"{_ALIAS_SUBJECT}{alias}")
        return int(value) if value else None

    def roll_back(self, use_case: str, alias: str, *, why: str, who: str = "") -> LedgerEntry:
        """Move an alias back to the newest of its earlier versions that is not rejected.

        Raises:
            UsageError: there is none, or the alias has moved in the meantime.
        """
        with self._store.transaction() as db:
            current = _current(db, use_case, f"{_ALIAS_SUBJECT}{alias}")
            target = _earlier_target(db, use_case, alias, current=current)
        if not target:
            raise UsageError(
                f"alias '{alias}' of model '{use_case}' points nowhere else before; nothing to roll back to"
            )
        return self.move_alias(
            use_case, alias, version=int(target), expected=int(current) if current else None, why=why, who=who
        )

    def promote_best(self, version: ModelVersion, *, allows_pending: bool = False) -> str:
        """Move the alias ``best`` to `version` if `judge_promotion` says so.

        Args:
            version: the candidate.
            allows_pending: a version that nobody has approved may replace an approved one.

        Returns:
            Whether the alias was moved, and why, in one line.
        """
        use_case = version.use_case
        while True:
            current = self.alias_target(use_case, BEST)
            best = None if current is None else self.version(use_case, current)
            candidate = self.version(use_case, version.version)
            promotion = judge_promotion(candidate, best, allows_pending=allows_pending)
            if not promotion.moves:
                return promotion.why
            try:
                self.move_alias(use_case, BEST, version=version.version, expected=current, why=promotion.why, who=CORE)
            except UsageError:
                latest = self.version(use_case, version.version)
                if self.alias_target(use_case, BEST) == current and latest.status == candidate.status:
                    raise
                continue  # the alias was moved or the version was rejected in the meantime: judge again
            return promotion.why

    def history(self, use_case: str | None = None) -> tuple[LedgerEntry, ...]:
        """Return the ledger of one use case, or of all, oldest first."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT * FROM ledger WHERE ?1 IS NULL OR use_case = ?1 COLLATE NOCASE ORDER BY sequence", (use_case,)
            ).fetchall()
        return tuple(LedgerEntry(**dict(row)) for row in rows)

    @staticmethod
    def _same(db: sqlite3.Connection, version: ModelVersion) -> ModelVersion | None:
        rows = db.execute(
            "SELECT * FROM model_versions WHERE use_case = ? AND artifact = ? ORDER BY version DESC",
            (version.use_case, version.artifact),
        ).fetchall()
        state = _state(db)
        for known in (_model_version(row, state) for row in rows):
            if known.metrics == dict(version.metrics) and known.test_set == version.test_set:
                return known
        return None


def _current(db: sqlite3.Connection, use_case: str, subject: str) -> str:
    row = db.execute(
        "SELECT value FROM ledger WHERE use_case = ? AND subject = ? ORDER BY sequence DESC LIMIT 1",
        (use_case, subject),
    ).fetchone()
    return str(row[0]) if row else ""


def _check_unchanged(db: sqlite3.Connection, use_case: str, subject: str, *, expected: str, why: str) -> None:
    """Refuse a change without a reason, or of a subject that no longer has the value that its writer saw."""
    if not why.strip():
        raise UsageError(f"{subject} of model '{use_case}': give a reason (--why), for those who come later")
    found = _current(db, use_case, subject)
    if found != expected:
        raise UsageError(
            f"{subject} of model '{use_case}' is {found or 'nothing'} and no longer {expected or 'nothing'}; "
            "it was changed in the meantime: see mlops models history"
        )


def _is_rejected(db: sqlite3.Connection, use_case: str, version: str) -> bool:
    return _current(db, use_case, f"{_VERSION_SUBJECT}{version}") == ApprovalStatus.REJECTED


def _earlier_target(db: sqlite3.Connection, use_case: str, alias: str, *, current: str) -> str:
    """Return the newest version, other than `current`, that had the alias and is not rejected; empty for none."""
    rows = db.execute(
        "SELECT value FROM ledger WHERE use_case = ? AND subject = ? ORDER BY sequence DESC",
        (use_case, f"{_ALIAS_SUBJECT}{alias}"),
    ).fetchall()
    earlier = dict.fromkeys(str(row[0]) for row in rows if row[0] and row[0] != current)
    return next((version for version in earlier if not _is_rejected(db, use_case, version)), "")


def _move_back(db: sqlite3.Connection, version: ModelVersion, alias: str, *, who: str, why: str) -> LedgerEntry:
    number = str(version.version)
    return _append(
        db,
        use_case=version.use_case,
        subject=f"{_ALIAS_SUBJECT}{alias}",
        value=_earlier_target(db, version.use_case, alias, current=number),
        previous=number,
        who=who,
        why=f"version {number} was rejected: {why}",
    )


def _aliases(state: Mapping[tuple[str, str], str], use_case: str, version: int) -> tuple[str, ...]:
    """Return the aliases that point to a version, in alphabetical order."""
    return tuple(
        sorted(
            subject.removeprefix(_ALIAS_SUBJECT)
            for (owner, subject), value in state.items()
            if owner == use_case and subject.startswith(_ALIAS_SUBJECT) and value == str(version)
        )
    )


def _append(  # noqa: PLR0913  one argument for each column
    db: sqlite3.Connection, *, use_case: str, subject: str, value: str, who: str, why: str, previous: str = ""
) -> LedgerEntry:
    at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    cursor = db.execute(
        "INSERT INTO ledger (at, who, use_case, subject, value, previous, why) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (at, who, use_case, subject, value, previous, why),
    )
    return LedgerEntry(
        sequence=int(cursor.lastrowid or 0),
        at=at,
        who=who,
        use_case=use_case,
        subject=subject,
        value=value,
        previous=previous,
        why=why,
    )


def _state(db: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """Return (use case, subject) -> its newest value."""
    rows = db.execute("SELECT use_case, subject, value FROM ledger ORDER BY sequence").fetchall()
    return {(row["use_case"], row["subject"]): row["value"] for row in rows}


def record_registration(db: sqlite3.Connection, *, use_case: str, version: int, why: str) -> None:
    """Write to the ledger that a version waits for approval, where what it held is lost."""
    subject = f"{_VERSION_SUBJECT}{version}"
    _append(db, use_case=use_case, subject=subject, value=ApprovalStatus.PENDING, who=CORE, why=why)


def _model_version(row: sqlite3.Row, state: Mapping[tuple[str, str], str]) -> ModelVersion:
    try:
        return read_version(row, state)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"model {row['use_case']} version {row['version']}: its row in mlops.db is damaged; "
            "see what can be mended with: mlops doctor"
        ) from error


def read_version(row: sqlite3.Row, state: Mapping[tuple[str, str], str]) -> ModelVersion:
    """Return the version in a row of ``model_versions``.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the row or the ledger is damaged.
    """
    use_case, number = row["use_case"], row["version"]
    record = json.loads(row["record"])
    return ModelVersion(
        use_case=use_case,
        version=number,
        status=ApprovalStatus(state[use_case, f"{_VERSION_SUBJECT}{number}"]),
        aliases=_aliases(state, use_case, number),
        **{**record, "direction": Direction(record.get("direction", Direction.HIGHER))},
    )


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a user database
        return "unknown"
