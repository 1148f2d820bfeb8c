"""Metrics of an image classifier: accuracy, macro F1, recall of each class, calibration error.

Both use cases declare the same metrics; each writes them to the section that the system it replaces used.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from mlops_core import (
    Comparison,
    ConfusionMatrix,
    Direction,
    Gate,
    Metric,
    MetricReport,
    MetricValue,
    Operator,
    Unit,
    bootstrap_by_group,
    proportion_by_group,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlops_core import Predictions

ACCURACY_THRESHOLD = "q_accuracy_threshold"
SECTIONS = {"ROAD_SIGN": "classification_metrics", "SCENE": "multiclass_classification_metrics"}
_BINS = 15
_MANY = 2000
"""From this many samples on, fewer resamples are drawn: the interval is narrow, and each resample is slow."""

Outcome: TypeAlias = tuple[int, int, float]
"""True class, predicted class, score of the predicted class."""

_TEXTS = {
    "accuracy": ("Accuracy", "Share of test images whose score is highest for the true class."),
    "macro_f1": ("Macro F1", "Mean over the classes of the harmonic mean of precision and recall."),
    "macro_recall": (
        "Macro recall",
        "Mean over the classes of the share of their images that are found.",
    ),
    "lowest_recall": (
        "Lowest recall",
        "Recall of the class that is found least; all are among the notes.",
    ),
    "ece": (
        "Expected calibration error",
        "Mean distance between confidence and accuracy in 15 bins of confidence, weighted by their images.",
    ),
}


def declared_metrics(use_case: str) -> tuple[Metric, ...]:
    """Return the metrics of a use case, in its section of the result file."""
    return tuple(
        Metric(
            name=name,
            section=_section(use_case),
            unit=Unit.FRACTION,
            minimum=0.0,
            maximum=1.0,
            direction=Direction.LOWER if name == "ece" else Direction.HIGHER,
            title=title,
            job_name=f"test:{name}",
            log_regex=rf"{title} on test set : ([0-9\\.]+)",
            description=description,
        )
        for name, (title, description) in _TEXTS.items()
    )


def accuracy_gate() -> Gate:
    """Return the gate: the accuracy must reach its threshold."""
    return Gate(
        Comparison(
            metric="accuracy",
            operator=Operator.AT_LEAST,
            threshold=ACCURACY_THRESHOLD,
            message="Execution failed due to accuracy <",
        )
    )


def best_class(scores: Sequence[float]) -> int:
    """Return the index of the highest score, the first one of a tie."""
    return max(range(len(scores)), key=lambda index: (scores[index], -index))


def compute_metrics(predictions: Predictions, use_case: str) -> MetricReport:
    """Return the metrics with confidence intervals.

    All intervals count groups, because pictures of one track are not independent. The accuracy has a Wilson interval
    for pictures in groups; the bootstrap of the other metrics resamples whole groups.
    """
    index = {name: position for position, name in enumerate(predictions.classes)}
    groups: defaultdict[str, list[Outcome]] = defaultdict(list)
    for row in predictions.rows:
        predicted = best_class(row.scores)
        groups[row.group].append((index[str(row.label)], predicted, row.scores[predicted]))
    outcomes = [outcome for members in groups.values() for outcome in members]
    classes = len(predictions.classes)
    statistics: dict[str, Callable[[Sequence[Outcome]], float]] = {
        "macro_f1": lambda items: _mean(_f1_scores(items)),
        "macro_recall": lambda items: _mean(list(_recalls(items).values())),
        "lowest_recall": lambda items: min(_recalls(items).values()),
        "ece": calibration_error,
    }
    resamples = 1000 if len(outcomes) < _MANY else 200
    values = {
        name: bootstrap_by_group(groups, statistic, resamples=resamples) for name, statistic in statistics.items()
    }
    counts = Counter((truth, predicted) for truth, predicted, _ in outcomes)
    matrix = ConfusionMatrix(
        classes=predictions.classes,
        counts=tuple(tuple(counts[truth, predicted] for predicted in range(classes)) for truth in range(classes)),
        section=_section(use_case),
    )
    return MetricReport(
        values={"accuracy": _accuracy(groups), **values},
        confusion_matrices={"test": matrix},
        notes=_notes(predictions.classes, outcomes, groups),
    )


def calibration_error(outcomes: Sequence[Outcome]) -> float:
    """Return the expected calibration error in 15 bins of equal width (Guo et al., On calibration, 2017)."""
    bins: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for truth, predicted, score in outcomes:
        sums = bins[min(_BINS - 1, max(0, math.ceil(score * _BINS) - 1))]
        sums[0] += score
        sums[1] += truth == predicted
    return min(1.0, sum(abs(confidence - hits) for confidence, hits in bins.values()) / max(1, len(outcomes)))


def _section(use_case: str) -> str:
    return SECTIONS.get(use_case, "classification_metrics")


def _accuracy(groups: Mapping[str, Sequence[Outcome]]) -> MetricValue:
    """Return the accuracy and the standard deviation of its estimate; each group counts as one draw."""
    count = sum(map(len, groups.values()))
    hits = {name: [truth == predicted for truth, predicted, _ in members] for name, members in groups.items()}
    value = proportion_by_group(hits)
    if not count:
        return value
    residuals = (sum(members) - value.value * len(members) for members in hits.values())
    return replace(value, standard_deviation=math.sqrt(sum(residual**2 for residual in residuals)) / count)


def _recalls(outcomes: Sequence[Outcome]) -> dict[int, float]:
    """Return class -> recall, for the classes that occur."""
    actual = Counter(truth for truth, _, _ in outcomes)
    hits = Counter(truth for truth, predicted, _ in outcomes if truth == predicted)
    return {truth: hits[truth] / count for truth, count in sorted(actual.items())}


def _f1_scores(outcomes: Sequence[Outcome]) -> list[float]:
    """Return the F1 of each class that occurs or was predicted."""
    actual = Counter(truth for truth, _, _ in outcomes)
    predictions = Counter(predicted for _, predicted, _ in outcomes)
    hits = Counter(truth for truth, predicted, _ in outcomes if truth == predicted)
    return [2 * hits[name] / (actual[name] + predictions[name]) for name in sorted({*actual, *predictions})]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _notes(
    classes: Sequence[str], outcomes: Sequence[Outcome], groups: Mapping[str, Sequence[Outcome]]
) -> dict[str, str | int | float]:
    recalls = {f"recall {classes[truth]}": round(value, 6) for truth, value in _recalls(outcomes).items()}
    return {"pictures": len(outcomes), "groups": len(groups), **recalls}
