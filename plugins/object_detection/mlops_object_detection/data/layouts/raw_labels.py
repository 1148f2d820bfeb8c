"""What a label file says about one picture, in whichever layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_object_detection.data.pages import Box


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLabels:
    """The boxes of one picture as a label file has them.

    Attributes:
        image: path, address, base name or stem of the picture.
        beside: the label file; relative paths start at its folder.
        width: of the picture in pixels; None if the file does not say.
        height: likewise.
        boxes: in pixels or fractions.
        in_pixels: which of the two.
        where: file and line, for errors.
        places: file and line of each box; empty where `where` says enough.
        alternative: another name of the picture, for a data set without the first one; empty for none.
    """

    image: str
    beside: str
    width: int | None
    height: int | None
    boxes: tuple[Box, ...]
    in_pixels: bool
    where: str
    places: tuple[str, ...] = ()
    alternative: str = ""


def number_of(text: str) -> float:
    """Return the number that a text means; Python's own additions, ``1_0`` and digits of other scripts, mean nothing.

    Raises:
        ValueError: the text is not a number.
    """
    if "_" in text or not text.isascii():
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def whole_number_of(text: str) -> int:
    """Return the whole number that a text means, also as ``3.0``.

    Raises:
        ValueError: the text is not a whole number.
    """
    number = number_of(text)
    if not number.is_integer():
        raise ValueError(f"{text!r} is not a whole number")
    return int(number)


def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, for ``json.loads(object_pairs_hook=...)``, which would keep the last of equal keys.

    Raises:
        ValueError: a key appears twice.
    """
    data = dict(pairs)
    if len(data) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return data
