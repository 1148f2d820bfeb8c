"""Clips with several labels: targets, the rows of their predictions, mAP and d-prime.

The predictions file has one true class per row, so a clip with several labels has one row per label, all with the
clip's scores (the mean over its patches); `LABELS_FACT` in the file's facts marks such a file. Classes that no test
clip has, or all have, are left out of the means, because clips cannot be ranked by them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import groupby
from statistics import NormalDist
from typing import TYPE_CHECKING

from mlops_aed.data.clips import split_label
from mlops_aed.evaluation.metrics import COSTS, cost_values
from mlops_aed.evaluation.votes import FLOAT_MODEL
from mlops_core import (
    AllOf,
    Comparison,
    Direction,
    FactTable,
    Gate,
    Metric,
    MetricReport,
    MetricValue,
    Operator,
    Prediction,
    Unit,
    bootstrap_by_group,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mlops_aed.config import AedConfig
    from mlops_aed.data.feature_store import PatchRow
    from mlops_core import Predictions

    Floats = NDArray[np.float32]
    Statistic = Callable[[NDArray[np.float64], NDArray[np.bool_]], float]

LABELS_FACT = "labels_a_clip"
"""Name of the fact with the mean number of labels; it is present if clips may have several."""
MAP_THRESHOLD = "q_map_threshold"
_SECTION = "multilabel_classification_metrics"
_RESAMPLES = 200

METRICS = (
    Metric(
        name="map",
        section=_SECTION,
        unit=Unit.FRACTION,
        minimum=0.0,
        maximum=1.0,
        direction=Direction.HIGHER,
        title="Mean average precision",
        job_name="clip:map",
        log_regex=r"Mean average precision on test set : ([0-9\\.]+)",
        description="Average precision of the clips ranked by the score of a class, averaged over the classes.",
    ),
    Metric(
        name="d_prime",
        section=_SECTION,
        unit=Unit.NONE,
        minimum=-10.0,
        maximum=10.0,
        direction=Direction.HIGHER,
        title="d-prime",
        job_name="clip:d_prime",
        log_regex=r"d-prime on test set : (-?[0-9\\.]+)",
        description="Distance of two normal distributions that overlap as much as the scores of clips with and without "
        "a class, from the mean area under the ROC curve: sqrt(2) times its normal quantile.",
    ),
)


def _of_both(name: str, title: str, description: str, *, limits: tuple[float, float], direction: Direction) -> Metric:
    return Metric(
        name=name,
        section=_SECTION,
        unit=Unit.NONE if name.endswith("d_prime") else Unit.FRACTION,
        minimum=limits[0],
        maximum=limits[1],
        direction=direction,
        title=title,
        description=description,
    )


_COMPARISON = (
    _of_both(
        "float_map",
        "Mean average precision, float",
        "Value of the model before quantization.",
        limits=(0.0, 1.0),
        direction=Direction.HIGHER,
    ),
    _of_both(
        "float_d_prime",
        "d-prime, float",
        "Value of the model before quantization.",
        limits=(-10.0, 10.0),
        direction=Direction.HIGHER,
    ),
    _of_both(
        "int8_map_drop",
        "Mean average precision lost by quantization",
        "Value of the float model minus that of the quantized one.",
        limits=(-1.0, 1.0),
        direction=Direction.LOWER,
    ),
)


def multi_hot(labels: Iterable[str], classes: Sequence[str]) -> Floats:
    """Return one row per label text, with 1 for each of its classes, shape (labels, classes)."""
    import numpy as np

    place = {name: position for position, name in enumerate(classes)}
    texts = list(labels)
    targets = np.zeros((len(texts), len(classes)), dtype=np.float32)
    for row, text in enumerate(texts):
        targets[row, [place[name] for name in split_label(text)]] = 1.0
    return targets


def clip_predictions(rows: Sequence[PatchRow], scores: Floats, *, model: str = "") -> Iterator[Prediction]:
    """Yield one prediction per clip and label, from the scores (patches, classes) of the patches `rows`.

    The rows have the name `model`.
    """
    start = 0
    for _, members in groupby(rows, key=lambda row: row.clip):
        patches = list(members)
        mean = scores[start : start + len(patches)].mean(axis=0)
        start += len(patches)
        for position, label in enumerate(split_label(patches[0].label)):
            yield Prediction(
                sample=patches[0].clip,
                part=position,
                group=patches[0].group,
                label=label,
                scores=tuple(round(float(score), 6) for score in mean),
                model=model,
            )


def declared_metrics(config: AedConfig) -> tuple[Metric, ...]:
    """Return the metrics of a run with this configuration."""
    is_quantized = config.general.is_quantized
    has_costs = is_quantized or str(config.general.model_path).endswith(".tflite")
    return (*METRICS, *(_COMPARISON if is_quantized else ()), *(COSTS if has_costs else ()))


def gate(config: AedConfig) -> Gate:
    """Return the gate: mean average precision reaches its threshold; a quantized model stays within its limits."""
    clauses = [
        Comparison(
            metric="map",
            operator=Operator.AT_LEAST,
            threshold=MAP_THRESHOLD,
            message="Execution failed due to mean average precision <",
        )
    ]
    limits = (
        ("int8_map_drop", config.quantization.max_accuracy_drop),
        ("model_flash_kib", config.quantization.max_flash_kib),
    )
    for metric, threshold in limits if config.general.is_quantized else ():
        if threshold is not None:
            clauses.append(Comparison(metric=metric, operator=Operator.AT_MOST, threshold=threshold))
    return Gate(AllOf(tuple(clauses)))


def compute_metrics(predictions: Predictions) -> MetricReport:
    """Return mAP and d-prime, and the comparison with a float model; intervals resample recordings.

    Raises:
        ValueError: rows of one clip have different scores, so they were not written by `clip_predictions`.
    """
    classes = predictions.classes
    rows = [row for row in predictions.rows if not row.model]
    report = _of_one_model(rows, classes)
    values = {**report.values, **cost_values(predictions)}
    float_rows = [row for row in predictions.rows if row.model == FLOAT_MODEL]
    if float_rows:
        other = _of_one_model(float_rows, classes).values
        values |= {f"float_{name}": value for name, value in other.items()}
        drop = other["map"].value - values["map"].value
        values["int8_map_drop"] = MetricValue(value=drop, low=drop, high=drop, count=other["map"].count)
    return MetricReport(values=values, notes=report.notes, tables=report.tables)


def _of_one_model(rows: Sequence[Prediction], classes: tuple[str, ...]) -> MetricReport:
    truth: defaultdict[str, set[str]] = defaultdict(set)
    first: dict[str, Prediction] = {}
    for row in rows:
        truth[row.sample].add(str(row.label))
        if first.setdefault(row.sample, row).scores != row.scores:
            raise ValueError(f"rows of the clip '{row.sample}' have different scores")
    clips = list(first)
    ranking = _Ranking([first[clip].scores for clip in clips], [truth[clip] for clip in clips], classes)
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for position, clip in enumerate(clips):
        groups[first[clip].group].append(position)
    everything = range(len(clips))
    return MetricReport(
        values={
            "map": bootstrap_by_group(groups, ranking.mean_average_precision, resamples=_RESAMPLES),
            "d_prime": bootstrap_by_group(groups, ranking.d_prime, resamples=_RESAMPLES),
        },
        notes={
            "clips": len(clips),
            "labels": sum(map(len, truth.values())),
            "source_recordings": len(groups),
            "classes_ranked": ranking.ranked(everything),
        },
        tables=(ranking.table(classes),),
    )


class _Ranking:
    """Scores and true labels of all clips; ranks any sample of them, also with repetitions."""

    def __init__(self, scores: Sequence[Sequence[float]], truth: Sequence[set[str]], classes: Sequence[str]) -> None:
        import numpy as np

        self._scores = np.asarray(scores, dtype=np.float64)
        self._truth = np.array([[name in labels for name in classes] for labels in truth], dtype=bool)

    def ranked(self, chosen: Sequence[int]) -> int:
        """Return the number of classes that some of the clips have and others do not."""
        return int(self._has_both(chosen).sum())

    def _has_both(self, chosen: Sequence[int]) -> NDArray[np.bool_]:
        import numpy as np

        truth = self._truth[list(chosen)]
        hits: NDArray[np.int64] = truth.sum(axis=0)
        return np.asarray((hits > 0) & (hits < len(truth)), dtype=bool)

    def mean_average_precision(self, chosen: Sequence[int]) -> float:
        """Return the mean average precision of the classes; clips of equal score share their precision."""
        return self._mean(chosen, average_precision)

    def d_prime(self, chosen: Sequence[int]) -> float:
        """Return sqrt(2) times the normal quantile of the mean area under the curve.

        A perfect ranking has no finite value, so the area is kept half a pair below 1, and above 0.
        """
        area = self._mean(chosen, area_under_curve)
        if math.isnan(area):
            return area
        half_a_pair = 2.0 / len(chosen) ** 2
        return math.sqrt(2) * NormalDist().inv_cdf(min(max(area, half_a_pair), 1 - half_a_pair))

    def table(self, classes: Sequence[str]) -> FactTable:
        """Return one row per class: its clips, and their ranking; "-" if they cannot be ranked."""
        is_ranked = self._has_both(range(len(self._truth))).tolist()
        rows: list[tuple[str | int | float, ...]] = []
        for k, name in enumerate(classes):
            scores, truth = self._scores[:, k], self._truth[:, k]
            if is_ranked[k]:
                ranked = round(average_precision(scores, truth), 4), round(area_under_curve(scores, truth), 4)
                rows.append((name, int(truth.sum()), *ranked))
            else:
                rows.append((name, int(truth.sum()), "-", "-"))
        columns = ("class", "clips", "average precision", "area under the curve")
        return FactTable(title="average precision of each class", columns=columns, rows=tuple(rows))

    def _mean(self, chosen: Sequence[int], statistic: Statistic) -> float:
        import numpy as np

        index = list(chosen)
        used = np.flatnonzero(self._has_both(index))
        if not len(used):
            return math.nan
        values = [statistic(self._scores[index, k], self._truth[index, k]) for k in used]
        return float(np.mean(values))


def average_precision(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return the sum of precision times gain in recall over the distinct scores, in descending order."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits = np.cumsum(truth[order])[ends]
    precision = hits / (ends + 1)
    return float(np.sum(np.diff(hits, prepend=0) * precision) / hits[-1])


def area_under_curve(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return the probability that a clip with the class scores higher than one without; equal scores count half."""
    import numpy as np

    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = int(truth.sum())
    negative = len(truth) - positive
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))
