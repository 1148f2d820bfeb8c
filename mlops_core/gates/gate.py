"""The gate of a use case: its condition, checked before a run and evaluated on a report.

A gate fails closed: if any metric that it mentions is missing, not finite or outside its declared range, or a threshold
is, the verdict is "rejected", whatever and / or / not say around it. The same object is evaluated here and compiled for
an engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.errors import PipelineError, did_you_mean
from mlops_core.evaluation.metrics import Direction, Metric, Unit
from mlops_core.gates.clauses import LABEL, Champion, Comparison, LicenceClause, NoRegression
from mlops_core.gates.conditions import Condition, condition_from_json, condition_to_json, iter_clauses
from mlops_core.gates.contradictions import find_contradiction
from mlops_core.gates.evidence import RECALL, EvidenceError
from mlops_core.gates.judging import Judge
from mlops_core.gates.licensing import judge_licence
from mlops_core.gates.verdicts import GateOutcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mlops_core.datasets.licences import Licences
    from mlops_core.evaluation.metrics import MetricReport
    from mlops_core.gates.clauses import Clause
    from mlops_core.gates.evidence import GateEvidence

_RECALL = Metric(name=RECALL, section="core", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
_RECALL_HINT = "; core computes the recall of one class, recall[CLASS], and of the worst, worst(recall)"
_UNITS_OF_A_TARGET = (Unit.TARGET, Unit.TARGET_SQUARED)
_NOT_FINITE = ("nan", "inf", "infinity")


@dataclass(frozen=True, slots=True)
class Gate:
    """The condition that a model must meet to be registered.

    Example:
        >>> acc = Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
        >>> gate = Gate(parse_condition("acc >= q_acc"))
        >>> report = MetricReport(values={"acc": proportion(80, 100)})
        >>> gate.evaluate(report, metrics=[acc], parameters={"q_acc": 0.7}).accepted
        True
        >>> gate.evaluate(MetricReport(values={}), metrics=[acc], parameters={"q_acc": 0.7}).accepted
        False
        >>> verdict = Gate(parse_condition("acc.lower >= 0.75")).evaluate(report, metrics=[acc], parameters={})
        >>> print(verdict.outcome, verdict.clauses[0].further_samples)
        not enough evidence 189
    """

    condition: Condition
    _clauses: tuple[tuple[Clause, bool], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note each clause, and whether the gate wants it true or, under a not, false."""
        object.__setattr__(self, "_clauses", tuple(iter_clauses(self.condition)))

    @property
    def needs_evidence(self) -> bool:
        """Whether the verdict rests on more than metrics and numbers: on bounds, slices or the champion."""
        return any(clause.needs_evidence for clause, _ in self._clauses)

    @property
    def needs_predictions(self) -> bool:
        """Whether the verdict rests on predictions: on slices or the champion."""
        return any(clause.needs_predictions for clause, _ in self._clauses)

    @property
    def needs_champion(self) -> bool:
        """Whether the model is compared with the present best version."""
        return any(clause.is_paired for clause, _ in self._clauses)

    @property
    def needs_licences(self) -> bool:
        """Whether the verdict rests on the licences of the data or of the base models."""
        return any(isinstance(clause, LicenceClause) for clause, _ in self._clauses)

    def metrics(self) -> frozenset[str]:
        """Return the names of the metrics that it mentions."""
        return frozenset(clause.metric for clause, _ in self._clauses if not isinstance(clause, LicenceClause))

    def reported_metrics(self) -> frozenset[str]:
        """Return the names of the metrics whose value on the whole test set it reads."""
        return frozenset(
            clause.metric for clause, _ in self._clauses if isinstance(clause, Comparison) and clause.slice is None
        )

    def parameters(self) -> frozenset[str]:
        """Return the names of the parameters that it mentions."""
        return frozenset(
            clause.threshold
            for clause, _ in self._clauses
            if isinstance(clause, Comparison) and isinstance(clause.threshold, str)
        )

    def check(
        self,
        *,
        metrics: Sequence[Metric],
        parameters: Collection[str],
        values: Mapping[str, float] | None = None,
        licences: Licences | None = None,
    ) -> None:
        """Check every name and number before anything runs.

        Args:
            metrics: the declared metrics.
            parameters: names of the numeric parameters.
            values: their values; None while they are not known.
            licences: of the data and the base models; None while they are not known.

        Raises:
            PipelineError: an unknown metric or parameter, a threshold outside its metric's range, or clauses that
                contradict each other or the licences, so that no model could ever be accepted.
        """
        declared = {metric.name: metric for metric in metrics}
        for clause, _ in self._clauses:
            if not isinstance(clause, LicenceClause) and (fault := _metric_fault(clause, declared)):
                raise PipelineError(f"gate: {fault}")
        for name in sorted(self.parameters() - set(parameters)):
            if name.lower() in _NOT_FINITE:
                raise PipelineError(f"gate: the threshold {name} is not a finite number")
            raise PipelineError(
                f"gate: unknown numeric parameter '{name}'{did_you_mean(name, parameters) or ';'} "
                f"parameters: {', '.join(parameters) or 'none'}"
            )
        for clause, _ in self._clauses:
            if fault := _number_fault(clause, declared.get(clause.metric), values or {}):
                raise PipelineError(f"gate: {fault}")
        if licences is not None:
            self.check_licences(licences, metrics=metrics)
        if contradiction := find_contradiction(self.condition, metrics=declared, parameters=values or {}):
            raise PipelineError(f"gate: no model can be accepted: {contradiction}")

    def check_licences(self, licences: Licences, *, metrics: Sequence[Metric]) -> None:
        """Check that the licences leave a model that can be accepted.

        Args:
            licences: of the data and the base models.
            metrics: the declared metrics.

        Raises:
            PipelineError: a licence that a clause asks for is unknown, or no model can be accepted because of one.
        """
        for clause, _ in self._clauses:
            if isinstance(clause, LicenceClause):
                try:
                    judge_licence(clause, licences)
                except EvidenceError as error:
                    raise PipelineError(f"gate: no model can be accepted: {clause}: {error}") from error
        declared = {metric.name: metric for metric in metrics}
        if found := find_contradiction(self.condition, metrics=declared, parameters={}, licences=licences):
            raise PipelineError(f"gate: no model can be accepted: {found}")

    def evaluate(
        self,
        report: MetricReport,
        *,
        metrics: Sequence[Metric],
        parameters: Mapping[str, float],
        evidence: GateEvidence | None = None,
        licences: Licences | None = None,
    ) -> Verdict:
        """Judge a report.

        Args:
            report: what the evaluation found.
            metrics: the declared metrics.
            parameters: value of each numeric parameter.
            evidence: the predictions, for slices and for the comparison with the champion; a gate that needs them
                rejects the model without.
            licences: of the data and the base models; a gate that asks for one rejects the model without.
        """
        judge = Judge(
            report,
            metrics={metric.name: metric for metric in metrics},
            parameters=parameters,
            evidence=evidence,
            licences=licences,
        )
        clauses = tuple(judge.clause(clause, wanted=wanted) for clause, wanted in self._clauses)
        is_faulty = any(judge.finding(clause).fault for clause, _ in self._clauses)
        is_met = False if is_faulty else judge.holds(self.condition)
        if is_met:
            return Verdict(accepted=True, clauses=clauses)
        outcome = GateOutcome.UNDECIDED if is_met is None else GateOutcome.REJECTED
        shown = {GateOutcome.UNDECIDED} if is_met is None else {GateOutcome.REJECTED, GateOutcome.UNDECIDED}
        failed = [
            judge.failure(clause, verdict)
            for (clause, _), verdict in zip(self._clauses, clauses, strict=True)
            if verdict.outcome in shown
        ]
        return Verdict(accepted=False, clauses=clauses, message="; ".join(dict.fromkeys(failed)), outcome=outcome)

    def to_json(self) -> dict[str, Any]:
        """Return the gate as JSON types only."""
        return condition_to_json(self.condition)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Gate:
        """Return the gate that `to_json` wrote."""
        return cls(condition_from_json(data))


