"""Finds gates that can accept no model, whatever its metrics are.

Each quantity (a metric, on a slice or not) gets the range that the clauses of a conjunction leave to it; a bound of an
interval never lies beyond its value. An empty range is a contradiction, and so is a licence that the data or a base
model is known not to have. The check is sound, not complete: a comparison
with the champion (also by no_regression) and a `worst` are not related to other clauses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core.gates.clauses import Bound, Comparison, LicenceClause
from mlops_core.gates.conditions import AllOf, AnyOf, Not
from mlops_core.gates.licensing import judge_licence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.datasets.licences import Licences
    from mlops_core.evaluation.metrics import Metric
    from mlops_core.gates.conditions import Condition

_MOST_BRANCHES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """The range of a quantity, and the clauses that set its ends."""

    low: float = -math.inf
    high: float = math.inf
    is_low_open: bool = False
    is_high_open: bool = False
    low_clause: str = ""
    high_clause: str = ""

    def with_low(self, value: float, clause: str, *, is_open: bool) -> _Limits:
        if (value, is_open) <= (self.low, self.is_low_open):
            return self
        return replace(self, low=value, is_low_open=is_open, low_clause=clause)

    def with_high(self, value: float, clause: str, *, is_open: bool) -> _Limits:
        if (-value, is_open) <= (-self.high, self.is_high_open):
            return self
        return replace(self, high=value, is_high_open=is_open, high_clause=clause)

    @property
    def contradiction(self) -> str:
        if self.low < self.high or (self.low == self.high and not self.is_low_open and not self.is_high_open):
            return ""
        return " and ".join(filter(None, (self.low_clause, self.high_clause)))


_Quantities = dict[tuple[str, str], _Limits]
_ENDS = (Bound.LOWER, None, Bound.UPPER)


def find_contradiction(
    condition: Condition,
    *,
    metrics: Mapping[str, Metric],
    parameters: Mapping[str, float],
    licences: Licences | None = None,
) -> str:
    """Return the clauses that cannot all hold; empty if there may be a model that meets the condition.

    Args:
        condition: of the gate.
        metrics: the declared metrics by name; their ranges count.
        parameters: known values; clauses with other parameters are passed over.
        licences: of the data and the base models, all of them known; None while they are not.

    Raises:
        EvidenceError: a licence that a clause asks for is unknown.
    """
    search = _Search(metrics, parameters, licences)
    search.explore([(condition, True)], {})
    return "" if search.is_possible else search.contradiction


class _Search:
    """Walks through the branches of a condition until one is possible."""

    def __init__(
        self, metrics: Mapping[str, Metric], parameters: Mapping[str, float], licences: Licences | None
    ) -> None:
        self._metrics = metrics
        self._parameters = parameters
        self._licences = licences
        self._branches = 0
        self.is_possible = False
        self.contradiction = ""

    def explore(self, waiting: list[tuple[Condition, bool]], limits: _Quantities) -> None:
        """Follow a branch: the conditions that must still hold, beside the limits so far."""
        while waiting:
            condition, wanted = waiting.pop()
            match condition:
                case Not():
                    waiting.append((condition.part, not wanted))
                case Comparison() | LicenceClause():
                    limits, fault = self._with_clause(limits, condition, wanted=wanted)
                    if fault:
                        self.contradiction = self.contradiction or fault
                        return
                case AllOf() | AnyOf() if isinstance(condition, AllOf) is wanted:
                    waiting.extend((part, wanted) for part in reversed(condition.parts))
                case AllOf() | AnyOf():
                    for part in condition.parts:
                        self._branches += 1
                        if self.is_possible or self._branches > _MOST_BRANCHES:
                            self.is_possible = True
                            return
                        self.explore([*waiting, (part, wanted)], limits)
                    return
        self.is_possible = True

    def _with_clause(
        self, limits: _Quantities, clause: Comparison | LicenceClause, *, wanted: bool
    ) -> tuple[_Quantities, str]:
        """Return the limits with those of a clause, and the contradiction to which it leads; empty for none."""
        if isinstance(clause, Comparison):
            limits = self._limited(limits, clause, wanted=wanted)
            return limits, next(filter(None, (each.contradiction for each in limits.values())), "")
        if self._licences is None:
            return limits, ""
        is_met, reason = judge_licence(clause, self._licences)
        return limits, "" if is_met is wanted else f"{'' if wanted else 'not '}{clause}, but {reason}"

    def _limited(self, limits: _Quantities, clause: Comparison, *, wanted: bool) -> _Quantities:
        threshold = self._number(clause)
        if threshold is None or (clause.slice and clause.slice.value is None):
            return limits
        operator = clause.operator if wanted else clause.operator.opposite
        text = str(clause) if wanted else f"not {clause}"
        is_open = str(operator) in "<>"
        of = clause.slice.of(clause.metric) if clause.slice else clause.metric
        position = _ENDS.index(clause.bound)
        found = dict(limits)
        # What bounds a lower end from below bounds the value, too; and the other way around.
        ends = _ENDS[position:] if operator.is_minimum else _ENDS[: position + 1]
        for end in ends:
            key = (of, str(end))
            current = found.get(key) or self._declared(clause.metric)
            if operator.is_minimum:
                found[key] = current.with_low(threshold, text, is_open=is_open)
            else:
                found[key] = current.with_high(threshold, text, is_open=is_open)
        return found

    def _number(self, clause: Comparison) -> float | None:
        if isinstance(clause.threshold, str):
            value = self._parameters.get(clause.threshold)
            return None if value is None else float(value)
        return float(clause.threshold) if isinstance(clause.threshold, int | float) else None

    def _declared(self, metric: str) -> _Limits:
        declared = self._metrics.get(metric)
        if declared is None:
            return _Limits(low=0.0, high=1.0)
        return _Limits(low=declared.minimum, high=declared.maximum)
