"""Which class was taken for which: a matrix with "nothing" as its last class, for what is missed or invented."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_object_detection.overlaps import overlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlops_core import FoundBox, Prediction, TrueBox

NOTHING = "(nothing)"


def confusion(
    rows: Sequence[Prediction], classes: Sequence[str], *, score: float, overlap: float
) -> tuple[tuple[int, ...], ...]:
    """Return counts of truth (rows) against detection (columns), in the order of the classes, nothing last.

    A true box is assigned to one detection, of its own class if possible, else of any; the better overlap goes first.
    Detections in a crowd of their class do not count.

    Args:
        rows: of the test set.
        classes: names.
        score: smallest score that counts.
        overlap: smallest intersection over union of boxes that belong together.
    """
    index = {name: position for position, name in enumerate(classes)}
    nothing = len(classes)
    counts = np.zeros((nothing + 1, nothing + 1), np.int64)
    for row in rows:
        objects = [box for box in row.truth if not box.is_crowd]
        found = [box for box, value in zip(row.found, row.scores, strict=True) if value >= score]
        pairs = _pairs(row, score, overlap)
        for true, detected in pairs:
            counts[index[objects[true].label], index[found[detected].label]] += 1
        taken = {detected for _, detected in pairs}
        for position in set(range(len(objects))) - {true for true, _ in pairs}:
            counts[index[objects[position].label], nothing] += 1
        for position in set(range(len(found))) - taken - _in_crowds(row, score, overlap):
            counts[nothing, index[found[position].label]] += 1
    return tuple(tuple(int(count) for count in line) for line in counts)


def _pairs(row: Prediction, score: float, overlap: float) -> list[tuple[int, int]]:
    """Return (true box, detection) of those that belong together, each at most once."""
    objects = [box for box in row.truth if not box.is_crowd]
    found = [box for box, value in zip(row.found, row.scores, strict=True) if value >= score]
    if not objects or not found:
        return []
    shared = overlaps(_corners(objects), _corners(found))
    is_same = np.array([[one.label == other.label for other in found] for one in objects])
    pairs: list[tuple[int, int]] = []
    for weight in (np.where(is_same, shared, 0.0), shared):
        ranked = weight.copy()
        for true, detected in pairs:
            ranked[true, :] = ranked[:, detected] = 0.0
        while ranked.max() >= overlap:
            true, detected = divmod(int(np.argmax(ranked)), ranked.shape[1])
            pairs.append((true, detected))
            ranked[true, :] = ranked[:, detected] = 0.0
    return pairs


def _in_crowds(row: Prediction, score: float, overlap: float) -> set[int]:
    """Return the detections that lie in a crowd of their class."""
    crowds = [box for box in row.truth if box.is_crowd]
    found = [box for box, value in zip(row.found, row.scores, strict=True) if value >= score]
    if not crowds or not found:
        return set()
    shared = overlaps(_corners(found), _corners(crowds), np.ones(len(crowds), np.bool_))
    is_same = np.array([[one.label == other.label for other in crowds] for one in found])
    return set(np.flatnonzero((is_same & (shared >= overlap)).any(axis=1)).tolist())


def _corners(boxes: Sequence[TrueBox] | Sequence[FoundBox]) -> NDArray[np.float64]:
    return np.array([box.box for box in boxes], np.float64)
