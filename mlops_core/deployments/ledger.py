"""The deployments of a workspace: each change of state is an entry of the workspace's ledger, which only grows.

What was deployed and how is a file of JSON, ``deployments/records/<digest>.json``, written before the first entry,
which has the digest. The present state of a deployment is the value of its newest entry, as with approvals and aliases
(decision 8); so what served when follows from the ledger alone, and a process that is killed leaves a state behind
which the next one reads.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_core.deployments.plan import DeploymentPlan, Stage
from mlops_core.deployments.states import TRANSITIONS, DeploymentState
from mlops_core.errors import StoreError, UsageError
from mlops_core.workspace import ledger
from mlops_core.workspace.files import write_atomically

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_core.workspace.model_versions import LedgerEntry
    from mlops_core.workspace.store import Store

FOLDER = "deployments"
_SUBJECT = "deployment "
_AFTER_SUBJECTS = "deployment!"
_TEST = "test of deployment "
PASSED, FAILED = "passed", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A deployment, as the ledger has it.

    Attributes:
        number: 1, 2, 3, ... within the use case.
        plan: what is deployed where and how.
        runner: name of the runner on whose engine it is.
        state: where it is.
        created: when it was planned; ISO 8601, UTC.
        changed: when it came to its state.
        who: who planned it.
        why: the reason of the last change.
        replaces: name of the plan that the endpoint had when it was planned; empty for none.
    """

    number: int
    plan: DeploymentPlan
    runner: str
    state: DeploymentState
    created: str
    changed: str
    who: str
    why: str
    replaces: str = ""

    def __str__(self) -> str:
        """Return its number, and what is deployed where."""
        return f"deployment {self.number}: {self.plan}"

    def to_json(self) -> dict[str, Any]:
        """Return the deployment as JSON types only."""
        return {
            "number": self.number,
            "use_case": self.plan.model.use_case,
            "version": self.plan.model.version,
            "stage": str(self.plan.stage),
            "endpoint": self.plan.endpoint,
            "configuration": self.plan.name,
            "runner": self.runner,
            "state": str(self.state),
            "created": self.created,
            "changed": self.changed,
            "who": self.who,
            "why": self.why,
            "replaces": self.replaces,
            "plan": self.plan.to_json(),
        }


class EndpointBusyError(UsageError):
    """Another process is changing the endpoint."""


