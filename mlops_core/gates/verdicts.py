"""Verdicts: the result of a gate and of each of its clauses, as data.

A clause that the evidence does not decide leaves the verdict undecided: the model is not registered, and the verdict
says about how many further samples would decide.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class GateOutcome(StrEnum):
    """The outcome of a gate or of a clause."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNDECIDED = "not enough evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseVerdict:
    """The result of one clause.

    Attributes:
        clause: the clause as it is written in the gate.
        metric: its name.
        value: None when there is none that could be compared.
        threshold: None when there is none.
        passed: whether the gate needed it so, and it was.
        reason: one sentence.
        outcome: accepted if it passed; undecided if the test set is too small to say.
        further_samples: about how many further test samples would decide; None if it is decided, or if no number would.

    Example:
        >>> ClauseVerdict(
        ...     clause="acc >= 0.9", metric="acc", value=0.8, threshold=0.9, passed=False, reason="0.8 does not meet it"
        ... ).outcome.value
        'rejected'
    """

    clause: str
    metric: str
    value: float | None
    threshold: float | None
    passed: bool
    reason: str
    outcome: GateOutcome = GateOutcome.REJECTED
    further_samples: int | None = None

    def __post_init__(self) -> None:
        """Let the outcome follow from `passed` where it is not undecided, as in records without an outcome."""
        if self.passed or self.outcome is not GateOutcome.UNDECIDED:
            object.__setattr__(self, "outcome", GateOutcome.ACCEPTED if self.passed else GateOutcome.REJECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict of the gate on a model.

    Attributes:
        accepted: it may be registered.
        clauses: each comparison, in the order of the gate.
        message: why it was rejected or could not be decided; empty when it was accepted.
        outcome: accepted, rejected or undecided.

    Example:
        >>> verdict = Verdict(accepted=True, clauses=())
        >>> Verdict.from_json(verdict.to_json()) == verdict
        True
    """

    accepted: bool
    clauses: tuple[ClauseVerdict, ...]
    message: str = ""
    outcome: GateOutcome = GateOutcome.REJECTED

    def __post_init__(self) -> None:
        """Let the outcome follow from `accepted` where it is not undecided, as in records without an outcome."""
        if self.accepted or self.outcome is not GateOutcome.UNDECIDED:
            object.__setattr__(self, "outcome", GateOutcome.ACCEPTED if self.accepted else GateOutcome.REJECTED)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON types only."""
        return {
            "accepted": self.accepted,
            "outcome": str(self.outcome),
            "message": self.message,
            "clauses": [{name: getattr(clause, name) for name in ClauseVerdict.__slots__} for clause in self.clauses],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_json` wrote; keys that a later version added are ignored."""
        known = {each.name for each in fields(ClauseVerdict)}
        clauses = [{name: value for name, value in clause.items() if name in known} for clause in data["clauses"]]
        return cls(
            accepted=data["accepted"],
            message=data["message"],
            clauses=tuple(
                ClauseVerdict(**{**clause, "outcome": GateOutcome(clause.get("outcome", GateOutcome.REJECTED))})
                for clause in clauses
            ),
            outcome=GateOutcome(data.get("outcome", GateOutcome.REJECTED)),
        )
