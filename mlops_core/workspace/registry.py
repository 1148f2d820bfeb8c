"""Model versions: an accepted model becomes a numbered version of its use case, waiting for a person's approval.

What happens to versions is in an append-only ledger: who set which approval status or moved which alias, when and
why. The present state is the newest entry on a subject; nothing is ever changed or removed, so what was in
production on a past day can be said. An entry is written only if the subject still has the value that its writer
saw (compare and swap), in one transaction, so an alias never points at two versions and no move is lost.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.config_files.workspace_settings import read_workspace_settings
from mlops_core.datasets.licences import Licences
from mlops_core.errors import StoreError, UsageError, did_you_mean
from mlops_core.evaluation.metrics import Direction
from mlops_core.names import require_name
from mlops_core.workspace import ledger
from mlops_core.workspace.ledger import CORE, alias_subject, version_subject
from mlops_core.workspace.model_versions import ApprovalStatus, ModelVersion, approval_reason, judge_promotion

if TYPE_CHECKING:
    import sqlite3

    from mlops_core.workspace.ledger import ChainHead
    from mlops_core.workspace.model_versions import ApprovalEvidence, CompareVersions, LedgerEntry
    from mlops_core.workspace.store import Store

BEST = "best"
"""The alias that core itself moves, by the rule of `judge_promotion`."""
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
_SHOWN_VERSIONS = 20
_MOST = 1 << 63
"""One more than SQLite's largest integer."""


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
            known = db.execute(_SAME, (version.use_case, version.identity)).fetchone()
            if known is not None:
                return _model_version(db, known)
            newest = db.execute(
                "SELECT coalesce(max(version), 0) FROM model_versions WHERE use_case = ?", (version.use_case,)
            ).fetchone()[0]
            numbered = replace(version, version=newest + 1, status=ApprovalStatus.PENDING, aliases=())
            db.execute(
                "INSERT INTO model_versions (use_case, version, run_id, created, artifact, identity, record) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    numbered.use_case,
                    numbered.version,
                    numbered.run_id,
                    numbered.created,
                    numbered.artifact,
                    numbered.identity,
                    json.dumps(numbered.record()),
                ),
            )
            ledger.record_registration(
                db, use_case=numbered.use_case, version=numbered.version, why=f"registered by run {numbered.run_id}"
            )
        return numbered

    def known(self, version: ModelVersion) -> ModelVersion | None:
        """Return the registered version with the same model and the same evaluation; None for none."""
        with self._store.reading() as db:
            row = db.execute(_SAME, (version.use_case, version.identity)).fetchone()
            return None if row is None else _model_version(db, row)

    def versions(self, use_case: str | None = None) -> tuple[ModelVersion, ...]:
        """Return the versions of one use case, or of all, newest first."""
        condition, values = ("WHERE use_case = ? COLLATE NOCASE ", (use_case,)) if use_case is not None else ("", ())
        with self._store.reading() as db:
            rows = db.execute(
                f"SELECT * FROM model_versions {condition}ORDER BY use_case, version DESC",  # noqa: S608
                values,
            ).fetchall()
            approvals, aliases = ledger.current_state(db, use_case)
        keys = ((row["use_case"], str(row["version"])) for row in rows)
        return tuple(
            _checked_version(row, status=approvals.get(key, ""), aliases=aliases.get(key, ()))
            for row, key in zip(rows, keys, strict=True)
        )

    def version(self, use_case: str, wanted: int | str | None = None) -> ModelVersion:
        """Return one version, by its number or by an alias; the newest when none is given.

        Raises:
            UsageError: there is none.
        """
        with self._store.reading() as db:
            row = _find(db, use_case, wanted)
            if row is not None:
                return _model_version(db, row)
            numbers = [int(number[0]) for number in db.execute(_NUMBERS, (use_case,))]
            names = [str(name[0]) for name in db.execute(_NAMES, (use_case,))]
            aliases = sorted(alias for name in names for alias in ledger.current_aliases(db, name))
        what = f"version or alias '{wanted}' of model '{use_case}'" if wanted else f"registered model of '{use_case}'"
        raise UsageError(
            f"no {what} in {self._store.home}{did_you_mean(str(wanted), aliases) or ';'} "
            f"versions: {_described(numbers)}" + (f"; aliases: {', '.join(aliases)}" if aliases else "")
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
        with self._store.reading() as db:
            rows = db.execute(_NEWEST_FIRST, (use_case,))
            accepted = next((row for row in rows if not ledger.is_rejected(db, row["use_case"], row["version"])), None)
            if accepted is not None:
                return _model_version(db, accepted)
        raise UsageError(f"every version of model '{use_case}' was rejected; name one to use it all the same")

    # --- The ledger ---------------------------------------------------------------------------------------

    def set_status(
        self,
        version: ModelVersion,
        status: ApprovalStatus,
        *,
        why: str,
        who: str = "",
        moves_aliases: bool = False,
        evidence: ApprovalEvidence | None = None,
    ) -> tuple[LedgerEntry, ...]:
        """Approve or reject a version; return the entries of the moved aliases and, last, of the decision.

        Args:
            version: as the person who decides saw it.
            status: the new one.
            why: the reason, for later readers; not empty.
            who: who decides; the login name when it is not given.
            moves_aliases: in the same transaction, move each alias of a version that is rejected back to the newest of
                its earlier versions that is not rejected, and remove an alias that has none.
            evidence: a verified bundle; its digest becomes part of the reason.

        Raises:
            UsageError: another user has decided in the meantime, no reason was given, aliases point to the version
                that is rejected and may not be moved, the workspace requires evidence that was not given, or it
                requires that the version has passed its test in staging.
        """
        settings = read_workspace_settings(self._store.home)
        why = approval_reason(version, status, why, evidence=evidence, is_required=settings.require_bundle)
        use_case, subject = version.use_case, version_subject(version.version)
        who = who or ledger.login()
        with self._store.transaction() as db:
            ledger.check_unchanged(db, use_case, subject, expected=version.status, why=why)
            if settings.require_staging_test and status is ApprovalStatus.APPROVED:
                _check_staging_test(db, version)
            aliases = ledger.aliases_of(db, use_case, version.version) if status is ApprovalStatus.REJECTED else ()
            if aliases and not moves_aliases:
                raise UsageError(
                    f"model {use_case} version {version.version} cannot be rejected while it is "
                    f"{' and '.join(repr(alias) for alias in aliases)}; move {'it' if len(aliases) == 1 else 'them'} "
                    "with mlops models alias, or reject it with --move-aliases, which moves each alias back to its "
                    "version before"
                )
            return (
                *(_move_back(db, version, alias, who=who, why=why) for alias in aliases),
                ledger.append(
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
        require_name(alias, what="alias")
        if version is not None:
            self.version(use_case, version)
        subject, before = alias_subject(alias), "" if expected is None else str(expected)
        with self._store.transaction() as db:
            ledger.check_unchanged(db, use_case, subject, expected=before, why=why)
            if version is not None and ledger.is_rejected(db, use_case, str(version)):
                raise UsageError(f"model {use_case} version {version} was rejected; approve it before it gets an alias")
            value = "" if version is None else str(version)
            return ledger.append(
                db, use_case=use_case, subject=subject, value=value, who=who or ledger.login(), why=why, previous=before
            )

    def alias_target(self, use_case: str, alias: str) -> int | None:
        """Return the version to which an alias refers; None if the alias does not exist."""
        with self._store.reading() as db:
            value = ledger.current_value(db, use_case, alias_subject(alias))
        return int(value) if value else None

    def roll_back(self, use_case: str, alias: str, *, why: str, who: str = "") -> LedgerEntry:
        """Move an alias back to the newest of its earlier versions that is not rejected.

        Raises:
            UsageError: there is none, or the alias has moved in the meantime.
        """
        with self._store.transaction() as db:
            current = ledger.current_value(db, use_case, alias_subject(alias))
            target = ledger.earlier_target(db, use_case, alias, current=current)
        if not target:
            raise UsageError(
                f"alias '{alias}' of model '{use_case}' points nowhere else before; nothing to roll back to"
            )
        return self.move_alias(
            use_case, alias, version=int(target), expected=int(current) if current else None, why=why, who=who
        )

    def promote_best(self, version: ModelVersion, *, compare: CompareVersions, allows_pending: bool = False) -> str:
        """Move the alias ``best`` to `version` if `judge_promotion` says so.

        Args:
            version: the candidate.
            compare: the paired test, `mlops_core.runners.evidence.version_comparison`.
            allows_pending: a version that nobody has approved may replace an approved one.

        Returns:
            Whether the alias was moved, and why, in one line.
        """
        use_case = version.use_case
        while True:
            current = self.alias_target(use_case, BEST)
            best = None if current is None else self.version(use_case, current)
            candidate = self.version(use_case, version.version)
            promotion = judge_promotion(candidate, best, compare=compare, allows_pending=allows_pending)
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
            return tuple(ledger.entries(db, use_case))

    def chain_head(self) -> ChainHead:
        """Return position and hash of the newest entry of the ledger; evidence that is kept elsewhere refers to it."""
        with self._store.reading() as db:
            return ledger.chain_head(db)


_SAME = (  # the plus keeps SQLite from walking through all versions of the use case instead of using the index
    "SELECT * FROM model_versions WHERE +use_case = ? AND identity = ? ORDER BY version DESC LIMIT 1"
)
_NEWEST_FIRST = (
    "SELECT * FROM model_versions WHERE use_case = ? COLLATE NOCASE ORDER BY use_case COLLATE NOCASE, version DESC"
)
_NUMBERS = "SELECT version FROM model_versions WHERE use_case = ? COLLATE NOCASE ORDER BY version"
_NAMES = (  # from one name to the next in the primary key, since each may have thousands of versions
    "WITH RECURSIVE names (name) AS (SELECT min(use_case) FROM model_versions "
    "UNION ALL SELECT (SELECT min(use_case) FROM model_versions WHERE use_case > names.name) FROM names "
    "WHERE name IS NOT NULL) SELECT name FROM names WHERE name = ? COLLATE NOCASE"
)


def _find(db: sqlite3.Connection, use_case: str, wanted: int | str | None) -> sqlite3.Row | None:
    """Return the row of a version by its number or an alias, or of the newest; None for none."""
    if wanted is None:
        return _first(db, f"{_NEWEST_FIRST} LIMIT 1", use_case)
    by_number = (
        "SELECT * FROM model_versions WHERE use_case = ? COLLATE NOCASE AND version = ? ORDER BY use_case LIMIT 1"
    )
    if str(wanted).isdecimal():
        number = int(wanted)
        return _first(db, by_number, use_case, number) if str(number) == str(wanted) and number < _MOST else None
    for name in db.execute(_NAMES, (use_case,)).fetchall():
        target = ledger.current_value(db, name[0], alias_subject(str(wanted)))
        row = _first(db, "SELECT * FROM model_versions WHERE use_case = ? AND version = ?", name[0], target)
        if target and row is not None:
            return row
    return None


def _first(db: sqlite3.Connection, statement: str, *values: object) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute(statement, values).fetchone()
    return row


def _described(numbers: list[int]) -> str:
    """Return the numbers of versions; of many, how many there are and the newest."""
    if not numbers:
        return "none; run it first"
    if len(numbers) <= _SHOWN_VERSIONS:
        return ", ".join(map(str, numbers))
    return f"{numbers[0]} to {numbers[-1]}"


def _move_back(db: sqlite3.Connection, version: ModelVersion, alias: str, *, who: str, why: str) -> LedgerEntry:
    number = str(version.version)
    return ledger.append(
        db,
        use_case=version.use_case,
        subject=alias_subject(alias),
        value=ledger.earlier_target(db, version.use_case, alias, current=number),
        previous=number,
        who=who,
        why=f"version {number} was rejected: {why}",
    )


def _check_staging_test(db: sqlite3.Connection, version: ModelVersion) -> None:
    result = ledger.current_value(db, version.use_case, ledger.staging_test_subject(version.version))
    if result != "passed":
        what = "failed its test in staging" if result else "was not tested in staging"
        raise UsageError(
            f"model {version.use_case} version {version.version} {what} (require_staging_test in workspace.yaml); "
            f"deploy and test it with: mlops deploy -u {version.use_case} --to staging --model {version.version}"
        )


def _model_version(db: sqlite3.Connection, row: sqlite3.Row) -> ModelVersion:
    use_case, number = row["use_case"], row["version"]
    return _checked_version(
        row,
        status=ledger.current_value(db, use_case, version_subject(number)),
        aliases=ledger.aliases_of(db, use_case, number),
    )


def _checked_version(row: sqlite3.Row, *, status: str, aliases: tuple[str, ...]) -> ModelVersion:
    try:
        return read_version(row, status=status, aliases=aliases)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"model {row['use_case']} version {row['version']}: its row in mlops.db is damaged; "
            "see what can be mended with: mlops doctor"
        ) from error


def read_version(row: sqlite3.Row, *, status: str, aliases: tuple[str, ...] = ()) -> ModelVersion:
    """Return the version in a row of ``model_versions``.

    Args:
        row: of the table.
        status: its approval, from the ledger.
        aliases: those that point to it.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the row or the ledger is damaged.
    """
    if not isinstance(row["version"], int):
        raise TypeError("its number is none")
    record = json.loads(row["record"])
    if record.get("licences") is not None:
        record["licences"] = Licences.from_json(record["licences"])
    return ModelVersion(
        use_case=row["use_case"],
        version=row["version"],
        status=ApprovalStatus(status),
        aliases=aliases,
        **{**record, "direction": Direction(record.get("direction", Direction.HIGHER))},
    )
