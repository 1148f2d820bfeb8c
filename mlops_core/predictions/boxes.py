"""Boxes of detections: their JSON form, their checks, and which of them agree.

Which boxes agree is decided here for the report and for warnings only. The metrics are the plugin's.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.errors import StepError
from mlops_core.predictions.records import FoundBox, TrueBox

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlops_core.predictions.records import Prediction

    Corners = tuple[float, float, float, float]

SCORE_FACT = "box_score_threshold"
"""Fact of a predictions file: the score from which a found box counts in reports."""
DEFAULT_SCORE = 0.5
_AGREEMENT = 0.5
"""Smallest intersection over union of boxes that agree."""


class BoxFate(StrEnum):
    """What became of a true box, or that a found box is none of them."""

    RIGHT = "right"
    CONFUSED = "confused"
    MISSED = "missed"
    INVENTED = "invented"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedBox:
    """A box with what became of it.

    Attributes:
        label: the true class; of an invented box, the class that was found.
        box: left, top, right and bottom.
        fate: what became of it.

    Example:
        >>> MarkedBox(label="valve", box=(10.0, 20.0, 42.0, 40.0), fate="missed").fate.value
        'missed'
    """

    label: str
    box: tuple[float, float, float, float]
    fate: BoxFate

    def __post_init__(self) -> None:
        """Accept the fate, and the corners, as JSON has them."""
        object.__setattr__(self, "fate", BoxFate(self.fate))
        left, top, right, bottom = self.box
        object.__setattr__(self, "box", (left, top, right, bottom))


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxErrors:
    """How the boxes of a row agree.

    Attributes:
        right: number of true boxes that were found with their class.
        confused: number of true boxes that were found as another class.
        missed: number of true boxes that were not found.
        invented: number of found boxes that are none of the true ones.
        boxes: the true boxes, then the invented ones, each with what became of it.
    """

    right: int
    confused: int
    missed: int
    invented: int
    boxes: tuple[MarkedBox, ...]

    @property
    def count(self) -> int:
        """Return the number of errors."""
        return self.confused + self.missed + self.invented


def check_boxes(row: Prediction, classes: Sequence[str]) -> None:
    """Raise an error if a row cannot be a detection of these classes.

    Raises:
        StepError: a box has no area or an unknown class, a score is missing, or the label is not a number of objects.
    """
    name = f"prediction of '{row.sample}'"
    if len(row.scores) != len(row.found):
        raise StepError(f"{name} has {len(row.scores)} scores for {len(row.found)} found boxes; expected one each")
    if not all(map(math.isfinite, row.scores)):
        raise StepError(f"{name} has a score that is not finite")
    if isinstance(row.label, bool | str) or not math.isfinite(row.label) or row.label < 0:
        raise StepError(f"{name} has the label {row.label!r}; expected the number of its objects")
    if row.interval:
        raise StepError(f"{name} has an interval; it belongs to a number, not to boxes")
    boxes: list[TrueBox | FoundBox] = [*row.truth, *row.found]
    for box in boxes:
        left, top, right, bottom = box.box
        if not all(map(math.isfinite, box.box)) or not (left < right and top < bottom):
            raise StepError(f"{name} has the box {box.box}; expected finite numbers, left < right and top < bottom")
        if box.label not in classes:
            raise StepError(f"{name} has a box of the class {box.label!r}, which is none of the classes")


def of_class(row: Prediction, label: str) -> Prediction:
    """Return a row with the boxes of one class only."""
    truth = tuple(box for box in row.truth if box.label == label)
    kept = [index for index, box in enumerate(row.found) if box.label == label]
    return replace(
        row,
        label=sum(not box.is_crowd for box in truth),
        scores=tuple(row.scores[index] for index in kept),
        truth=truth,
        found=tuple(row.found[index] for index in kept),
    )


def boxes_to_json(row: Prediction) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return true and found boxes of a row as JSON types."""
    truth = [{"label": box.label, "box": box.box} | ({"crowd": True} if box.is_crowd else {}) for box in row.truth]
    return truth, [{"label": box.label, "box": box.box} for box in row.found]


