"""Checks of the metrics: declared, complete, in range, and the same when they are computed again."""

from __future__ import annotations

import copy
import math
import random
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.trees import shown
from mlops_core.testing.use_cases import canaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.evaluation.confusion import ConfusionMatrix
    from mlops_core.predictions import Predictions
    from mlops_core.testing.use_cases.session import ContractSession

EVALUATED = ("steps_succeed",)
_TOLERANCE = 1e-9


@check(after=("pipeline_can_be_built",))
def metrics_declare_unit_and_range(session: ContractSession) -> Iterator[str]:
    """The range of each metric fits its unit: fractions are between 0 and 1, counts are not negative.

    Fix: correct unit, minimum and maximum: the gate refuses what is outside, such as a percent for a fraction.
    """
    from mlops_core.evaluation.metrics import Unit

    for metric in session.pipeline.metrics:
        if metric.unit is Unit.FRACTION and not (metric.minimum >= 0 and metric.maximum <= 1):
            yield f"'{metric.name}' is a fraction from {metric.minimum:g} to {metric.maximum:g}"
        if metric.unit in (Unit.COUNT, Unit.SECONDS, Unit.BYTES) and metric.minimum < 0:
            yield f"'{metric.name}' counts {metric.unit} and may be {metric.minimum:g}"
        if metric.minimum == -math.inf and metric.maximum == math.inf:
            yield f"'{metric.name}' may be any number; no mistake could be noticed"


@check(after=EVALUATED)
def every_declared_metric_is_evaluated(session: ContractSession) -> Iterator[str]:
    """The evaluation has every declared metric.

    Fix: compute it in mlops_compute_metrics, or remove its declaration; a missing metric fails the gate.
    """
    for metric in session.pipeline.metrics:
        if metric.name not in session.report.values:
            yield f"'{metric.name}' is declared and not computed"


@check(after=("every_declared_metric_is_evaluated",))
def metrics_are_finite_and_in_range(session: ContractSession) -> Iterator[str]:
    """Each metric is a finite number in its declared range.

    Fix: correct the computation, or the range.
    """
    for metric in session.pipeline.metrics:
        fault = metric.fault(session.report.values[metric.name].value)
        if fault:
            yield f"'{metric.name}' {fault}"


@check(after=("metrics_are_finite_and_in_range",))
def metrics_have_an_interval(session: ContractSession) -> Iterator[str]:
    """Each metric has a confidence interval and the number of samples on which it is based.

    Fix: use mlops_core.proportion_by_group for a share, and mlops_core.bootstrap_by_group for any other metric.
    """
    for name, found in session.report.values.items():
        if not found.low - _TOLERANCE <= found.value <= found.high + _TOLERANCE:
            yield f"'{name}' = {found.value:g} is not in its interval {found.low:g} to {found.high:g}"
        elif found.count <= 0:
            yield f"'{name}' rests on {found.count} samples"


@check(after=("metrics_are_finite_and_in_range",))
def metrics_are_the_same_when_recomputed(session: ContractSession) -> Iterator[str]:
    """Each metric is the same when it is recomputed from the stored predictions.

    Fix: compute from the predictions alone; seed a bootstrap.
    """
    with session.guard("mlops_compute_metrics"):
        again = [session.use_case.compute_metrics(session.predictions) for _ in range(2)]
    for report in again:
        for metric in session.pipeline.metrics:
            found = report.values.get(metric.name)
            stored = session.report.values[metric.name]
            if found is None or not _equal(found.value, stored.value):
                yield f"'{metric.name}' was {stored.value!r} and is {found.value if found else 'missing'!r}"


@check(after=("metrics_are_the_same_when_recomputed",))
def metrics_ignore_the_order_of_rows(session: ContractSession) -> Iterator[str]:
    """The metrics do not depend on the order of the predictions.

    Fix: group by sample instead of relying on neighbours: shards are merged in an order of their own.
    """
    rows = list(session.predictions.rows)
    random.Random(1).shuffle(rows)  # noqa: S311  any other order will do
    with session.guard("mlops_compute_metrics"):
        report = session.use_case.compute_metrics(replace(session.predictions, rows=tuple(rows)))
    for name, stored in session.report.values.items():
        if not math.isclose(report.values[name].value, stored.value, rel_tol=1e-9, abs_tol=1e-12):
            yield f"'{name}' is {report.values[name].value!r} instead of {stored.value!r}"


