"""What the network should answer for a crop: maps of centres, of sides and of classes, with what is ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlops_object_detection.model.plan import CLASS_STRIDE, OUTPUT_STRIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

IGNORED = -1
"""Class of boxes that are neither objects nor background: crowds, and objects that the crop cuts."""
_SIGMAS = 6.0
_CORE = 0.25
"""The central half of a box: this share of its side is left out at each edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The targets of one crop.

    Attributes:
        centres: (rows, columns, 2): height of the nearest centre's bell, 1 in its cell; and 0 where it is ignored.
        sides: (rows, columns, 5): distances to left, top, right and bottom in pixels, and 1 where they count.
        classes: (rows, columns) of the class map: number of the class, -1 where it does not count.
    """

    centres: Floats
    sides: Floats
    classes: NDArray[np.int32]


def make_targets(boxes: Floats, labels: NDArray[np.int32], *, side: int) -> Targets:
    """Return the targets of a square crop.

    Args:
        boxes: (boxes, 4) in pixels of the crop.
        labels: (boxes,) number of the class, or `IGNORED`.
        side: of the crop.
    """
    cells = side // OUTPUT_STRIDE
    centres = np.zeros((cells, cells, 2), np.float32)
    centres[..., 1] = 1.0
    sides = np.zeros((cells, cells, 5), np.float32)
    classes = np.full((side // CLASS_STRIDE, side // CLASS_STRIDE), -1, np.int32)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-areas, kind="stable")  # where boxes overlap, the smaller one counts
    for index in (number for number in order if labels[number] == IGNORED):
        rows, columns = _cells(boxes[index], cells, stride=OUTPUT_STRIDE)
        centres[rows, columns, 1] = 0.0
    for index in (number for number in order if labels[number] != IGNORED):
        _add(boxes[index], int(labels[index]), centres, sides, classes)
    return Targets(centres=centres, sides=sides, classes=classes)


def _add(box: Floats, label: int, centres: Floats, sides: Floats, classes: NDArray[np.int32]) -> None:
    cells = len(centres)
    left, top, right, bottom = (float(value) for value in box)
    x, y = (left + right) / 2, (top + bottom) / 2
    rows, columns = _cells(box, cells, stride=OUTPUT_STRIDE)
    at_y = (np.arange(rows.start, rows.stop) + 0.5) * OUTPUT_STRIDE - y
    at_x = (np.arange(columns.start, columns.stop) + 0.5) * OUTPUT_STRIDE - x
    sigma_x, sigma_y = max(right - left, 1.0) / _SIGMAS, max(bottom - top, 1.0) / _SIGMAS
    bell = np.exp(-0.5 * ((at_y / sigma_y)[:, None] ** 2 + (at_x / sigma_x)[None, :] ** 2))
    np.maximum(centres[rows, columns, 0], bell, out=centres[rows, columns, 0])
    row, column = (min(max(int(value // OUTPUT_STRIDE), 0), cells - 1) for value in (y, x))
    centres[row, column] = 1.0  # also where something is ignored
    rows, columns = _cells(_core(box), cells, stride=OUTPUT_STRIDE)
    at_y = (np.arange(rows.start, rows.stop) + 0.5) * OUTPUT_STRIDE
    at_x = (np.arange(columns.start, columns.stop) + 0.5) * OUTPUT_STRIDE
    region = sides[rows, columns]
    region[..., 0], region[..., 2] = (at_x - left)[None, :], (right - at_x)[None, :]
    region[..., 1], region[..., 3] = (at_y - top)[:, None], (bottom - at_y)[:, None]
    region[..., 4] = region[..., :4].min(axis=-1) > 0
    rows, columns = _cells(_core(box), len(classes), stride=CLASS_STRIDE)
    classes[rows, columns] = label


def _core(box: Floats) -> Floats:
    width, height = box[2] - box[0], box[3] - box[1]
    inset = np.array([width, height, -width, -height], np.float32) * np.float32(_CORE)
    return np.asarray(box + inset, np.float32)


def _cells(box: Floats, cells: int, *, stride: int) -> tuple[slice, slice]:
    """Return rows and columns whose cells a box covers; at least the cell of its centre."""
    ranges = []
    for low, high in ((box[1], box[3]), (box[0], box[2])):
        first = int(np.ceil(low / stride - 0.5))
        last = int(np.floor(high / stride - 0.5))
        if last < first:
            first = last = int((low + high) / 2 // stride)
        first = min(max(first, 0), cells - 1)
        ranges.append(slice(first, max(first, min(last, cells - 1)) + 1))
    return ranges[0], ranges[1]