def _is_recall(clause: Clause) -> bool:
    """Return whether a clause is about the recall of classes, which core computes for every classifier."""
    return clause.metric == RECALL and clause.slice is not None and clause.slice.column == LABEL


def _metric_fault(clause: Comparison | NoRegression, declared: Mapping[str, Metric]) -> str:
    """Return why a clause cannot be about its metric, or its metric about a class; empty if nothing is wrong."""
    name = clause.metric
    if name in declared or _is_recall(clause):
        return _class_fault(clause, declared)
    hint = _RECALL_HINT if name == RECALL else ""
    return f"unknown metric '{name}'{did_you_mean(name, declared) or ';'} metrics: {', '.join(declared)}{hint}"


def _class_fault(clause: Comparison | NoRegression, declared: Mapping[str, Metric]) -> str:
    """Return why a clause cannot be about a class; empty if it can, or is not."""
    target = next((metric for metric in declared.values() if metric.unit in _UNITS_OF_A_TARGET), None)
    if target is None or clause.slice is None or clause.slice.column != LABEL:
        return ""
    because = f"there are no classes: '{target.name}' is a metric of a predicted number"
    if clause.metric == RECALL and clause.metric not in declared:
        return f"{clause}: {because}"
    value = clause.slice.value
    return f"{clause}: no class '{value}', {because}" if value is not None and not _is_number(value) else ""


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number_fault(clause: Clause, metric: Metric | None, values: Mapping[str, float]) -> str:
    """Return what is wrong with the numbers of a clause; empty if nothing is."""
    metric = metric or _RECALL
    match clause:
        case Comparison(threshold=Champion(offset=offset)):
            fault = _distance_fault(abs(offset), metric)
            return f"the offset to the champion's '{clause.metric}' {fault}" if fault else ""
        case Comparison(threshold=str(name)):
            fault = metric.fault(values[name]) if name in values else ""
            return f"parameter '{name}', the threshold of '{clause.metric}', {fault}" if fault else ""
        case Comparison(threshold=threshold):
            fault = metric.fault(threshold)
            return f"the threshold of '{clause.metric}' {fault}" if fault else ""
        case NoRegression(margin=margin):
            fault = _distance_fault(margin, metric)
            return f"the margin of '{clause.metric}' {fault}" if fault else ""
    return ""


def _distance_fault(distance: float, metric: Metric) -> str:
    """Return why two values of a metric cannot be so far apart; empty if they can."""
    if distance <= metric.maximum - metric.minimum:
        return ""
    hint = "; a percent where a fraction is expected?" if metric.unit is Unit.FRACTION and distance <= 100 else ""
    return f"is {distance:g}, more than from {metric.minimum:g} to {metric.maximum:g}{hint}"
