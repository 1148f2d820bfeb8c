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
import math
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.errors import UsageError, did_you_mean
from mlops_core.metrics import Direction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from mlops_core.workspace.store import Store

BEST = "best"
"""The alias that core itself moves, to a strictly better version on the same test set."""
CORE = "mlops"
"""Who it was, in entries that no person made."""
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
_ALIAS_SUBJECT = "alias "
_VERSION_SUBJECT = "version "


class ApprovalStatus(StrEnum):
    """Approval of a model version; the values are those that existing model registries use."""

    PENDING = "PendingManualApproval"
    APPROVED = "Approved"
    REJECTED = "Rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A registered model.

    Attributes:
        use_case: name of the use case.
        version: 1, 2, 3, ... within the use case.
        status: approval.
        run_id: the run that made it.
        created: ISO 8601, UTC.
        artifact: digest of the model's folder.
        metrics: name -> value, as evaluated.
        compared_by: the metric by which versions of the use case are compared.
        direction: which way that metric is better.
        test_set: digest of the samples and labels on which it was evaluated.
        dataset: name of the data.
        dataset_digest: digest of the data.
        is_generated_data: the data were made by code.
        config: the configuration as used, as YAML text.
        plugin: distribution and version.
        aliases: those that point at it now.
    """

    use_case: str
    version: int
    status: ApprovalStatus = ApprovalStatus.PENDING
    run_id: str
    created: str
    artifact: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    compared_by: str = ""
    direction: Direction = Direction.HIGHER
    test_set: str = ""
    dataset: str = ""
    dataset_digest: str = ""
    is_generated_data: bool = False
    config: str = ""
    plugin: str = ""
    aliases: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the version as JSON types only."""
        state = {"use_case": self.use_case, "version": self.version, "status": self.status}
        return {**self._record(), **state, "aliases": list(self.aliases)}

    def _record(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "created": self.created,
            "artifact": self.artifact,
            "metrics": dict(self.metrics),
            "compared_by": self.compared_by,
            "direction": self.direction,
            "test_set": self.test_set,
            "dataset": self.dataset,
            "dataset_digest": self.dataset_digest,
            "is_generated_data": self.is_generated_data,
            "config": self.config,
            "plugin": self.plugin,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One thing that happened to a model.

    Attributes:
        sequence: position in the ledger of the workspace.
        at: ISO 8601, UTC.
        who: a person's login, or ``mlops``.
        use_case: name of the use case.
        subject: ``version 3`` or ``alias production``.
        value: approval status, or the number of the version; empty when the alias was removed.
        previous: the value before.
        why: as it was given.
    """

    sequence: int
    at: str
    who: str
    use_case: str
    subject: str
    value: str
    previous: str
    why: str


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
                    json.dumps(numbered._record()),  # noqa: SLF001  the same module's
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
        with self._store.transaction() as db:
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

    # --- The ledger ---------------------------------------------------------------------------------------

    def set_status(self, version: ModelVersion, status: ApprovalStatus, *, why: str, who: str = "") -> LedgerEntry:
        """Approve or reject a version.

        Args:
            version: as the person who decides saw it.
            status: the new one.
            why: for those who come later; not empty.
            who: who decides; the login name when it is not given.

        Raises:
            UsageError: somebody else has decided in the meantime, or no reason was given.
        """
        subject = f"{_VERSION_SUBJECT}{version.version}"
        return self._swap(version.use_case, subject, expected=version.status, value=status, why=why, who=who)

    def move_alias(
        self, use_case: str, alias: str, *, version: int | None, expected: int | None, why: str, who: str = ""
    ) -> LedgerEntry:
        """Point an alias at another version, if it still points where the caller saw it.

        Args:
            use_case: name of the use case.
            alias: lower-case letters, digits, ``-`` and ``_``.
            version: the new target; None to remove the alias.
            expected: the target that the caller saw; None for none.
            why: for those who come later; not empty.
            who: who does it; the login name when it is not given.

        Raises:
            UsageError: the name is not legal, the version does not exist, or the alias has moved in the meantime.
        """
        if not _ALIAS.match(alias):
            raise UsageError(f"alias {alias!r} is not a letter followed by lower-case letters, digits, '-' and '_'")
        if version is not None and self.version(use_case, version).status is ApprovalStatus.REJECTED:
            raise UsageError(f"model {use_case} version {version} was rejected; approve it before it gets an alias")
        return self._swap(
            use_case,
            f"{_ALIAS_SUBJECT}{alias}",
            expected="" if expected is None else str(expected),
            value="" if version is None else str(version),
            why=why,
            who=who,
        )

    def alias_target(self, use_case: str, alias: str) -> int | None:
        """Return the version at which an alias points; None when there is no such alias."""
        with self._store.transaction() as db:
            value = _current(db, use_case, f"{_ALIAS_SUBJECT}{alias}")
        return int(value) if value else None

    def roll_back(self, use_case: str, alias: str, *, why: str, who: str = "") -> LedgerEntry:
        """Point an alias at the version at which it pointed before.

        Raises:
            UsageError: it never pointed elsewhere, or has moved in the meantime.
        """
        entries = [entry for entry in self.history(use_case) if entry.subject == f"{_ALIAS_SUBJECT}{alias}"]
        if not entries or not entries[-1].previous:
            raise UsageError(
                f"alias '{alias}' of model '{use_case}' points nowhere else before; nothing to roll back to"
            )
        newest = entries[-1]
        return self.move_alias(
            use_case,
            alias,
            version=int(newest.previous),
            expected=int(newest.value) if newest.value else None,
            why=why,
            who=who,
        )

    def promote_best(self, version: ModelVersion) -> str:
        """Move the alias ``best`` to `version` if it is strictly better on the same test set.

        Returns:
            What became of the alias, and why, in one line.
        """
        if version.status is ApprovalStatus.REJECTED:
            return f"best: version {version.version} was rejected and is not considered"
        while True:
            current = self.alias_target(version.use_case, BEST)
            best = None if current is None else self.version(version.use_case, current)
            moves, why = _comparison(version, best)
            if not moves:
                return why
            try:
                self.move_alias(version.use_case, BEST, version=version.version, expected=current, why=why, who=CORE)
            except UsageError:
                if self.alias_target(version.use_case, BEST) == current:
                    raise
                continue  # another run has moved it in the meantime: compare with the new one
            return why

    def history(self, use_case: str | None = None) -> tuple[LedgerEntry, ...]:
        """Return the ledger of one use case, or of all, oldest first."""
        with self._store.transaction() as db:
            rows = db.execute(
                "SELECT * FROM ledger WHERE ?1 IS NULL OR use_case = ?1 COLLATE NOCASE ORDER BY sequence", (use_case,)
            ).fetchall()
        return tuple(LedgerEntry(**dict(row)) for row in rows)

    def _swap(self, use_case: str, subject: str, *, expected: str, value: str, why: str, who: str) -> LedgerEntry:
        if not why.strip():
            raise UsageError(f"{subject} of model '{use_case}': give a reason (--why), for those who come later")
        with self._store.transaction() as db:
            found = _current(db, use_case, subject)
            if found != expected:
                raise UsageError(
                    f"{subject} of model '{use_case}' is {found or 'nothing'} and no longer {expected or 'nothing'}; "
                    "somebody has changed it: look again with mlops models history"
                )
            return _append(
                db, use_case=use_case, subject=subject, value=value, who=who or _login(), why=why, previous=found
            )

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


def _comparison(version: ModelVersion, best: ModelVersion | None) -> tuple[bool, str]:
    """Return whether `version` becomes the best, and why (not)."""
    metric = version.compared_by
    if best is None:
        return True, f"best: version {version.version} is the first"
    if best.version == version.version:
        return False, f"best: version {version.version} already is"
    if best.test_set != version.test_set or best.compared_by != metric:
        return False, (
            f"best: stays at version {best.version}: it was evaluated on another test set or by another metric, so the "
            f"two cannot be compared; to move it: mlops models alias best {version.version} --why ..."
        )
    old, new = best.metrics.get(metric, math.nan), version.metrics.get(metric, math.nan)
    is_better = new > old if version.direction is Direction.HIGHER else new < old
    figures = f"{metric} {old:.6g} -> {new:.6g}"
    if is_better:
        return True, f"best: moved from version {best.version} to {version.version}: {figures}"
    return False, f"best: stays at version {best.version}: {figures} is not strictly better"


def _current(db: sqlite3.Connection, use_case: str, subject: str) -> str:
    row = db.execute(
        "SELECT value FROM ledger WHERE use_case = ? AND subject = ? ORDER BY sequence DESC LIMIT 1",
        (use_case, subject),
    ).fetchone()
    return str(row[0]) if row else ""


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


def _model_version(row: sqlite3.Row, state: Mapping[tuple[str, str], str]) -> ModelVersion:
    use_case, number = row["use_case"], row["version"]
    aliases = sorted(
        subject.removeprefix(_ALIAS_SUBJECT)
        for (owner, subject), value in state.items()
        if owner == use_case and subject.startswith(_ALIAS_SUBJECT) and value == str(number)
    )
    record = json.loads(row["record"])
    return ModelVersion(
        use_case=use_case,
        version=number,
        status=ApprovalStatus(state[use_case, f"{_VERSION_SUBJECT}{number}"]),
        aliases=tuple(aliases),
        **{**record, "direction": Direction(record.get("direction", Direction.HIGHER))},
    )


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a user database
        return "unknown"
