"""Previews for the report of a run: the whole picture, or the part of it around the errors, with the boxes drawn.

Only Pillow is used, because previews are made in the driver.
"""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from mlops_core import PREVIEW_LIMIT, Preview
from mlops_object_detection.data.images import read_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlops_core import MarkedSample

_SIDE = 640
_MOST_ENLARGED = 3.0
_MARGIN = 40
_QUALITIES = (85, 60, 30)
_COLOURS = {
    "right": (120, 170, 120),
    "confused": (200, 120, 0),
    "missed": (210, 30, 30),
    "invented": (40, 60, 220),
}
_MOST_PIXELS = 40_000_000
"""Larger pictures would take seconds."""


def preview_picture(dataset: Path, sample: str) -> Preview | None:
    """Return a small copy of a picture; None if it is missing or too large.

    Raises:
        DatasetError: the picture cannot be decoded.
    """
    image = _opened(dataset, sample)
    if image is None:
        return None
    caption = f"{image.width} x {image.height} pixels"
    image.thumbnail((_SIDE, _SIDE))
    return _encoded(image, caption)


def preview_boxes(dataset: Path, marked: MarkedSample) -> Preview | None:
    """Return the part of a picture around its errors, with all boxes in it; None if it is missing or too large.

    Missed boxes are red, invented ones blue, those found as another class orange, and right ones green.

    Raises:
        DatasetError: the picture cannot be decoded.
    """
    image = _opened(dataset, marked.sample)
    if image is None:
        return None
    wrong = [box.box for box in marked.boxes if box.fate != "right"]
    frame = _frame(wrong or [box.box for box in marked.boxes], image.size)
    part = image.crop(frame).convert("RGB")
    factor = min(_SIDE / max(part.size), _MOST_ENLARGED)
    part = part.resize((max(1, round(part.width * factor)), max(1, round(part.height * factor))))
    pen = ImageDraw.Draw(part)
    for box in sorted(marked.boxes, key=lambda one: one.fate != "right"):
        left, top, right, bottom = (
            (value - start) * factor for value, start in zip(box.box, (frame[0], frame[1]) * 2, strict=True)
        )
        if right > 0 and bottom > 0 and left < part.width and top < part.height:
            pen.rectangle((left, top, right, bottom), outline=_COLOURS[box.fate], width=1 if box.fate == "right" else 3)
    shown = " x ".join(str(frame[axis + 2] - frame[axis]) for axis in (0, 1))
    caption = f"{shown} of {image.width} x {image.height} pixels: missed red, invented blue, other class orange"
    return _encoded(part, caption)


def _opened(dataset: Path, sample: str) -> Image.Image | None:
    path = dataset / sample
    parts = PurePosixPath(sample)
    if parts.is_absolute() or ".." in parts.parts or not path.is_file():
        return None
    image = read_image(path)
    return image if image.width * image.height <= _MOST_PIXELS else None


def _frame(boxes: Sequence[tuple[float, float, float, float]], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the part of a picture that holds the largest number of these boxes within the side of a preview."""
    width, height = size
    if not boxes:
        return 0, 0, min(width, _SIDE), min(height, _SIDE)
    best = max(boxes, key=lambda one: sum(_is_near(one, other) for other in boxes))
    near = [box for box in boxes if _is_near(best, box)]
    left, top = (min(box[axis] for box in near) - _MARGIN for axis in (0, 1))
    right, bottom = (max(box[axis] for box in near) + _MARGIN for axis in (2, 3))
    return max(0, int(left)), max(0, int(top)), min(width, int(right) + 1), min(height, int(bottom) + 1)


def _is_near(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return all(abs((one[axis] + one[axis + 2]) - (other[axis] + other[axis + 2])) / 2 < _SIDE / 2 for axis in (0, 1))


def _encoded(image: Image.Image, caption: str) -> Preview | None:
    for quality in _QUALITIES:
        stream = io.BytesIO()
        image.convert("RGB").save(stream, "JPEG", quality=quality)
        if stream.tell() <= PREVIEW_LIMIT:
            return Preview(media_type="image/jpeg", data=stream.getvalue(), caption=caption)
    return None
