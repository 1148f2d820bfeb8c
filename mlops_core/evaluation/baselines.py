"""Whether a model is better than a constant answer: the most frequent class, or the mean.

The comparison uses the predictions only, not the metrics of the use case, so that it means the same for every plugin.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from itertools import groupby
from operator import attrgetter
from statistics import fmean
from typing import TYPE_CHECKING

from mlops_core.predictions.boxes import touches_an_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_core.predictions import Prediction, Predictions

_QUANTILE = 1.645
"""One-sided 95 %."""


def constant_warning(predictions: Predictions) -> str:
    """Return a warning if the model is not better than a constant answer at a level of 95 %; else an empty text.

    A classifier is better if it has more correct answers than the most frequent class, or a higher mean recall, which a
    useful model of rare classes has. A sample with several labels has a row for each; as many classes count as its
    answer. A regression is better if its squared errors are smaller than those of the mean. A detector is better if any
    box that it finds touches an object of its class. Rows of other models, which are only compared, do not count.

    Example:
        >>> from mlops_core import Prediction, Predictions
        >>> samples = ((str(number), "ab"[number % 2]) for number in range(8))
        >>> rows = tuple(Prediction(sample=n, group=n, label=label, scores=(0.6, 0.4)) for n, label in samples)
        >>> constant_warning(Predictions(classes=("a", "b"), rows=rows))
        "the model is not better than a constant answer: accuracy 0.5, always 'a' has 0.5"
    """
    if not any(True for _ in _evaluated(predictions)):
        return ""
    if predictions.has_boxes:
        return _detection_warning(predictions)
    if not predictions.classes:
        return _regression_warning(predictions)
    return _classification_warning(predictions)


def _evaluated(predictions: Predictions) -> Iterator[Prediction]:
    """Yield the rows of the evaluated model, without those of models that are compared with it."""
    return (row for row in predictions.rows if not row.model)


def _detection_warning(predictions: Predictions) -> str:
    if not any(row.found for row in _evaluated(predictions)):
        return "the model finds nothing in any sample"
    if any(map(touches_an_object, _evaluated(predictions))) or not any(row.truth for row in _evaluated(predictions)):
        return ""
    return "the model finds no object: none of its boxes touches an object of its class"


def _classification_warning(predictions: Predictions) -> str:
    classes = predictions.classes
    counts = Counter(str(row.label) for row in _evaluated(predictions))
    ranked = sorted(classes, key=lambda name: (-counts[name], name))
    gains: Counter[int] = Counter()
    hits: Counter[str] = Counter()
    constant_hits: Counter[str] = Counter()
    for _, found in groupby(_evaluated(predictions), key=attrgetter("sample")):
        rows = list(found)
        size = len({row.label for row in rows})
        constant = ranked[:size]
        for row in rows:
            is_right, is_constant_right = row.label in _answer(row, classes, size), row.label in constant
            gains[is_right - is_constant_right] += 1
            hits[str(row.label)] += is_right
            constant_hits[str(row.label)] += is_constant_right
    if _is_positive(gains) or _is_recall_better(hits, constant_hits, counts):
        return ""
    accuracy, share = (found.total() / counts.total() for found in (hits, constant_hits))
    return (
        f"the model is not better than a constant answer: accuracy {accuracy:.4g}, always '{ranked[0]}' has {share:.4g}"
    )


def _answer(row: Prediction, classes: Sequence[str], size: int) -> Sequence[str]:
    """Return the `size` classes with the highest scores; of equal scores, the first."""
    if size == 1:
        return (classes[row.scores.index(max(row.scores))],)
    return [classes[place] for place in sorted(range(len(classes)), key=lambda place: -row.scores[place])[:size]]


def _is_recall_better(hits: Mapping[str, int], constant_hits: Mapping[str, int], counts: Mapping[str, int]) -> bool:
    """Return whether the mean recall is above that of the constant answer, by more than its sampling error.

    The error of each recall is estimated from one more hit and one more miss, so that a class with a single sample,
    which chance answers rightly or wrongly, does not count as certain.
    """
    smoothed = ((hits[name] + 1) / (count + 2) for name, count in counts.items())
    variances = (recall * (1 - recall) / count for recall, count in zip(smoothed, counts.values(), strict=True))
    error = math.sqrt(sum(variances)) / len(counts)
    gain = fmean((hits[name] - constant_hits[name]) / count for name, count in counts.items())
    return len(counts) > 1 and gain - _QUANTILE * error > 0


def _regression_warning(predictions: Predictions) -> str:
    labels = array("d", (float(row.label) for row in _evaluated(predictions)))
    errors = array("d", ((float(row.label) - row.scores[0]) ** 2 for row in _evaluated(predictions)))
    mean = fmean(labels)
    of_mean = array("d", ((label - mean) ** 2 for label in labels))
    if _is_positive_mean(array("d", (constant - error for error, constant in zip(errors, of_mean, strict=True)))):
        return ""
    return (
        f"the model is not better than a constant answer: mean squared error {fmean(errors):.4g}, always {mean:.4g} "
        f"has {fmean(of_mean):.4g}"
    )


def _is_positive_mean(values: Sequence[float]) -> bool:
    """Return whether the mean of `values` is above 0 by more than its sampling error."""
    mean = fmean(values)
    variance = fmean((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return mean > _QUANTILE * math.sqrt(variance)


def _is_positive(counts: Mapping[int, int]) -> bool:
    """Return the same for values of which only the number of each is known."""
    total = sum(counts.values())
    mean = sum(value * count for value, count in counts.items()) / total
    squares = math.fsum(count * (value - mean) ** 2 for value, count in counts.items()) / total
    return mean > _QUANTILE * math.sqrt(squares / max(1, total - 1))
