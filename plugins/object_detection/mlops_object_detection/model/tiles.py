"""Tiles that cover a picture, and the merging of what is found in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlops_object_detection.overlaps import overlaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Detections of a picture: boxes (n, 4) in pixels, number of the class (n,), score (n,); best first."""

    boxes: Floats
    labels: NDArray[np.int64]
    scores: Floats


def starts(length: int, *, tile: int, overlap: int) -> list[int]:
    """Return where tiles begin along a side; the last one is moved back to the edge.

    Example:
        >>> starts(1000, tile=640, overlap=128)
        [0, 360]
        >>> starts(500, tile=640, overlap=128)
        [0]
    """
    if length <= tile:
        return [0]
    step = tile - overlap
    return [*range(0, length - tile, step), length - tile]


def is_cut(boxes: Floats, *, left: int, top: int, tile: int, width: int, height: int) -> NDArray[np.bool_]:
    """Return which boxes of a tile touch an edge of it that is not an edge of the picture; boxes are the picture's."""
    margin = 1.0
    cut = np.zeros(len(boxes), np.bool_)
    if left > 0:
        cut |= boxes[:, 0] <= left + margin
    if top > 0:
        cut |= boxes[:, 1] <= top + margin
    if left + tile < width:
        cut |= boxes[:, 2] >= left + tile - margin
    if top + tile < height:
        cut |= boxes[:, 3] >= top + tile - margin
    return cut


def merge(found: Found, *, same_class: float, any_class: float, limit: int, notable: float) -> tuple[Found, bool]:
    """Return the detections of a picture without those that a better one overlaps, and whether any were cut off.

    Args:
        found: of all tiles.
        same_class: largest overlap with a better one of the same class.
        any_class: largest overlap with a better one of another class.
        limit: how many at most.
        notable: smallest score of a detection whose loss is reported.
    """
    order = np.lexsort((*found.boxes.T[::-1], found.labels, -found.scores))
    boxes, labels, scores = found.boxes[order], found.labels[order], found.scores[order]
    kept: list[int] = []
    alive = np.ones(len(boxes), np.bool_)
    is_truncated = False
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        if len(kept) == limit:
            is_truncated = bool(scores[index] >= notable)
            break
        kept.append(index)
        shared = overlaps(boxes[index : index + 1], boxes[index + 1 :])[0]
        limits = np.where(labels[index + 1 :] == labels[index], same_class, any_class)
        alive[index + 1 :] &= shared <= limits
    return Found(boxes=boxes[kept], labels=labels[kept], scores=scores[kept]), is_truncated
