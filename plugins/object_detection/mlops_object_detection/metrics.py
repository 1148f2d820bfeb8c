"""Metrics of a detector, from the stored detections alone: mean average precision, precision, recall, and tables.

The mean is over the classes that the test pictures show. Another class is listed as not measured, and never counts as 0
or 1. Intervals resample groups of pictures; with a handful of drawings they say little.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mlops_core import (
    ConfusionMatrix,
    FactTable,
    MetricReport,
    MetricValue,
    bootstrap_by_group,
)
from mlops_object_detection.declarations import OVERLAP_FACT, SECTION
from mlops_object_detection.evaluation.confusion import NOTHING, confusion
from mlops_object_detection.evaluation.curves import precision_recall
from mlops_object_detection.evaluation.matching import SIZES, THRESHOLDS, Matches, PageResult, average_precision, match

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlops_core import Prediction, Predictions

SCORE_FACT = "box_score_threshold"
"""Name of the fact in the predictions file that holds the smallest score."""
_DEFAULTS = {SCORE_FACT: 0.3, OVERLAP_FACT: 0.5}
_RESAMPLES, _RESAMPLES_OF_MANY, _MANY = 200, 60, 300
_UNMEASURED = "not measured"

PageMatches: TypeAlias = "Mapping[str, Matches]"
"""Class -> what became of its detections on one page; the last level is the configured overlap."""


def compute_metrics(predictions: Predictions) -> MetricReport:
    """Return metrics, confusion matrix and tables of detections."""
    facts = {name: float(predictions.facts.get(name, default)) for name, default in _DEFAULTS.items()}
    score, overlap = facts[SCORE_FACT], facts[OVERLAP_FACT]
    rows = sorted((row for row in predictions.rows if not row.model), key=lambda row: (row.sample, row.part))
    pages = [page_matches(row, predictions.classes, overlap=overlap) for row in rows]
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        groups[row.group].append(number)
    resamples = _RESAMPLES if len(rows) < _MANY else _RESAMPLES_OF_MANY
    statistics = _statistics(pages, score)
    values: dict[str, MetricValue] = {
        name: bootstrap_by_group(groups, statistic, resamples=resamples) for name, statistic in statistics.items()
    }
    matrix = ConfusionMatrix(
        classes=(*predictions.classes, NOTHING),
        counts=confusion(rows, predictions.classes, score=score, overlap=overlap),
        section=SECTION,
    )
    return MetricReport(
        values=values,
        confusion_matrices={"test": matrix},
        notes=_notes(rows, predictions.classes, facts),
        tables=(*_tables(pages, predictions.classes, score), *size_tables(rows, predictions.classes)),
        curves=precision_recall(pages),
    )


def _statistics(pages: Sequence[PageMatches], score: float) -> dict[str, Callable[[Sequence[int]], float]]:
    """Return the metrics as functions of numbers of pages; those of the same pages are computed once."""

    @lru_cache(maxsize=2 * _RESAMPLES)
    def precisions(numbers: tuple[int, ...]) -> np.ndarray:
        return class_precisions([pages[number] for number in numbers])

    def counts(numbers: Sequence[int]) -> _Counts:
        return _Counts.of([pages[number] for number in numbers], score)

    def over_thresholds(numbers: Sequence[int]) -> np.ndarray:
        return precisions(tuple(sorted(numbers)))

    return {
        "mean_average_precision": lambda numbers: float(over_thresholds(numbers)[:, 0].mean()),
        "mean_average_precision_50_95": lambda numbers: float(over_thresholds(numbers)[:, : len(THRESHOLDS)].mean()),
        "precision": lambda numbers: counts(numbers).precision,
        "recall": lambda numbers: counts(numbers).recall,
    }


def page_matches(
    row: Prediction, classes: Sequence[str], *, overlap: float, areas: tuple[float, float] | None = None
) -> PageMatches:
    """Return what became of the detections of a page, for each class that it shows or was found.

    Args:
        row: the page.
        classes: that count.
        overlap: the configured smallest intersection over union.
        areas: least and greatest area of the boxes that count, in square pixels of the picture; None for all.
    """
    truth: defaultdict[str, list[int]] = defaultdict(list)
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, box in enumerate(row.truth):
        truth[box.label].append(index)
    for index, detection in enumerate(row.found):
        found[detection.label].append(index)
    return {
        label: match(
            PageResult(
                truth=_boxes([row.truth[index].box for index in truth[label]]),
                is_crowd=np.array([row.truth[index].is_crowd for index in truth[label]], np.bool_),
                boxes=_boxes([row.found[index].box for index in found[label]]),
                scores=np.array([row.scores[index] for index in found[label]], np.float64),
            ),
            (*THRESHOLDS, overlap),
            areas,
        )
        for label in classes
        if label in truth or label in found
    }


def class_precisions(pages: Sequence[PageMatches]) -> np.ndarray:
    """Return the average precision per class and threshold, (classes with true boxes, thresholds + 1)."""
    measured = sorted({label for page in pages for label, found in page.items() if found.count})
    if not measured:
        return np.full((1, len(THRESHOLDS) + 1), math.nan)
    return np.stack([average_precision([page[label] for page in pages if label in page]) for label in measured])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """Objects, detections that count, and those of them that are right, at the operating point."""

    objects: int
    detections: int
    hits: int

    @classmethod
    def of(cls, pages: Sequence[PageMatches], score: float, label: str | None = None) -> _Counts:
        chosen = [found for page in pages for name, found in page.items() if label in (None, name)]
        is_counted = [(found.scores >= score) & ~found.is_absorbed[-1] for found in chosen]
        return cls(
            objects=sum(found.count for found in chosen),
            detections=sum(int(one.sum()) for one in is_counted),
            hits=sum(int((found.is_hit[-1] & one).sum()) for found, one in zip(chosen, is_counted, strict=True)),
        )

    @property
    def precision(self) -> float:
        """Return the share of right detections; 0 without any, if there was something to find."""
        if self.detections:
            return self.hits / self.detections
        return 0.0 if self.objects else math.nan

    @property
    def recall(self) -> float:
        """Return the share of the objects that were found."""
        return self.hits / self.objects if self.objects else math.nan


def _boxes(corners: Sequence[tuple[float, float, float, float]]) -> np.ndarray:
    return np.array(corners, np.float64).reshape(-1, 4)


def _notes(
    rows: Sequence[Prediction], classes: Sequence[str], facts: Mapping[str, float]
) -> dict[str, str | int | float]:
    objects = Counter(box.label for row in rows for box in row.truth if not box.is_crowd)
    unmeasured = [label for label in classes if not objects[label]]
    return {
        "pictures": len(rows),
        "pictures without objects": sum(not row.label for row in rows),
        "objects": objects.total(),
        "classes that are not measured": ", ".join(unmeasured) or "none",
        **facts,
    }


def _tables(pages: Sequence[PageMatches], classes: Sequence[str], score: float) -> tuple[FactTable, ...]:
    rows: list[tuple[str | float, ...]] = []
    categories: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    for label in classes:
        precisions = average_precision([page[label] for page in pages if label in page])
        counts = _Counts.of(pages, score, label)
        if not counts.objects:
            rows.append((label, 0, _UNMEASURED, _UNMEASURED, _UNMEASURED, _UNMEASURED))
            continue
        categories[label.partition("/")[0]].append(precisions)
        values = (precisions[0], precisions[: len(THRESHOLDS)].mean(), counts.precision, counts.recall)
        rows.append((label, counts.objects, *(round(float(value), 4) for value in values)))
    columns = ("class", "objects", "AP 50", "AP 50-95", "precision", "recall")
    tables = [FactTable(title="average precision per class", columns=columns, rows=tuple(rows))]
    if any("/" in label for label in classes):
        cells = tuple(
            (name, len(found), round(float(np.mean([one[0] for one in found])), 4))
            for name, found in sorted(categories.items())
        )
        tables.append(
            FactTable(title="average precision per category", columns=("category", "classes", "mAP 50"), rows=cells)
        )
    return tuple(tables)


def size_tables(rows: Sequence[Prediction], classes: Sequence[str]) -> tuple[FactTable, ...]:
    """Return the average precision per size of the boxes, and per class and size, with the sizes of COCO."""
    found = {name: _size_precisions(rows, classes, areas) for name, areas in SIZES.items()}
    sizes: list[tuple[str | float, ...]] = []
    for name, (low, high) in SIZES.items():
        objects, precisions = found[name]
        values = (
            [np.mean([one[0] for one in precisions.values()]), np.mean(list(precisions.values()))] if objects else []
        )
        texts: list[str | float] = [round(float(value), 4) for value in values] or [_UNMEASURED, _UNMEASURED]
        sides = f"from {low**0.5:.0f}²" if name == "large" else f"{low**0.5:.0f}² to {high**0.5:.0f}²"
        sizes.append((name, f"{sides} pixels", objects, len(precisions), *texts))
    cells = [
        (label, *(round(float(one[label].mean()), 4) if label in one else _UNMEASURED for _, one in found.values()))
        for label in classes
        if any(label in one for _, one in found.values())
    ]
    return (
        FactTable(
            title="average precision per size",
            columns=("size", "area", "objects", "classes", "mAP 50", "mAP 50-95"),
            rows=tuple(sizes),
        ),
        FactTable(title="AP 50-95 per class and size", columns=("class", *SIZES), rows=tuple(cells)),
    )


def _size_precisions(
    rows: Sequence[Prediction], classes: Sequence[str], areas: tuple[float, float]
) -> tuple[int, dict[str, np.ndarray]]:
    """Return the number of objects of a size, and of each class that has some the average precision per threshold."""
    pages = [page_matches(row, classes, overlap=THRESHOLDS[0], areas=areas) for row in rows]
    objects = Counter(dict.fromkeys(classes, 0))
    for page in pages:
        objects.update({label: matches.count for label, matches in page.items()})
    precisions = {
        label: average_precision([page[label] for page in pages if label in page])[: len(THRESHOLDS)]
        for label in classes
        if objects[label]
    }
    return objects.total(), precisions
