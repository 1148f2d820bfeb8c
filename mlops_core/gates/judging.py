"""Decides the clauses of a gate: met, not met, or not enough evidence to say.

A clause about a bound of a confidence interval or about the champion is met only if the whole interval is on the right
side. It is not met if the value itself is on the wrong side; in between, the test set is too small to say. Slices with
fewer than ten samples never decide. A clause that has nothing to compare (a missing metric, another test set) is
unusable, and a gate with an unusable clause rejects the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.evaluation.metrics import Direction
from mlops_core.evaluation.paired import holm_adjusted
from mlops_core.evaluation.sample_sizes import MOST_SAMPLES, further_samples
from mlops_core.gates.clauses import Bound, Champion, Comparison, LicenceClause, NoRegression
from mlops_core.gates.conditions import AllOf, AnyOf, Not
from mlops_core.gates.evidence import FEWEST_SAMPLES, RECALL, EvidenceError
from mlops_core.gates.licensing import judge_licence
from mlops_core.gates.verdicts import ClauseVerdict, GateOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.datasets.licences import Licences
    from mlops_core.evaluation.metrics import Metric, MetricReport, MetricValue
    from mlops_core.evaluation.paired import PairedDifference
    from mlops_core.gates.clauses import Clause
    from mlops_core.gates.conditions import Condition
    from mlops_core.gates.evidence import GateEvidence

_NO_CHAMPION = "there is no best version yet, with which it could be compared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a clause came to, before `not` is taken into account.

    Attributes:
        is_met: None if the evidence does not decide.
        value: left side; None if it is not usable.
        threshold: right side; None if it is not usable.
        reason: one sentence.
        fault: why the clause is unusable; empty if it is usable.
        further: how many further samples would decide; None if unknown or decided.
    """

    is_met: bool | None
    value: float | None = None
    threshold: float | None = None
    reason: str = ""
    fault: str = ""
    further: int | None = None


