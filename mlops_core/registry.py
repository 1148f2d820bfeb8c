"""Model versions: an accepted model becomes a numbered version of its use case, waiting for a person's approval."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.errors import UsageError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from mlops_core.store import Store


class ApprovalStatus(StrEnum):
    """Where a version stands; the words are the model registry's of SageMaker."""

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
        dataset: name of the data.
        dataset_digest: digest of the data.
        is_generated_data: the data were made by code.
        config: the configuration as used, as YAML text.
        plugin: distribution and version.
    """

    use_case: str
    version: int
    status: ApprovalStatus
    run_id: str
    created: str
    artifact: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    dataset: str = ""
    dataset_digest: str = ""
    is_generated_data: bool = False
    config: str = ""
    plugin: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the version as JSON types only."""
        return {**self._record(), "use_case": self.use_case, "version": self.version, "status": self.status}

    def _record(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "created": self.created,
            "artifact": self.artifact,
            "metrics": dict(self.metrics),
            "dataset": self.dataset,
            "dataset_digest": self.dataset_digest,
            "is_generated_data": self.is_generated_data,
            "config": self.config,
            "plugin": self.plugin,
        }


class Registry:
    """The model versions of one workspace."""

    def __init__(self, store: Store) -> None:
        """Use the database of `store`."""
        self._store = store

    def register(self, version: ModelVersion) -> ModelVersion:
        """Give the model the next number of its use case, or return the version that its run already has.

        Args:
            version: `version.version` is ignored.
        """
        with self._store.transaction() as db:
            known = db.execute(
                "SELECT * FROM model_versions WHERE use_case = ? AND run_id = ?", (version.use_case, version.run_id)
            ).fetchone()
            if known:
                return _model_version(known)
            newest = db.execute(
                "SELECT coalesce(max(version), 0) FROM model_versions WHERE use_case = ?", (version.use_case,)
            ).fetchone()[0]
            record = json.dumps(version._record())  # noqa: SLF001  the same class's private half
            db.execute(
                "INSERT INTO model_versions VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    version.use_case,
                    newest + 1,
                    version.run_id,
                    version.created,
                    version.artifact,
                    version.status,
                    record,
                ),
            )
            row = db.execute(
                "SELECT * FROM model_versions WHERE use_case = ? AND version = ?", (version.use_case, newest + 1)
            ).fetchone()
        return _model_version(row)

    def versions(self, use_case: str | None = None) -> tuple[ModelVersion, ...]:
        """Return the versions of one use case, or of all, newest first."""
        with self._store.transaction() as db:
            rows = db.execute(
                "SELECT * FROM model_versions WHERE ?1 IS NULL OR use_case = ?1 COLLATE NOCASE "
                "ORDER BY use_case, version DESC",
                (use_case,),
            ).fetchall()
        return tuple(_model_version(row) for row in rows)

    def version(self, use_case: str, number: int | None = None) -> ModelVersion:
        """Return one version; the newest when no number is given.

        Raises:
            UsageError: there is none.
        """
        versions = self.versions(use_case)
        for version in versions:
            if number in (None, version.version):
                return version
        known = ", ".join(str(version.version) for version in reversed(versions)) or "none; run it first"
        what = f"version {number} of model '{use_case}'" if number else f"registered model of '{use_case}'"
        raise UsageError(f"no {what} in {self._store.home}; versions: {known}")


def _model_version(row: sqlite3.Row) -> ModelVersion:
    return ModelVersion(
        use_case=row["use_case"],
        version=row["version"],
        status=ApprovalStatus(row["status"]),
        **json.loads(row["record"]),
    )
