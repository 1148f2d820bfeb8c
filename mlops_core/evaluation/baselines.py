"""Whether a model is better than a constant answer: the most frequent class, or the mean.

The comparison uses the predictions only, not the metrics of the use case, so that it means the same for every plugin.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.predictions import Prediction, Predictions

_QUANTILE = 1.645
"""One-sided 95 %."""


def constant_warning(predictions: Predictions) -> str:
    """Return a warning if the model is not better than a constant answer at a level of 95 %; else an empty text.

    A classifier is better if it has more correct answers than the most frequent class, or a higher mean recall than
    1 / classes, which a useful model of rare classes has. A regression is better if its squared errors are smaller than
    those of the mean. A detector is better if it finds anything.

    Example:
        >>> from mlops_core import Prediction, Predictions
        >>> samples = ((str(number), "ab"[number % 2]) for number in range(8))
        >>> rows = tuple(Prediction(sample=n, group=n, label=label, scores=(0.6, 0.4)) for n, label in samples)
        >>> constant_warning(Predictions(classes=("a", "b"), rows=rows))
        "the model is not better than a constant answer: accuracy 0.5, always 'a' has 0.5"
    """
    if not predictions.rows:
        return ""
    if predictions.has_boxes:
        return "" if any(row.found for row in predictions.rows) else "the model finds nothing in any sample"
    if not predictions.classes:
        return _regression_warning(predictions.rows)
    return _classification_warning(predictions)


def _classification_warning(predictions: Predictions) -> str:
    classes = predictions.classes
    counts = Counter(str(row.label) for row in predictions.rows)
    most = min(classes, key=lambda name: (-counts[name], name))
    gains: Counter[int] = Counter()
    hits: defaultdict[str, int] = defaultdict(int)
    for row in predictions.rows:
        is_right = classes[row.scores.index(max(row.scores))] == row.label
        gains[is_right - (row.label == most)] += 1
        hits[str(row.label)] += is_right
    recalls = {name: hits[name] / count for name, count in counts.items()}
    if _is_positive(gains) or _is_recall_better(recalls, counts):
        return ""
    accuracy = sum(hits.values()) / len(predictions.rows)
    share = counts[most] / len(predictions.rows)
    return f"the model is not better than a constant answer: accuracy {accuracy:.4g}, always '{most}' has {share:.4g}"


def _is_recall_better(recalls: dict[str, float], counts: Counter[str]) -> bool:
    """Return whether the mean recall is above 1 / classes, which every constant answer has."""
    variance = sum(recall * (1 - recall) / counts[name] for name, recall in recalls.items()) / len(recalls) ** 2
    chance = 1 / len(recalls)
    return len(recalls) > 1 and fmean(recalls.values()) - _QUANTILE * math.sqrt(variance) > chance


def _regression_warning(rows: Sequence[Prediction]) -> str:
    labels = array("d", (float(row.label) for row in rows))
    errors = array("d", ((float(row.label) - row.scores[0]) ** 2 for row in rows))
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