def boxes_from_json(data: Mapping[str, Any]) -> tuple[tuple[TrueBox, ...], tuple[FoundBox, ...]]:
    """Return true and found boxes of a row's JSON.

    Raises:
        KeyError, TypeError, ValueError: they are damaged.
    """
    truth = tuple(
        TrueBox(label=_text(box["label"]), box=_corners(box["box"]), is_crowd=_flag(box.get("crowd", False)))
        for box in data["truth"]
    )
    return truth, tuple(FoundBox(label=_text(box["label"]), box=_corners(box["box"])) for box in data["found"])


def count_errors(row: Prediction, *, threshold: float) -> BoxErrors:
    """Return how the true boxes of a row agree with those found with a score of `threshold` at least.

    Found boxes are taken by descending score; each takes the free true box that it covers best, of its class before
    others. What lies in a crowd of its class does not count.

    Example:
        >>> from mlops_core import FoundBox, Prediction, TrueBox
        >>> truth = (TrueBox(label="valve", box=(0.0, 0.0, 10.0, 10.0)),)
        >>> found = (FoundBox(label="pump", box=(0.0, 0.0, 10.0, 9.0)),)
        >>> row = Prediction(sample="a", group="a", label=1, scores=(0.9,), truth=truth, found=found)
        >>> count_errors(row, threshold=0.5).confused
        1
    """
    free = {index for index, box in enumerate(row.truth) if not box.is_crowd}
    fates = dict.fromkeys(sorted(free), BoxFate.MISSED)
    counted = (index for index, score in enumerate(row.scores) if score >= threshold)
    loose = sorted(counted, key=lambda index: -row.scores[index])
    for fate in (BoxFate.RIGHT, BoxFate.CONFUSED):
        remaining, loose = loose, []
        for index in remaining:
            best = _best(row, row.found[index], free, is_same=fate is BoxFate.RIGHT)
            if best is None:
                loose.append(index)
            else:
                free.remove(best)
                fates[best] = fate
    invented = [row.found[index] for index in loose if not _is_in_crowd(row, row.found[index])]
    counts = Counter(fates.values())
    return BoxErrors(
        right=counts[BoxFate.RIGHT],
        confused=counts[BoxFate.CONFUSED],
        missed=counts[BoxFate.MISSED],
        invented=len(invented),
        boxes=(
            *(MarkedBox(label=row.truth[i].label, box=row.truth[i].box, fate=fate) for i, fate in fates.items()),
            *(MarkedBox(label=box.label, box=box.box, fate=BoxFate.INVENTED) for box in invented),
        ),
    )


def touches_an_object(row: Prediction) -> bool:
    """Return whether any found box of a row shares an area with a true box of its class, whatever its score is."""
    return any(box.label == found.label and _shared(box.box, found.box) > 0 for found in row.found for box in row.truth)


def _best(row: Prediction, found: FoundBox, free: Iterable[int], *, is_same: bool) -> int | None:
    """Return the free true box, of the same class if so required, that a found box covers best; None for none."""
    able = [index for index in free if not is_same or row.truth[index].label == found.label]
    best = max(able, key=lambda index: (_overlap(row.truth[index].box, found.box), -index), default=None)
    return None if best is None or _overlap(row.truth[best].box, found.box) < _AGREEMENT else best


def _is_in_crowd(row: Prediction, found: FoundBox) -> bool:
    area = (found.box[2] - found.box[0]) * (found.box[3] - found.box[1])
    return any(
        box.is_crowd and box.label == found.label and _shared(box.box, found.box) >= _AGREEMENT * area
        for box in row.truth
    )


def _shared(one: Corners, other: Corners) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _overlap(one: Corners, other: Corners) -> float:
    shared = _shared(one, other)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


def _corners(value: Any) -> Corners:
    left, top, right, bottom = value
    if not all(type(one) in (int, float) for one in (left, top, right, bottom)):
        raise TypeError("a box has a corner that is not a number")
    return left, top, right, bottom


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a box has a label that is not a text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("crowd is neither true nor false")
    return value
