"""Gate canaries: the use case's own metrics and gate reject what must never ship, and accept a perfect model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.use_cases import canaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.evaluation.metrics import MetricReport
    from mlops_core.gates.clauses import Comparison
    from mlops_core.predictions import Predictions
    from mlops_core.testing.use_cases.session import ContractSession

JUDGED = ("metrics_are_the_same_when_recomputed", "gate_accepts_a_perfect_oracle")
SELFTEST = (
    "gate_accepts_a_perfect_oracle",
    "gate_rejects_a_constant_predictor",
    "gate_rejects_shuffled_labels",
    "gate_rejects_an_untrained_model",
    "gate_rejects_an_empty_test_set",
    "gate_rejects_nan_metrics",
    "gate_rejects_infinite_metrics",
    "gate_rejects_missing_metrics",
    "gate_rejects_percent_for_fraction",
    "gate_rejects_inverted_predictions",
    "gate_rejects_inverted_metrics",
)
"""The checks that `mlops gate selftest` makes."""


@check(after=("pipeline_can_be_built",))
def gate_survives_its_text(session: ContractSession) -> Iterator[str]:
    """The gate is the same expression after a JSON round trip.

    Fix: build it from mlops_core's Comparison, AllOf, AnyOf and Not only.
    """
    from mlops_core.gates.gate import Gate

    data = session.pipeline.gate.to_json()
    again = Gate.from_json(json.loads(json.dumps(data)))
    if again.to_json() != data:
        yield f"{session.pipeline.gate.condition} becomes {again.condition}"


@check(after=("pipeline_can_be_built", "metrics_point_the_right_way"))
def gate_points_the_right_way(session: ContractSession) -> Iterator[str]:
    """The gate requires high values of metrics that are better when higher, and low values of the others.

    Fix: turn the comparison round, or correct Metric(direction=...).
    """
    from mlops_core.evaluation.metrics import Direction
    from mlops_core.gates.clauses import Operator

    metrics = {metric.name: metric for metric in session.pipeline.metrics}
    for comparison, is_wanted in _comparisons(session):
        sign = comparison.operator if is_wanted else comparison.operator.opposite
        is_upwards = sign in (Operator.AT_LEAST, Operator.ABOVE)
        declared = metrics.get(comparison.metric)
        direction = declared.direction if declared else Direction.HIGHER  # the recall of classes
        if is_upwards is not (direction is Direction.HIGHER):
            yield f"{'' if is_wanted else 'not '}{comparison}, but {comparison.metric} is better when it is {direction}"


@check(after=("metrics_are_the_same_when_recomputed", "gate_points_the_right_way", "metrics_point_the_right_way"))
def gate_accepts_a_perfect_oracle(session: ContractSession) -> Iterator[str]:
    """A model that is always right is accepted.

    Fix: correct the metric first. If it is right, the gate asks for more than the metric can reach on this test set,
    often because a bound of an interval is compared on too few samples: test on more samples.
    """
    perfect = canaries.oracle(session.predictions)
    report = canaries.report_of(session, perfect)
    verdict = canaries.judged(session, report, perfect)
    if not verdict.accepted:
        yield f"{verdict.outcome} with {canaries.described(report)}: {verdict.message}"


@check(after=JUDGED)
def gate_rejects_a_constant_predictor(session: ContractSession) -> Iterator[str]:
    """A model that always gives the same answer is rejected.

    Fix: look at what the metric rewards. If frequent classes dominate it, use one that counts each class alike, such as
    balanced accuracy; then set the threshold by what the use case needs, not by what this check accepts.
    """
    yield from _accepted(session, canaries.constant(session.predictions))


@check(after=(*JUDGED, "gate_rejects_a_constant_predictor"))
def gate_rejects_shuffled_labels(session: ContractSession) -> Iterator[str]:
    """A model that learned shuffled labels is rejected, for most of several shuffles.

    Fix: test on more samples, and compare a bound of the interval (metric.lower); see that the metric rewards the right
    answer for each sample, and not the set of answers.
    """
    shuffles = [canaries.shuffled(session.predictions, seed=seed) for seed in range(canaries.SHUFFLES)]
    accepted = [sentence for predictions in shuffles for sentence in _accepted(session, predictions)]
    if 2 * len(accepted) > len(shuffles):
        yield f"{len(accepted)} of {len(shuffles)} shuffles are accepted; {accepted[0]}"


@check(after=(*JUDGED, "gate_rejects_a_constant_predictor", "gate_rejects_shuffled_labels"))
def gate_rejects_an_untrained_model(session: ContractSession) -> Iterator[str]:
    """A model that was not trained is rejected.

    It is trained with the overrides in `untrained`; without them its answers are random.

    Fix: see why a model without training does well: classes of very different size, test samples that are too easy, or
    a metric that does not look at the answers. Set the threshold by what the use case needs.
    """
    if not session.declaration.untrained:
        yield from _accepted(session, canaries.by_chance(session.predictions, seed=session.declaration.seed))
        return
    answer = session.run_locally(
        session.new_folder("workspace of the untrained"),
        overrides=[*session.declaration.overrides, *session.declaration.untrained],
    )
    if answer.error or answer.result["status"] not in ("accepted", "rejected", "undecided"):
        yield f"the run with {' '.join(session.declaration.untrained)} failed: {answer.error or answer.result['error']}"
    elif answer.result["status"] == "accepted":
        values = [f"{clause['metric']} = {clause['value']:g}" for clause in answer.result["verdict"]["clauses"]]
        yield f"accepted with {', '.join(values)}"


@check(after=(*JUDGED, "gate_rejects_nan_metrics"))
def gate_rejects_an_empty_test_set(session: ContractSession) -> Iterator[str]:
    """An evaluation without a single prediction is rejected.

    Fix: raise, or omit a metric, when it cannot be computed (mlops_core.proportion returns NaN).
    """
    from mlops_core.errors import MlopsError

    empty = replace(session.predictions, rows=())
    try:
        report = canaries.report_of(session, empty)
    except MlopsError:
        return
    if canaries.judged(session, report, empty).accepted:
        yield f"accepted with {canaries.described(report)}"


@check(after=JUDGED)
def gate_rejects_nan_metrics(session: ContractSession) -> Iterator[str]:
    """A metric that is NaN is rejected, even if all others are good.

    Fix: return a mlops_core.Gate itself, not a class derived from it; it fails closed.
    """
    yield from _each_bad_value(session, math.nan)


@check(after=JUDGED)
def gate_rejects_infinite_metrics(session: ContractSession) -> Iterator[str]:
    """A metric that is infinite is rejected, in either direction.

    Fix: return a mlops_core.Gate itself, not a class derived from it; it fails closed.
    """
    yield from _each_bad_value(session, math.inf)
    yield from _each_bad_value(session, -math.inf)


@check(after=JUDGED)
def gate_rejects_missing_metrics(session: ContractSession) -> Iterator[str]:
    """A metric that the gate needs and the evaluation lacks is rejected.

    Fix: return a mlops_core.Gate itself, not a class derived from it; it fails closed.
    """
    perfect = canaries.oracle(session.predictions)
    best = canaries.report_of(session, perfect)
    for name in sorted(session.pipeline.gate.reported_metrics()):
        if canaries.judged(session, canaries.without_value(best, name), perfect).accepted:
            yield f"accepted without {name}"


@check(after=(*JUDGED, "gate_rejects_a_constant_predictor", "metrics_declare_unit_and_range"))
def gate_rejects_percent_for_fraction(session: ContractSession) -> Iterator[str]:
    """A bad model whose fractions are written as percent is rejected.

    Fix: declare unit FRACTION with the range 0 to 1; 50 is then out of range instead of above every threshold.
    """
    constant = canaries.constant(session.predictions)
    bad = canaries.report_of(session, constant)
    best = canaries.report_of(session, canaries.oracle(session.predictions))
    names = [
        name
        for name in sorted(session.pipeline.gate.reported_metrics())
        if bad.values[name].value and 0 <= bad.values[name].value <= 1 and 0 <= best.values[name].value <= 1
    ]
    if not names:
        raise NotApplicableError("no metric of the gate is a fraction")
    report = bad
    for name in names:
        report = canaries.with_value(report, name, canaries.PERCENT * bad.values[name].value)
    if canaries.judged(session, report, constant).accepted:
        yield f"accepted with {canaries.described(report)}"


@check(after=(*JUDGED, "gate_rejects_a_constant_predictor", "gate_rejects_an_untrained_model"))
def gate_rejects_inverted_predictions(session: ContractSession) -> Iterator[str]:
    """A model whose scores mean the opposite is rejected.

    Fix: let the metric use the highest score as the answer, with the class at its position.
    """
    yield from _accepted(session, canaries.inverted(session.predictions))


@check(after=(*JUDGED, "gate_rejects_a_constant_predictor", "metrics_declare_unit_and_range"))
def gate_rejects_inverted_metrics(session: ContractSession) -> Iterator[str]:
    """A perfect model whose metrics are inverted (an error instead of an accuracy) is rejected.

    Fix: let the gate ask for something that the worst value of a metric does not meet.
    """
    perfect = canaries.oracle(session.predictions)
    report = canaries.report_of(session, perfect)
    metrics = {metric.name: metric for metric in session.pipeline.metrics}
    mirrored = {
        name: metrics[name].maximum + metrics[name].minimum - report.values[name].value
        for name in session.pipeline.gate.reported_metrics()
        if math.isfinite(metrics[name].maximum) and math.isfinite(metrics[name].minimum)
    }
    if not mirrored:
        raise NotApplicableError("no metric of the gate has a finite range")
    for name, value in mirrored.items():
        report = canaries.with_value(report, name, value)
    if canaries.judged(session, report, perfect).accepted:
        yield f"accepted with {canaries.described(report)}"


def _accepted(session: ContractSession, predictions: Predictions) -> Iterator[str]:
    report = canaries.report_of(session, predictions)
    if canaries.judged(session, report, predictions).accepted:
        yield f"accepted with {canaries.described(report)}"


def _each_bad_value(session: ContractSession, value: float) -> Iterator[str]:
    perfect = canaries.oracle(session.predictions)
    best: MetricReport = canaries.report_of(session, perfect)
    for name in sorted(session.pipeline.gate.reported_metrics()):
        if canaries.judged(session, canaries.with_value(best, name, value), perfect).accepted:
            yield f"accepted with {name} = {value:g}"


def _comparisons(session: ContractSession) -> Iterator[tuple[Comparison, bool]]:
    """Yield each comparison of the gate, and whether the gate wants it true."""
    from mlops_core.gates.clauses import Comparison
    from mlops_core.gates.conditions import iter_clauses

    for clause, is_wanted in iter_clauses(session.pipeline.gate.condition):
        if isinstance(clause, Comparison):
            yield clause, is_wanted