class DeploymentLedger:
    """The deployments of one workspace."""

    def __init__(self, store: Store) -> None:
        """Use the ledger of `store`."""
        self._store = store
        self._folder = store.home / FOLDER

    # --- Reading ------------------------------------------------------------------------------------------

    def deployments(self, use_case: str | None = None, *, until: dt.datetime | None = None) -> tuple[Deployment, ...]:
        """Return the deployments of one use case (in any case), or of all, newest first.

        Args:
            use_case: name of the use case; None for all.
            until: as they were at this time; None for now.
        """
        with self._store.reading() as db:
            return self._read(db, use_case, until=until)

    def deployment(self, use_case: str, number: int) -> Deployment:
        """Return one deployment.

        Raises:
            UsageError: there is none.
        """
        known = self.deployments(use_case)
        for each in known:
            if each.number == number:
                return each
        numbers = ", ".join(str(each.number) for each in reversed(known)) or "none"
        raise UsageError(f"no deployment {number} of '{use_case}' in {self._store.home}; deployments: {numbers}")

    def of_version(self, use_case: str, version: int) -> tuple[Deployment, ...]:
        """Return the deployments of a version that are not over, newest first: it answers there, or will."""
        return tuple(
            each
            for each in self.deployments(use_case)
            if each.plan.model.version == version and not each.state.is_final
        )

    def at_endpoint(self, use_case: str, endpoint: str, *, runner: str) -> tuple[Deployment, ...]:
        """Return the deployments to an endpoint, newest first."""
        return tuple(
            each for each in self.deployments(use_case) if each.plan.endpoint == endpoint and each.runner == runner
        )

    def _read(
        self, db: sqlite3.Connection, use_case: str | None, *, until: dt.datetime | None = None
    ) -> tuple[Deployment, ...]:
        condition, values = ("AND use_case = ? COLLATE NOCASE ", (use_case,)) if use_case is not None else ("", ())
        moment = until.astimezone(dt.UTC).isoformat(timespec="milliseconds") if until else "9999"
        rows = db.execute(
            "SELECT at, who, use_case, subject, value, why, digest FROM ledger "  # noqa: S608  the conditions above
            f"WHERE subject >= ? AND subject < ? {condition}ORDER BY sequence",
            (_SUBJECT, _AFTER_SUBJECTS, *values),
        )
        known: dict[tuple[str, str], Deployment] = {}
        for row in rows:
            if row["at"] > moment:
                continue
            key = (row["use_case"], row["subject"])
            if row["digest"]:
                known[key] = self._planned(row)
            elif key in known:
                state = DeploymentState(row["value"])
                known[key] = replace(known[key], state=state, changed=row["at"], why=row["why"])
        order = {key: index for index, key in enumerate(known)}
        return tuple(known[key] for key in sorted(known, key=order.__getitem__, reverse=True))

    def _planned(self, row: sqlite3.Row) -> Deployment:
        """Return the deployment that an entry with a digest plans."""
        number = int(row["subject"].removeprefix(_SUBJECT))
        path = self._folder / "records" / f"{row['digest']}.json"
        try:
            data = _read_record(path, digest=row["digest"])
            return Deployment(
                number=number,
                plan=DeploymentPlan.from_json(data["plan"]),
                runner=data["runner"],
                replaces=data["replaces"],
                state=DeploymentState(row["value"]),
                created=row["at"],
                changed=row["at"],
                who=row["who"],
                why=row["why"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"deployment {number} of {row['use_case']}: {path}: {error}; restore the file from a backup"
            ) from error

    # --- Writing ------------------------------------------------------------------------------------------

    def plan(self, plan: DeploymentPlan, *, runner: str, why: str, who: str = "", replaces: str = "") -> Deployment:
        """Write down a deployment that begins; hold the endpoint's lock.

        Raises:
            UsageError: another deployment to the endpoint is under way, or no reason was given.
        """
        ledger.check_reason(why, what=str(plan))
        digest = self._keep({"plan": plan.to_json(), "runner": runner, "replaces": replaces})
        use_case = plan.model.use_case
        with self._store.transaction() as db:
            known = self._read(db, use_case)
            for each in known:
                if each.plan.endpoint == plan.endpoint and each.runner == runner and each.state.is_under_way:
                    raise UsageError(f"{each} is {each.state}; it must end before another one begins")
            number = max((each.number for each in known), default=0) + 1
            entry = ledger.append(
                db,
                use_case=use_case,
                subject=f"{_SUBJECT}{number}",
                value=DeploymentState.PLANNED,
                who=who or ledger.login(),
                why=why,
                digest=digest,
            )
        return Deployment(
            number=number,
            plan=plan,
            runner=runner,
            state=DeploymentState.PLANNED,
            created=entry.at,
            changed=entry.at,
            who=entry.who,
            why=entry.why,
            replaces=replaces,
        )

    def move(self, deployment: Deployment, state: DeploymentState, *, why: str, who: str = ledger.CORE) -> Deployment:
        """Write down that a deployment has come to a state; one that is in service replaces its predecessor.

        Raises:
            UsageError: the deployment is no longer in the state that the caller saw.
            StoreError: no deployment goes from its state to this one.
        """
        if state not in TRANSITIONS[deployment.state]:
            raise StoreError(f"{deployment} is {deployment.state} and cannot become {state}")
        use_case, subject = deployment.plan.model.use_case, f"{_SUBJECT}{deployment.number}"
        with self._store.transaction() as db:
            ledger.check_unchanged(db, use_case, subject, expected=deployment.state, why=why)
            if state is DeploymentState.IN_SERVICE:
                for other in self._read(db, use_case):
                    if other.number != deployment.number and _is_predecessor(other, deployment):
                        reason = f"by deployment {deployment.number}"
                        _append(db, other, DeploymentState.REPLACED, why=reason, who=who)
            entry = _append(db, deployment, state, why=why, who=who)
        return replace(deployment, state=state, changed=entry.at, why=entry.why)

    def record_test(self, deployment: Deployment, report: Mapping[str, Any], *, has_passed: bool, why: str) -> None:
        """Write down the result of a deployment test; of staging, also for the approval of the version."""
        digest = self._keep(report)
        model, value = deployment.plan.model, PASSED if has_passed else FAILED
        subjects = [f"{_TEST}{deployment.number}"]
        if deployment.plan.stage is Stage.STAGING:
            subjects.append(ledger.staging_test_subject(model.version))
        with self._store.transaction() as db:
            for subject in subjects:
                ledger.append(
                    db,
                    use_case=model.use_case,
                    subject=subject,
                    value=value,
                    who=ledger.login(),
                    why=why,
                    previous=ledger.current_value(db, model.use_case, subject),
                    digest=digest,
                )

    def staging_test(self, use_case: str, version: int) -> str:
        """Return ``passed`` or ``failed``: the newest test of a version in staging; empty for none."""
        with self._store.reading() as db:
            return ledger.current_value(db, use_case, ledger.staging_test_subject(version))

    def history(self, deployment: Deployment) -> tuple[LedgerEntry, ...]:
        """Return the entries about one deployment and its tests, oldest first."""
        subjects = {f"{_SUBJECT}{deployment.number}", f"{_TEST}{deployment.number}"}
        with self._store.reading() as db:
            return tuple(
                entry for entry in ledger.entries(db, deployment.plan.model.use_case) if entry.subject in subjects
            )

    def _keep(self, data: Mapping[str, Any]) -> str:
        """Write a document under the digest of its content, unless it is there, and return the digest."""
        text = json.dumps(data, sort_keys=True, ensure_ascii=False) + "\n"
        digest = hashlib.sha256(text.encode()).hexdigest()
        path = self._folder / "records" / f"{digest}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_atomically(path, text)
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written: {error.strerror or error}; make room or use --workspace"
            ) from error
        return digest

    # --- One at a time ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, endpoint: str, *, runner: str) -> Iterator[None]:
        """Keep other processes from changing an endpoint; the system releases it when this one ends.

        Raises:
            EndpointBusyError: another process has it.
        """
        path = self._lock_file(endpoint, runner)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror or error}; use --workspace") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                how = f"Ctrl-C in its terminal, or kill {owner}" if owner else "Ctrl-C in its terminal"
                raise EndpointBusyError(
                    f"process {owner or 'of somebody else'} is changing the endpoint '{endpoint}'; wait for its end, "
                    f"or end it: {how}"
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _lock_file(self, endpoint: str, runner: str) -> Path:
        return self._folder / "locks" / f"{runner}-{endpoint}.lock"


def _read_record(path: Path, *, digest: str) -> dict[str, Any]:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError("it was changed")
    data: dict[str, Any] = json.loads(content)
    return data


def _append(
    db: sqlite3.Connection, deployment: Deployment, state: DeploymentState, *, why: str, who: str
) -> LedgerEntry:
    return ledger.append(
        db,
        use_case=deployment.plan.model.use_case,
        subject=f"{_SUBJECT}{deployment.number}",
        value=state,
        who=who,
        why=why,
        previous=deployment.state,
    )


def _is_predecessor(other: Deployment, deployment: Deployment) -> bool:
    is_same_endpoint = other.plan.endpoint == deployment.plan.endpoint and other.runner == deployment.runner
    return is_same_endpoint and other.state is DeploymentState.IN_SERVICE