class Judge:
    """Everything that one verdict rests on."""

    def __init__(
        self,
        report: MetricReport,
        *,
        metrics: Mapping[str, Metric],
        parameters: Mapping[str, float],
        evidence: GateEvidence | None,
        licences: Licences | None,
    ) -> None:
        self._report = report
        self._metrics = metrics
        self._parameters = parameters
        self._evidence = evidence
        self._licences = licences
        self._findings: dict[Clause, Finding] = {}

    def holds(self, condition: Condition) -> bool | None:
        """Evaluate a condition in three-valued logic; None where the evidence does not decide."""
        match condition:
            case Comparison() | NoRegression() | LicenceClause():
                return self.finding(condition).is_met
            case AllOf():
                return _every([self.holds(part) for part in condition.parts])
            case AnyOf():
                return _negated(_every([_negated(self.holds(part)) for part in condition.parts]))
            case Not():
                return _negated(self.holds(condition.part))

    def clause(self, clause: Clause, *, wanted: bool) -> ClauseVerdict:
        """Return the verdict on a clause that the gate wants true or, under a not, false."""
        finding = self.finding(clause)
        passed = not finding.fault and finding.is_met is wanted
        is_open = not finding.fault and finding.is_met is None
        return ClauseVerdict(
            clause=str(clause) if wanted else f"not {clause}",
            metric=clause.metric,
            value=finding.value,
            threshold=finding.threshold,
            passed=passed,
            reason=finding.fault or finding.reason or f"{finding.value:g} {'meets' if passed else 'does not meet'} it",
            outcome=GateOutcome.UNDECIDED if is_open else GateOutcome.REJECTED,
            further_samples=finding.further if is_open else None,
        )

    def failure(self, clause: Clause, verdict: ClauseVerdict) -> str:
        """Return the sentence that says why a clause failed, or why it could not be decided."""
        finding = self.finding(clause)
        if finding.fault:
            return f"Execution failed: {finding.fault}"
        if verdict.outcome is GateOutcome.UNDECIDED:
            return f"Not enough evidence for {verdict.clause}: {finding.reason}"
        if isinstance(clause, Comparison) and clause.message and not clause.needs_evidence:
            return f"{clause.message.rstrip()} {verdict.threshold:g}"
        if isinstance(clause, Comparison) and not clause.needs_evidence:
            return (
                f"Execution failed: {clause.metric} is {verdict.value:g}, which fails {verdict.clause} "
                f"({verdict.threshold:g})"
            )
        return f"Execution failed: {verdict.clause}: {finding.reason}"

    def finding(self, clause: Clause) -> Finding:
        """Return what a clause came to; computed once."""
        if clause not in self._findings:
            try:
                self._findings[clause] = self._find(clause)
            except EvidenceError as error:
                self._findings[clause] = Finding(is_met=False, fault=f"{clause}: {error}")
        return self._findings[clause]

    def _find(self, clause: Clause) -> Finding:
        if isinstance(clause, LicenceClause):
            is_met, reason = judge_licence(clause, self._licences)
            return Finding(is_met=is_met, reason=reason)
        if isinstance(clause, NoRegression):
            return self._no_regression(clause)
        if isinstance(clause.threshold, Champion):
            return self._against_champion(clause, clause.threshold)
        threshold, fault = self._threshold(clause)
        if clause.slice and threshold is not None:
            return self._on_slices(clause, threshold)
        value, value_fault = self._checked(clause.metric, self._report.values.get(clause.metric))
        if value is None or threshold is None:
            number = value.value if value else None
            return Finding(is_met=False, value=number, threshold=threshold, fault=value_fault or fault)
        return _compared(clause, value, threshold)

    # --- Values and thresholds ----------------------------------------------------------------------------

    def _checked(self, name: str, value: MetricValue | None) -> tuple[MetricValue | None, str]:
        metric = self._metrics.get(name)
        if metric is None:
            return None, f"{name} is not a declared metric"
        fault = metric.fault(value.value if value else None)
        return (None, f"{name} {fault}") if fault else (value, "")

    def _threshold(self, comparison: Comparison) -> tuple[float | None, str]:
        name = comparison.threshold
        assert not isinstance(name, Champion)  # noqa: S101  for mypy: the caller asks for it first
        value = self._parameters.get(name) if isinstance(name, str) else name
        metric = self._metrics.get(comparison.metric)
        if metric is not None:
            fault = metric.fault(value)
        elif comparison.metric == RECALL and comparison.slice:
            fault = "" if isinstance(value, int | float) and 0 <= value <= 1 else f"is {value}, outside 0 to 1"
        else:
            fault = ""  # the value is found to be undeclared
        if fault or value is None:
            return None, f"threshold {name} of {comparison.metric} {fault}"
        return float(value), ""

    # --- Slices -------------------------------------------------------------------------------------------

    def _on_slices(self, clause: Comparison, threshold: float) -> Finding:
        assert clause.slice is not None  # noqa: S101  for mypy: the caller asks for it first
        evidence = self._require_evidence()
        values = evidence.slice_values(
            clause.metric, clause.slice, declared=self._metrics, needs_interval=clause.bound is not None
        )
        decisive: dict[str, MetricValue] = {}
        for name, (count, value) in values.items():
            if count >= FEWEST_SAMPLES:
                if fault := self._slice_fault(clause.metric, value):
                    raise EvidenceError(f"on '{name}', {fault}")
                decisive[name] = value
        if not decisive:
            most = max(count for count, _ in values.values())
            return Finding(
                is_met=None,
                threshold=threshold,
                reason=f"{_counted(most, 'sample')} of the slice; at least {FEWEST_SAMPLES} are needed to decide",
                further=FEWEST_SAMPLES - most,
            )
        findings = {name: _compared(clause, value, threshold) for name, value in decisive.items()}
        name = min(findings, key=lambda name: _severity(findings[name], clause, name))
        worst = findings[name]
        where = "" if clause.slice.value is not None else f"on '{name}', "
        text = worst.reason or f"{worst.value:g} {'meets' if worst.is_met else 'does not meet'} it"
        return Finding(
            is_met=_every([finding.is_met for finding in findings.values()]),
            value=worst.value,
            threshold=threshold,
            reason=f"{where}{text}",
            further=worst.further,
        )

    def _slice_fault(self, name: str, value: MetricValue) -> str:
        if name == RECALL and name not in self._metrics:
            return ""
        return self._checked(name, value)[1]

    def _require_evidence(self) -> GateEvidence:
        if self._evidence is None:
            raise EvidenceError("there are no predictions from which it could be decided")
        return self._evidence

    # --- The champion -------------------------------------------------------------------------------------

    def _against_champion(self, clause: Comparison, champion: Champion) -> Finding:
        evidence = self._require_evidence()
        if evidence.champion is None:
            return Finding(is_met=True, reason=_NO_CHAMPION)
        metric = self._metrics.get(clause.metric)
        if clause.slice is None:
            _, fault = self._checked(clause.metric, self._report.values.get(clause.metric))
            if fault:
                raise EvidenceError(fault)
        is_minimum = clause.operator.is_minimum
        limit = champion.offset if is_minimum else -champion.offset
        found = evidence.difference(
            clause.metric, clause.slice, limit=limit, is_higher_better=is_minimum, declared=self._metrics
        )
        [difference] = found.values()
        is_small = clause.slice is not None and difference.count < FEWEST_SAMPLES
        sign = 1.0 if is_minimum else -1.0
        value, best = sign * difference.later, sign * difference.earlier
        if metric is not None and (fault := metric.fault(value) or metric.fault(best)):
            raise EvidenceError(f"{clause.metric} {fault}")
        is_met = None if is_small else _decided(difference, limit)
        further = FEWEST_SAMPLES - difference.count if is_small else _further(difference, limit)
        reason = _described(difference, sign=sign, version=evidence.champion.version)
        return Finding(
            is_met=is_met,
            value=value,
            threshold=best + champion.offset,
            reason=f"{reason}; {_remedy(further)}" if is_met is None else reason,
            further=further,
        )

    def _no_regression(self, clause: NoRegression) -> Finding:
        evidence = self._require_evidence()
        if evidence.champion is None:
            return Finding(is_met=True, reason=_NO_CHAMPION)
        metric = self._metrics.get(clause.metric)
        found = evidence.difference(
            clause.metric,
            clause.slice,
            limit=-clause.margin,
            is_higher_better=metric is None or metric.direction is Direction.HIGHER,
            declared=self._metrics,
        )
        decisive = {name: each for name, each in found.items() if each.count >= FEWEST_SAMPLES}
        for name, each in decisive.items():
            if not math.isfinite(each.value):
                raise EvidenceError(f"on '{name}', the change of {clause.metric} is {each.value}, not a finite number")
        if not decisive:
            most = max(each.count for each in found.values())
            reason = f"the largest slice has {_counted(most, 'sample')}; at least {FEWEST_SAMPLES} are needed to decide"
            return Finding(is_met=None, reason=reason, further=FEWEST_SAMPLES - most)
        return _all_slices(decisive, clause, version=evidence.champion.version)


