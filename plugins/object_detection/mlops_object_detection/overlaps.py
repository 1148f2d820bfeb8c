"""The intersection over union of boxes, for the merging of detections, their matching and the confusion matrix.

Core has one of its own for two boxes, since it does without numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


def overlaps(boxes: Floats, others: Floats, is_crowd: Flags | None = None) -> Floats:
    """Return the intersection over union of each pair of boxes, (boxes, others); 0 where both have no area.

    Args:
        boxes: (boxes, 4): left, top, right and bottom.
        others: (others, 4).
        is_crowd: (others,): around many objects; the intersection is divided by the area of the first box alone.
    """
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    area, other = ((one[:, 2:] - one[:, :2]).prod(axis=1) for one in (boxes, others))
    union = area[:, None] + other[None, :] - shared
    if is_crowd is not None:
        union = np.where(is_crowd[None, :], area[:, None], union)
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0))
