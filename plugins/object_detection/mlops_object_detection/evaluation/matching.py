"""Matching of detections with truth, and average precision, as COCO defines them.

Per class and picture, detections are taken by descending score; each takes the free true box with the highest
intersection over union, if that reaches the threshold. A true box that is a crowd absorbs any number of detections, for
which the intersection is divided by the detection's own area; these count neither as right nor as wrong. Precision is
made monotone and sampled at 101 recalls. Source: T.-Y. Lin et al., Microsoft COCO (2014), and the evaluation code of
its publishers, whose results these equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlops_object_detection.overlaps import overlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Least and greatest area of COCO's sizes in square pixels of the picture, both included."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls where precision is sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResult:
    """Truth and detections of one class on one picture.

    Attributes:
        truth: (true boxes, 4): left, top, right, bottom.
        is_crowd: (true boxes,).
        boxes: (detections, 4).
        scores: (detections,).
    """

    truth: Floats
    is_crowd: Flags
    boxes: Floats
    scores: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """What became of the detections of one class on one picture, by descending score.

    Attributes:
        scores: (detections,).
        is_hit: (thresholds, detections): the detection found a true box.
        is_absorbed: (thresholds, detections): it does not count: it lies in a crowd, or is of another size.
        truths: (thresholds, detections): index of the true box, or -1.
        count: number of true boxes that count.
    """

    scores: Floats
    is_hit: Flags
    is_absorbed: Flags
    truths: NDArray[np.int64]
    count: int


def match(
    page: PageResult, thresholds: Sequence[float] = THRESHOLDS, areas: tuple[float, float] | None = None
) -> Matches:
    """Return which detections find a true box, at each threshold of the intersection over union.

    Args:
        page: truth and detections.
        thresholds: smallest intersections over union.
        areas: least and greatest area of the true boxes that count; None for all. A true box of another size absorbs
            one detection, and a detection of another size that finds nothing does not count.
    """
    order = np.argsort(-page.scores, kind="mergesort")
    boxes = page.boxes[order]
    is_ignored = page.is_crowd | _is_outside(page.truth, areas)
    by_rank = np.argsort(is_ignored, kind="mergesort")  # true boxes that count before those that do not
    crowd, ignored = page.is_crowd[by_rank], is_ignored[by_rank]
    shared = overlaps(boxes, page.truth[by_rank], crowd)
    shape = (len(thresholds), len(boxes))
    truths = np.full(shape, -1, np.int64)
    absorbed = np.zeros(shape, np.bool_)
    for level, threshold in enumerate(thresholds):
        is_free = np.ones(len(crowd), np.bool_)
        for index in range(len(boxes)):
            best = _best(shared[index], is_free, ignored, threshold)
            if best >= 0:
                truths[level, index] = by_rank[best]
                absorbed[level, index] = ignored[best]
                is_free[best] = crowd[best]
    absorbed |= (truths < 0) & _is_outside(boxes, areas)
    return Matches(
        scores=page.scores[order],
        is_hit=(truths >= 0) & ~absorbed,
        is_absorbed=absorbed,
        truths=truths,
        count=int((~ignored).sum()),
    )


def _is_outside(boxes: Floats, areas: tuple[float, float] | None) -> Flags:
    """Return for each box whether its area is none of `areas`."""
    if areas is None:
        return np.zeros(len(boxes), np.bool_)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray((area < areas[0]) | (area > areas[1]))


def _best(shared: Floats, is_free: Flags, ignored: Flags, threshold: float) -> int:
    """Return the free true box of highest overlap, the last of equals; ignored ones come last; -1 for none."""
    limit = min(threshold, 1 - 1e-10)
    for among in (is_free & ~ignored, is_free & ignored):
        able = np.flatnonzero(among & (shared >= limit))
        if len(able):
            return int(able[len(able) - 1 - int(np.argmax(shared[able][::-1]))])
    return -1


def average_precision(pages: Sequence[Matches]) -> Floats:
    """Return the average precision of one class per threshold; NaN where there is no true box."""
    return np.asarray(sampled_precision(pages).mean(axis=1))


def sampled_precision(pages: Sequence[Matches]) -> Floats:
    """Return the precision of one class at `RECALLS`, (thresholds, recalls); NaN where there is no true box."""
    count = sum(page.count for page in pages)
    levels = len(pages[0].is_hit) if pages else 0
    if not count:
        return np.full((levels, len(RECALLS)), np.nan)
    order = np.argsort(-np.concatenate([page.scores for page in pages]), kind="mergesort")
    hits = np.concatenate([page.is_hit for page in pages], axis=1)[:, order]
    absorbed = np.concatenate([page.is_absorbed for page in pages], axis=1)[:, order]
    return np.stack([_at_recalls(hit[~out], count) for hit, out in zip(hits, absorbed, strict=True)])


def _at_recalls(hits: Flags, count: int) -> Floats:
    right = np.cumsum(hits)
    recall = right / count
    precision = right / np.arange(1, len(hits) + 1)
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    values = np.zeros(len(RECALLS))
    is_reached = places < len(monotone)
    values[is_reached] = monotone[places[is_reached]]
    return values
