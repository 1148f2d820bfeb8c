"""How metrics and verdicts that were computed again differ from those that were recorded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.evaluation.metrics import MetricValue
    from mlops_core.gates.verdicts import Verdict

RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-9, 1e-12
"""Values that are computed again may differ so much: another processor sums in another order. One test sample more or
less changes a metric by far more, up to hundreds of millions of samples."""


def metric_difference(recorded: MetricValue | None, again: MetricValue | None) -> str:
    """Return how two values of a metric differ, as the rest of a sentence; empty if they do not."""
    if recorded is None or again is None:
        return (
            ""
            if recorded is again
            else f"was {'not ' if recorded is None else ''}recorded, and computed again it is "
            + ("missing" if again is None else f"{again.value:.10g}")
        )
    for name in ("value", "low", "high"):
        before, now = getattr(recorded, name), getattr(again, name)
        if not _is_close(before, now):
            what = "" if name == "value" else f"has a {'lower' if name == 'low' else 'upper'} bound that "
            return f"{what}was recorded as {before:.10g}; computed again it is {now:.10g}"
    return "" if recorded.count == again.count else f"was recorded for {recorded.count} samples, not {again.count}"


def verdict_difference(recorded: Verdict, again: Verdict) -> str:
    """Return how two verdicts differ, as a sentence; empty if they do not."""
    if recorded.outcome is not again.outcome:
        return f"the verdict was recorded as {recorded.outcome}; judged again it is {again.outcome}: {again.message}"
    if len(recorded.clauses) != len(again.clauses):
        return "the verdict was recorded with other clauses than the gate has"
    for before, now in zip(recorded.clauses, again.clauses, strict=True):
        same = (before.clause, before.metric, before.outcome) == (now.clause, now.metric, now.outcome)
        pairs = ((before.value, now.value), (before.threshold, now.threshold))
        if not same or not all(_is_close(*pair) for pair in pairs):
            return (
                f"'{before.clause}' was recorded as {before.outcome} with {before.value} against {before.threshold}; "
                f"judged again it is {now.outcome} with {now.value} against {now.threshold}"
            )
    return ""


def _is_close(before: float | None, now: float | None) -> bool:
    if before is None or now is None:
        return before is now
    is_same = before == now or (math.isnan(before) and math.isnan(now))
    return is_same or math.isclose(before, now, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