def _all_slices(decisive: Mapping[str, PairedDifference], clause: NoRegression, *, version: int) -> Finding:
    """Return the joint finding of all slices, with Holm's correction for their number."""
    limit = -clause.margin
    name, worst = min(decisive.items(), key=lambda item: (item[1].value, item[0]))
    where = f"by {worst.value:+.4g} on '{name}' ({_counted(worst.count, 'sample')}) against version {version}"
    if worst.value < limit:
        return Finding(is_met=False, value=worst.value, threshold=limit, reason=f"{clause.metric} changes {where}")
    adjusted = holm_adjusted([_p_limit(each, limit) for each in decisive.values()])
    alpha = (1 - worst.level) / 2
    unproven = [name for name, p in zip(decisive, adjusted, strict=True) if not p <= alpha]
    if not unproven:
        count = f"{len(decisive)} slices" if len(decisive) > 1 else "the only slice"
        return Finding(is_met=True, value=worst.value, threshold=limit, reason=f"shown for {count}; at worst {where}")
    counts = [_further(decisive[name], limit) for name in unproven]
    further = None if None in counts else sum(each for each in counts if each)
    shown = ", ".join(f"'{name}'" for name in unproven[:5])
    return Finding(
        is_met=None,
        value=worst.value,
        threshold=limit,
        reason=f"not shown for {shown}{' and others' if len(unproven) > 5 else ''}; {_remedy(further)}",
        further=further,
    )