@check(after=("metrics_are_finite_and_in_range",))
def computing_metrics_changes_nothing(session: ContractSession) -> Iterator[str]:
    """Computing the metrics changes neither the predictions nor the process, and prints nothing.

    Fix: work on copies; use no global random state.
    """
    first = session.first_metrics
    if first["arguments"]:
        yield f"mlops_compute_metrics changes {first['arguments']}"
    before = copy.deepcopy(session.predictions)
    changes: list[str] = []
    printed: list[str] = []
    from mlops_core.testing.observation.guard import guarded

    with guarded("mlops_compute_metrics", changes=changes, printed=printed):
        session.use_case.compute_metrics(session.predictions)
    if session.predictions != before:
        yield "mlops_compute_metrics changes the predictions"
    yield from (*changes, *printed)


@check(after=("metrics_are_finite_and_in_range",))
def confusion_matrices_add_up(session: ContractSession) -> Iterator[str]:
    """A confusion matrix is square over the classes and counts every row or every sample once.

    Fix: count truth in rows and prediction in columns, each sample once. Of detections, count each object once, and
    add a class for nothing, the last: its column is what was missed, its row what was invented.
    """
    predictions = session.predictions
    totals = {len(predictions.rows), len({row.sample for row in predictions.rows})}
    if not session.report.confusion_matrices:
        raise NotApplicableError("the evaluation has no confusion matrix")
    for name, matrix in session.report.confusion_matrices.items():
        if predictions.has_boxes:
            yield from _faults_of_boxes(name, matrix, predictions)
            continue
        size = len(matrix.classes)
        total = sum(map(sum, matrix.counts))
        if set(matrix.classes) != set(predictions.classes):
            yield f"'{name}' is over {shown(matrix.classes)}, the predictions over {shown(predictions.classes)}"
        elif len(matrix.counts) != size or any(len(row) != size for row in matrix.counts):
            yield f"'{name}' is not {size} by {size}"
        elif total not in totals:
            yield f"'{name}' counts {total}; expected {' or '.join(map(str, sorted(totals)))}"


def _faults_of_boxes(name: str, matrix: ConfusionMatrix, predictions: Predictions) -> Iterator[str]:
    objects = Counter(box.label for row in predictions.rows for box in row.truth if not box.is_crowd)
    if matrix.classes[:-1] != predictions.classes:
        yield f"'{name}' is over {shown(matrix.classes)}; expected {shown(predictions.classes)}, and one for nothing"
    elif not matrix.is_square:
        yield f"'{name}' is not {len(matrix.classes)} by {len(matrix.classes)}"
    else:
        for label, counts in zip(predictions.classes, matrix.counts, strict=False):
            if sum(counts) != objects[label]:
                yield f"'{name}' counts {sum(counts)} objects of '{label}'; expected {objects[label]}"


@check(after=("metrics_are_finite_and_in_range",))
def log_lines_show_the_metrics(session: ContractSession) -> Iterator[str]:
    """If a metric declares log_regex, the evaluation logs a matching line with the metric's value.

    Fix: log the line in the evaluation step; engines show metrics from it (it is never read back).
    """
    log = session.completed.steps[session.pipeline.evaluation_step.name].log
    metrics = [metric for metric in session.pipeline.metrics if metric.log_regex]
    if not metrics:
        raise NotApplicableError("no metric declares log_regex")
    for metric in metrics:
        # Documents of engines double the backslash in a class; both spellings mean the same.
        found = re.findall(metric.log_regex.replace("\\\\", "\\"), log)
        value = session.report.values[metric.name].value
        if not found:
            yield f"'{metric.name}': no line matches {metric.log_regex}"
        elif not math.isclose(float(str(found[-1]).rstrip(".")), value, rel_tol=1e-2, abs_tol=1e-3):
            yield f"'{metric.name}': the log says {found[-1]}, the evaluation {value:g}"


@check(after=("metrics_are_the_same_when_recomputed",))
def metrics_point_the_right_way(session: ContractSession) -> Iterator[str]:
    """In each metric's declared direction, a perfect oracle is not worse than a model that is always wrong.

    Fix: correct Metric(direction=...).
    """
    from mlops_core.evaluation.metrics import Direction

    best = canaries.report_of(session, canaries.oracle(session.predictions))
    worst = canaries.report_of(session, canaries.inverted(session.predictions))
    for metric in session.pipeline.metrics:
        high, low = best.values[metric.name].value, worst.values[metric.name].value
        if (high < low) if metric.direction is Direction.HIGHER else (high > low):
            yield f"'{metric.name}': {high:g} of the oracle is worse than {low:g} of a model that is always wrong"


def _equal(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))
