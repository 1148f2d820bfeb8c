"""The plan of a detector: working scale, tile side, overlap and strides, all of which follow from the training boxes.

Nothing here depends on what is in the pictures. The working scale brings the typical object to a side of about 34
pixels and the small ones to 15, so that the same network suits small symbols on large drawings and large objects on
photographs. A picture that is larger than a tile is covered by overlapping tiles, each object whole in one of them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_core import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

OUTPUT_STRIDE = 4
"""Pixels per cell of the map of objects."""
CLASS_STRIDE = 8
"""Pixels per cell of the map of classes."""
DEEPEST_STRIDE = 32
"""Sides of what enters the network are multiples of this."""
_TYPICAL_SIDE, _SMALL_SIDE = 34.0, 15.0
_ENLARGED_SIDE, _LARGEST_SIDE = 20.0, 224.0
_MOST_ENLARGED = 4.0
_LARGE_SIDE = 96.0
"""From this side on (of the largest twentieth), a level with a stride of 32 is added, for its field of view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageBoxes:
    """Size of a training picture and its boxes in pixels, (boxes, 4): left, top, right, bottom."""

    width: int
    height: int
    boxes: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How pictures are scaled and cut for the network.

    Attributes:
        long_side: long side of a picture at the working scale; 0 to scale all pictures by `scale`.
        scale: factor of the sides, where `long_side` is 0.
        tile: side of a tile.
        overlap: of neighbouring tiles; more than the side of the largest training box.
        crop: side of the training crops.
        jitter: logarithm of the largest change of scale in training.
        is_deep: the network has a level with a stride of 32.
        most_boxes: largest number of boxes on a training picture.
    """

    long_side: int
    scale: float
    tile: int
    overlap: int
    crop: int
    jitter: float
    is_deep: bool
    most_boxes: int

    def factor(self, width: int, height: int) -> float:
        """Return the factor by which a picture of this size is scaled."""
        return self.long_side / max(width, height) if self.long_side else self.scale

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of a picture at the working scale."""
        factor = self.factor(width, height)
        return max(1, round(width * factor)), max(1, round(height * factor))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan that `to_json` wrote."""
        return cls(**data)


def make_plan(pages: Sequence[PageBoxes], *, tile: int, overlap_share: float, labels: Sequence[Sequence[str]]) -> Plan:
    """Return the plan for training pictures.

    Args:
        pages: of the training part.
        tile: largest side of a tile.
        overlap_share: smallest overlap, as a share of the tile.
        labels: classes of the boxes of each page.

    Raises:
        DatasetError: there is no box.
    """
    if not sum(len(page.boxes) for page in pages):
        raise DatasetError("the training part has no box; expected pictures with labelled objects")
    long_sides = np.array([max(page.width, page.height) for page in pages], np.float64)
    is_relative = _follows_the_page(pages, long_sides)
    reference = float(np.median(long_sides))
    sides = [
        _sides(page) * (reference / side if is_relative else 1.0) for page, side in zip(pages, long_sides, strict=True)
    ]
    scale = _scale(np.concatenate(sides))
    largest = float(np.concatenate(sides).max()) * scale
    widest = float(np.quantile(np.concatenate(sides).max(axis=1), 0.95)) * scale
    longest = reference * scale if is_relative else float(long_sides.max()) * scale
    overlap = math.ceil(largest * 1.05) + 2 * OUTPUT_STRIDE
    whole = _multiple(longest)
    side = min(whole, max(_multiple(tile), _multiple(2.5 * overlap)))
    return Plan(
        long_side=max(1, round(longest)) if is_relative else 0,
        scale=0.0 if is_relative else scale,
        tile=side,
        overlap=min(max(overlap, round(overlap_share * side)), side - DEEPEST_STRIDE) if whole > side else overlap,
        crop=min(_multiple(max(192.0, 2.2 * widest)), max(_multiple(longest), 64), 384),
        jitter=_jitter(sides, labels),
        is_deep=widest > _LARGE_SIDE,
        most_boxes=max(len(page.boxes) for page in pages),
    )


def _sides(page: PageBoxes) -> Floats:
    """Return width and height of each box, (boxes, 2)."""
    return np.asarray(page.boxes[:, 2:] - page.boxes[:, :2]).reshape(-1, 2)


def _follows_the_page(pages: Sequence[PageBoxes], long_sides: Floats) -> bool:
    """Return whether the objects' sizes are proportional to the page's rather than equal in pixels.

    The hypothesis under which the pages' median boxes vary less, as logarithms, is the better one.
    """
    known = [index for index, page in enumerate(pages) if len(page.boxes)]
    medians = np.array([np.median(np.log(_sides(pages[index]).prod(axis=1))) / 2 for index in known])
    return bool(np.std(medians - np.log(long_sides[known])) <= np.std(medians) + 1e-9)


def _scale(sides: Floats) -> float:
    typical = float(np.median(np.sqrt(sides.prod(axis=1))))
    small = float(np.quantile(sides.min(axis=1), 0.05))
    large = float(np.quantile(sides.max(axis=1), 0.95))
    enlarged = max(1.0, _ENLARGED_SIDE / typical)  # pictures are enlarged only as far as small objects need
    wanted = max(min(_TYPICAL_SIDE / typical, enlarged), _SMALL_SIDE / small)
    return min(wanted, _LARGEST_SIDE / large, _MOST_ENLARGED)


def _jitter(sides: Sequence[Floats], labels: Sequence[Sequence[str]]) -> float:
    """Return the typical spread of a class's sizes, as a logarithm, within 0.1 and 0.4."""
    names = np.array([name for page in labels for name in page])
    logs = np.log(np.sqrt(np.concatenate(sides).prod(axis=1)))
    spreads = [float(np.std(logs[names == name])) for name in sorted(set(names)) if (names == name).sum() > 1]
    return float(np.clip(np.median(spreads) if spreads else 0.1, 0.1, 0.4))


def _multiple(value: float) -> int:
    return max(DEEPEST_STRIDE, math.ceil(value / DEEPEST_STRIDE) * DEEPEST_STRIDE)