def _p_limit(difference: PairedDifference, limit: float) -> float:
    """Return the p-value of the limit; 0 or 1 by the interval where the method gives none."""
    if math.isfinite(difference.p_limit):
        return difference.p_limit
    return 0.0 if difference.low >= limit else 1.0


def _compared(clause: Comparison, value: MetricValue, threshold: float) -> Finding:
    """Return the finding on a value or, where the clause wants one, on a bound of its interval."""
    number, limit = value.value, clause.operator
    if clause.bound is None:
        return Finding(is_met=limit.holds(number, threshold), value=number, threshold=threshold)
    bound = value.low if clause.bound is Bound.LOWER else value.high
    if value.method == "bootstrap" and (value.groups or value.count) == 1:
        raise EvidenceError(f"{clause.metric} rests on a single group, which has no confidence interval; test on more")
    if not math.isfinite(bound):
        raise EvidenceError(f"{clause.metric} has no confidence interval; its {clause.bound} bound is {bound}")
    is_cautious = limit.is_minimum is (clause.bound is Bound.LOWER)
    text = f"{bound:.4g} is the {clause.bound} bound of {number:.4g}"
    if limit.holds(bound, threshold) or not is_cautious or not limit.holds(number, threshold):
        return Finding(is_met=limit.holds(bound, threshold), value=bound, threshold=threshold, reason=text)
    further = further_samples(value, threshold)
    unit = "group" if value.method == "bootstrap" else "sample"
    reason = f"{text}; {_remedy(further, unit)}"
    return Finding(is_met=None, value=bound, threshold=threshold, reason=reason, further=further)


def _remedy(further: int | None, unit: str = "sample") -> str:
    count = f"about {_counted(further, f'further {unit}')}" if further else "no number of samples"
    return f"{count} would decide"


def _decided(difference: PairedDifference, limit: float) -> bool | None:
    if difference.value < limit:
        return False
    return True if difference.low >= limit else None


def _further(difference: PairedDifference, limit: float) -> int | None:
    """Return how many further samples would put the lower bound above the limit, if the difference stays."""
    distance = difference.value - limit
    half = difference.value - difference.low
    if distance <= 0 or not math.isfinite(half):
        return None
    try:
        needed = difference.count * ((half / distance) ** 2 - 1)
    except OverflowError:
        return None
    return max(1, math.ceil(needed)) if needed <= MOST_SAMPLES else None


def _described(difference: PairedDifference, *, sign: float, version: int) -> str:
    low, high = sorted((sign * difference.low, sign * difference.high))
    p_value = f", p = {difference.p_value:.2g}" if math.isfinite(difference.p_value) else ""
    by = " by jackknife" if difference.method.startswith("jackknife") else ""
    return (
        f"{sign * difference.value:+.4g} against version {version} ({difference.level:.0%} interval{by} {low:+.4g} to "
        f"{high:+.4g}{p_value}, {_counted(difference.count, 'sample')})"
    )


def _severity(finding: Finding, clause: Comparison, name: str) -> tuple[int, float, str]:
    """Return a key by which the slice that decides comes first: unmet, then undecided, then the worst value."""
    value = finding.value if finding.value is not None else 0.0
    rank = {False: 0, None: 1, True: 2}[finding.is_met]
    return rank, value if clause.operator.is_minimum else -value, name


def _every(values: Sequence[bool | None]) -> bool | None:
    """Return Kleene's conjunction."""
    if False in values:
        return False
    return None if None in values else True


def _negated(value: bool | None) -> bool | None:  # noqa: FBT001  a truth value
    return None if value is None else not value


def _counted(count: int | None, unit: str) -> str:
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"
