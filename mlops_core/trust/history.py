"""What the registry said at a past time: which version each alias served, since when, by whom, and on what verdict.

Everything about approvals and aliases comes from the ledger alone, as it was then. The verdict is that of the run which
registered the version.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError, StoreError, UsageError
from mlops_core.workspace.ledger import CORE, alias_subject, version_subject
from mlops_core.workspace.model_moves import NAME_SUBJECT
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.gates.verdicts import Verdict
    from mlops_core.workspace.model_versions import LedgerEntry
    from mlops_core.workspace.store import Store

_REGISTRATION = re.compile(r"registered by run (\S+)\Z")
_ALIAS, _VERSION = alias_subject(""), version_subject("")


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDecision:
    """Who decided something, when and why.

    Attributes:
        value: approval status of a version, or number of the version that an alias pointed to.
        at: ISO 8601, UTC.
        who: a person's login, or ``mlops``.
        why: the reason that was given.
        sequence: position of the entry in the ledger.
    """

    value: str
    at: str
    who: str
    why: str
    sequence: int

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON types only."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """What an alias served.

    Attributes:
        alias: its name.
        version: number of the version.
        move: the move of the alias to the version.
        approval: the approval of the version as it was then; None if the ledger has none.
        run_id: the run that registered the version; empty if the ledger does not say.
        verdict: of the gate in that run; None if it is gone.
        problem: why there is no verdict; empty if there is one.
    """

    alias: str
    version: int
    move: PastDecision
    approval: PastDecision | None
    run_id: str = ""
    verdict: Verdict | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON types only."""
        return {
            "alias": self.alias,
            "version": self.version,
            "move": self.move.to_json(),
            "approval": self.approval.to_json() if self.approval else None,
            "run_id": self.run_id,
            "verdict": self.verdict.to_json() if self.verdict else None,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRegistry:
    """The registry of one use case at a time.

    Attributes:
        use_case: its name.
        at: the time, ISO 8601.
        aliases: what each alias served then, in alphabetical order.
        approvals: number of a version -> its approval then, ascending.
        notes: what else there is to know about the time, one line each.
    """

    use_case: str
    at: str
    aliases: tuple[ServedVersion, ...]
    approvals: dict[int, PastDecision]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON types only."""
        return {
            "use_case": self.use_case,
            "at": self.at,
            "aliases": [alias.to_json() for alias in self.aliases],
            "approvals": {str(version): approval.to_json() for version, approval in self.approvals.items()},
            "notes": list(self.notes),
        }


def parse_moment(text: str) -> dt.datetime:
    """Return the time that a text in ISO 8601 names.

    A date means the end of that day. Without an offset, it is UTC.

    Raises:
        UsageError: the text is not such a time.

    Example:
        >>> parse_moment("2026-05-03").isoformat(), parse_moment("2026-05-03T14:30+02:00").isoformat()
        ('2026-05-03T23:59:59.999999+00:00', '2026-05-03T14:30:00+02:00')
    """
    try:
        try:
            moment = dt.datetime.combine(dt.date.fromisoformat(text), dt.time.max)
        except ValueError:
            moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--at {text}: expected a time in ISO 8601, such as 2026-05-03 or 2026-05-03T14:30") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def registry_at(store: Store, use_case: str, moment: dt.datetime) -> PastRegistry:
    """Return the state of a use case's registry at a time; an entry of exactly that time counts.

    Args:
        store: the workspace.
        use_case: name of the use case at that time or now, in any case.
        moment: the time, with its offset.

    Raises:
        UsageError: the ledger has no entry about the use case.
        StoreError: the time of an entry is damaged.
    """
    entries = Registry(store).history(use_case)
    if not entries:
        raise UsageError(f"no model of '{use_case}' was ever registered in {store.home}: see mlops models list")
    past = [entry for entry in entries if _time(entry) <= moment]
    newest = {entry.subject: entry for entry in past}
    aliases = tuple(
        _served(store, subject.removeprefix(_ALIAS), entry, past=past)
        for subject, entry in sorted(newest.items())
        if subject.startswith(_ALIAS) and entry.value
    )
    approvals = {
        int(subject.removeprefix(_VERSION)): _decision(entry)
        for subject, entry in newest.items()
        if subject.startswith(_VERSION)
    }
    return PastRegistry(
        use_case=entries[-1].use_case,
        at=moment.isoformat(),
        aliases=aliases,
        approvals=dict(sorted(approvals.items())),
        notes=tuple(_notes(entries, past, moment)),
    )


def _time(entry: LedgerEntry) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(entry.at)
    except ValueError:
        raise StoreError(
            f"entry {entry.sequence} of the ledger: {entry.at!r} is not a time; check the ledger: mlops doctor"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _decision(entry: LedgerEntry) -> PastDecision:
    return PastDecision(value=entry.value, at=entry.at, who=entry.who, why=entry.why, sequence=entry.sequence)


def _served(store: Store, alias: str, move: LedgerEntry, *, past: Sequence[LedgerEntry]) -> ServedVersion:
    about = [entry for entry in past if entry.subject == version_subject(move.value)]
    runs = [match[1] for entry in about if entry.who == CORE and (match := _REGISTRATION.match(entry.why))]
    run_id = runs[-1] if runs else ""
    verdict, problem = _verdict(store, run_id)
    return ServedVersion(
        alias=alias,
        version=int(move.value),
        move=_decision(move),
        approval=_decision(about[-1]) if about else None,
        run_id=run_id,
        verdict=verdict,
        problem=problem,
    )


def _verdict(store: Store, run_id: str) -> tuple[Verdict | None, str]:
    """Return the verdict of a run, or None and why there is none."""
    if not run_id:
        return None, "the ledger does not say which run registered it"
    try:
        verdict = store.runs.load(run_id).verdict
    except MlopsError as error:
        return None, f"the record of run {run_id} is gone ({error})"
    return verdict, "" if verdict else f"run {run_id} has no verdict"


def _notes(entries: Sequence[LedgerEntry], past: Sequence[LedgerEntry], moment: dt.datetime) -> list[str]:
    notes = []
    if moment > dt.datetime.now(dt.UTC):
        notes.append("this time is not over: it is the state now")
    if not past:
        first = min(entries, key=_time)
        notes.append(f"nothing yet: the first entry is of {first.at}")
    for entry in entries:
        if entry.subject == NAME_SUBJECT:
            is_old = entry.use_case == entry.previous
            if is_old and _time(entry) <= moment:
                notes.append(
                    f"the models were moved to {entry.value} on {entry.at}: see mlops models history -u {entry.value}"
                )
            elif not is_old and moment < _time(entry):
                notes.append(f"the models were called {entry.previous} until {entry.at}")
    return notes
