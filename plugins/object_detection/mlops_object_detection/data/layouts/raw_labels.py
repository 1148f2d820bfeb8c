"""What a label file says about one picture, in whichever layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """

    image: str
    beside: str
    width: int | None
    height: int | None
    boxes: tuple[Box, ...]
    in_pixels: bool
    where: str
