"""Canaries: predictions and reports that a gate must reject, and the perfect oracle that it must accept.

Core makes them from a use case's own predictions, so that samples, parts, groups, classes and their frequencies are
those of its data; the use case's own metrics and gate judge them.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlops_core.evaluation.metrics import MetricReport
    from mlops_core.gates.verdicts import Verdict
    from mlops_core.predictions import FoundBox, Prediction, Predictions
    from mlops_core.testing.use_cases.session import ContractSession

SHUFFLES = 5
PERCENT = 100.0


def oracle(predictions: Predictions) -> Predictions:
    """Return predictions that are all correct."""
    if predictions.has_boxes:
        return _detected(predictions, _objects)
    return _scored(predictions, lambda row: _right(predictions, row))


def inverted(predictions: Predictions) -> Predictions:
    """Return predictions of a model whose scores mean the opposite: the true class has the lowest one."""
    if predictions.has_boxes:
        return _detected(predictions, lambda row: [replace(box, box=_beside(box.box)) for box in _objects(row)])
    if not predictions.classes:
        centre = fmean(_number(row) for row in predictions.rows)
        spread = max(abs(_number(row) - centre) for row in predictions.rows) or 1.0
        return _scored(predictions, lambda row: (_mirrored(_number(row), centre, spread),))
    share = 1.0 / max(1, len(predictions.classes) - 1)
    return _scored(predictions, lambda row: tuple(0.0 if score else share for score in _right(predictions, row)))


def constant(predictions: Predictions) -> Predictions:
    """Return predictions that are always the same: the most frequent class, or the mean, or the same boxes."""
    if predictions.has_boxes:
        same = _objects(max(predictions.rows, key=lambda row: (len(row.truth), row.sample)))
        moved = [replace(box, box=_beside(box.box)) for box in same]
        return _detected(predictions, lambda _row: moved)
    if not predictions.classes:
        mean = fmean(_number(row) for row in predictions.rows)
        return _scored(predictions, lambda _row: (mean,))
    labels = Counter(str(row.label) for row in predictions.rows)
    most = min(predictions.classes, key=lambda name: (-labels[name], name))
    scores = tuple(float(name == most) for name in predictions.classes)
    return _scored(predictions, lambda _row: scores)


def shuffled(predictions: Predictions, *, seed: int) -> Predictions:
    """Return perfect predictions of labels that were shuffled among the samples."""
    truth = {row.sample: row for row in predictions.rows}
    names = sorted(truth)
    dealt = list(names)
    random.Random(seed).shuffle(dealt)  # noqa: S311  a test's shuffle
    if predictions.has_boxes and len(names) > 1:  # a sample that is dealt to itself would keep all of its boxes
        dealt = [*names[1 + seed % (len(names) - 1) :], *names[: 1 + seed % (len(names) - 1)]]
    other = {name: truth[drawn] for name, drawn in zip(names, dealt, strict=True)}
    if predictions.has_boxes:
        return _detected(predictions, lambda row: _objects(other[row.sample]))
    return _scored(predictions, lambda row: _right(predictions, other[row.sample]))


def by_chance(predictions: Predictions, *, seed: int) -> Predictions:
    """Return predictions of an untrained model: scores that do not depend on the sample."""
    draw = random.Random(seed)  # noqa: S311  as above
    if predictions.has_boxes:
        return _detected(predictions, lambda row: [_anywhere(predictions, row, draw) for _ in row.truth])
    if not predictions.classes:
        return _scored(predictions, lambda _row: (draw.gauss(0.0, 1.0),))

    def scores(_row: Prediction) -> tuple[float, ...]:
        found = [math.exp(draw.gauss(0.0, 1.0)) for _ in predictions.classes]
        return tuple(score / sum(found) for score in found)

    return _scored(predictions, scores)


def report_of(session: ContractSession, predictions: Predictions) -> MetricReport:
    """Return the report of the use case's own metric hook on predictions."""
    with session.guard("mlops_compute_metrics"):
        return session.use_case.compute_metrics(predictions)


def judged(session: ContractSession, report: MetricReport, predictions: Predictions) -> Verdict:
    """Return the verdict of the use case's own gate on a report, without a champion.

    Args:
        session: with the use case.
        report: the metrics.
        predictions: those that slices of the test set are computed from.
    """
    pipeline = session.pipeline
    return pipeline.gate.evaluate(
        report,
        metrics=pipeline.metrics,
        parameters=session.numbers,
        evidence=session.evidence(predictions),
        licences=pipeline.licences,
    )


def with_value(report: MetricReport, name: str, value: float) -> MetricReport:
    """Return the report with another value of one metric, also as the bounds of its interval."""
    other = replace(report.values[name], value=value, low=value, high=value)
    return replace(report, values={**report.values, name: other})


def without_value(report: MetricReport, name: str) -> MetricReport:
    """Return the report without one metric."""
    return replace(report, values={key: value for key, value in report.values.items() if key != name})


def described(report: MetricReport) -> str:
    """Return the values of a report in one phrase."""
    return ", ".join(f"{name} = {value.value:g}" for name, value in sorted(report.values.items()))


def _detected(predictions: Predictions, find: Callable[[Prediction], Sequence[FoundBox]]) -> Predictions:
    """Return detections with other boxes, all of the same score."""
    rows = []
    for row in predictions.rows:
        found = tuple(find(row))
        rows.append(replace(row, found=found, scores=(0.9,) * len(found)))
    return replace(predictions, rows=tuple(rows))


def _objects(row: Prediction) -> list[FoundBox]:
    from mlops_core.predictions import FoundBox

    return [FoundBox(label=box.label, box=box.box) for box in row.truth if not box.is_crowd]


def _beside(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return a box of the same size that overlaps with the other one by less than a twentieth."""
    left, top, right, bottom = box
    width, height = 0.9 * (right - left), 0.9 * (bottom - top)
    return left + width, top + height, right + width, bottom + height


def _anywhere(predictions: Predictions, row: Prediction, draw: random.Random) -> FoundBox:
    """Return a box of random class and place, of a size that the sample's boxes have."""
    from mlops_core.predictions import FoundBox

    left, top, right, bottom = draw.choice(row.truth).box
    span = max(max(box.box) for box in row.truth)
    x, y = draw.random() * span, draw.random() * span
    return FoundBox(label=draw.choice(predictions.classes), box=(x, y, x + right - left, y + bottom - top))


def _scored(predictions: Predictions, scores: Callable[[Prediction], tuple[float, ...]]) -> Predictions:
    return replace(predictions, rows=tuple(_answered(row, scores(row)) for row in predictions.rows))


def _answered(row: Prediction, scores: tuple[float, ...]) -> Prediction:
    """Return the row with another answer; an interval keeps its width and moves to the new number."""
    if row.interval is None:
        return replace(row, scores=scores)
    half = (row.interval.high - row.interval.low) / 2
    return replace(row, scores=scores, interval=replace(row.interval, low=scores[0] - half, high=scores[0] + half))


def _right(predictions: Predictions, row: Prediction) -> tuple[float, ...]:
    if not predictions.classes:
        return (_number(row),)
    return tuple(float(name == row.label) for name in predictions.classes)


def _number(row: Prediction) -> float:
    return float(row.label)


def _mirrored(value: float, centre: float, spread: float) -> float:
    """Return a number that is far from `value`, on the other side of the centre."""
    return centre - 2 * spread if value >= centre else centre + 2 * spread
