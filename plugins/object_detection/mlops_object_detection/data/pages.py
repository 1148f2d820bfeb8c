"""Pictures with their boxes, and the annotation file: one JSON object per picture and line, as Azure ML defines it.

A line is ``{"image_url", "image_details": {"format", "width", "height"}, "label": [{"label", "topX", "topY", "bottomX",
"bottomY"}]}``; coordinates are fractions of the picture, from its upper left corner, and ``"isCrowd": 1`` marks a box
around many objects. Beside the file lies ``MLTable``, which describes it to Azure ML.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mlops_core import DatasetError
from mlops_object_detection.data.layouts.raw_labels import without_repetition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

ANNOTATIONS_FILE = "annotations.jsonl"
MLTABLE_FILE = "MLTable"
_CORNERS = ("topX", "topY", "bottomX", "bottomY")
_MLTABLE = f"""\
paths:
  - file: ./{ANNOTATIONS_FILE}
transformations:
  - read_json_lines:
      encoding: utf8
      invalid_lines: error
      include_path_column: false
  - convert_column_types:
      - columns: image_url
        column_type: stream_info
"""
_LINE_LIMIT = 64 << 20
_MOST_OUTSIDE = 0.5
"""Share of a box that may lie outside of its picture; such a box is clipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A labelled box, in fractions of the picture's width and height.

    Attributes:
        label: name of the class.
        left: from 0 to 1, as are the others.
        top: below the upper edge.
        right: above `left`.
        bottom: above `top`.
        is_crowd: around many objects of the class.
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float
    is_crowd: bool = False

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom."""
        return self.left, self.top, self.right, self.bottom


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A picture with its boxes.

    Attributes:
        name: path of its file below the data set.
        width: in pixels, as displayed.
        height: likewise.
        boxes: in the order of the label file.
    """

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...]

    @property
    def objects(self) -> tuple[Box, ...]:
        """Return the boxes that are not crowds."""
        return tuple(box for box in self.boxes if not box.is_crowd)


def checked_box(box: Box, where: str) -> Box:
    """Return a box within its picture; what lies outside of the picture is cut off, up to half of the box.

    Args:
        box: as the label file has it.
        where: file and line, for the error.

    Raises:
        DatasetError: a number is not finite, the box has no area, or most of it lies outside of the picture.
    """
    corners = box.corners
    shown = ", ".join(f"{value:.6g}" for value in corners)
    if not all(map(math.isfinite, corners)):
        raise DatasetError(f"{where}: box of '{box.label}' is ({shown}); expected finite numbers")
    if not (box.left < box.right and box.top < box.bottom):
        raise DatasetError(
            f"{where}: box of '{box.label}' has no area: ({shown}) as fractions of the picture; expected left < right "
            "and top < bottom"
        )
    left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in corners)
    inside = max(0.0, right - left) * max(0.0, bottom - top)
    if inside < (1 - _MOST_OUTSIDE) * (box.right - box.left) * (box.bottom - box.top):
        raise DatasetError(
            f"{where}: box of '{box.label}' lies outside of the picture: ({shown}) as fractions of it; expected "
            "fractions from 0 to 1: are the coordinates in pixels of another size?"
        )
    return replace(box, left=left, top=top, right=right, bottom=bottom)


# --- The annotation file ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A line of an annotation file.

    Attributes:
        url: of the picture, as the file has it.
        width: of the picture in pixels; None if the line does not say.
        height: likewise.
        boxes: as fractions.
        where: file and line, for errors.
    """

    url: str
    width: int | None
    height: int | None
    boxes: tuple[Box, ...]
    where: str


def read_annotations(path: Path, *, shown: str = "") -> Iterator[Annotation]:
    """Yield the lines of an annotation file; blank ones are skipped.

    Args:
        path: the file.
        shown: how errors name it; empty for the path.

    Raises:
        DatasetError: the file cannot be read, or a line is not valid; file and line are named.
    """
    name = shown or str(path)
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as stream:
            for number in _counted():
                line = stream.readline(_LINE_LIMIT)
                if not line:
                    return
                if line.strip():
                    yield _annotation(line, f"{name} (line {number})")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{name} cannot be read: {error}; expected UTF-8 text, one JSON object per line") from error


def _counted() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


def _annotation(line: str, where: str) -> Annotation:
    try:
        data = json.loads(line, object_pairs_hook=without_repetition)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: not JSON: {error}; expected one object per line") from None
    if not isinstance(data, dict) or not isinstance(data.get("image_url"), str) or not data["image_url"]:
        raise DatasetError(f"{where}: no 'image_url'; expected an object with image_url, image_details and label")
    labels = data.get("label")
    if not isinstance(labels, list):
        raise DatasetError(f"{where}: label is {type(labels).__name__}; expected a list of boxes, empty for none")
    details = data.get("image_details") or {}
    if not isinstance(details, dict):
        raise DatasetError(f"{where}: image_details is not an object; expected format, width and height")
    width, height = (_size(details.get(key), key, where) for key in ("width", "height"))
    boxes = tuple(_box(label, f"{where}, box {index}") for index, label in enumerate(labels, 1))
    return Annotation(url=data["image_url"], width=width, height=height, boxes=boxes, where=where)


def _size(value: Any, key: str, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise DatasetError(f"{where}: image_details.{key} is {value!r}; expected a number of pixels without unit")
    return value


def _box(data: Any, where: str) -> Box:
    if not isinstance(data, dict) or not isinstance(data.get("label"), str):
        raise DatasetError(f"{where}: no 'label'; expected label, {', '.join(_CORNERS)}")
    numbers = [data.get(name) for name in _CORNERS]
    for name, value in zip(_CORNERS, numbers, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DatasetError(f"{where}: {name} is {value!r}; expected a fraction of the picture's side, 0 to 1")
    try:
        left, top, right, bottom = map(float, numbers)  # type: ignore[arg-type]  # checked above
    except OverflowError:
        raise DatasetError(
            f"{where}: a number is too large; expected fractions of the picture's side, 0 to 1"
        ) from None
    crowd = data.get("isCrowd", data.get("iscrowd", 0))
    if crowd not in (0, 1, True, False) or data.get("iscrowd", crowd) != crowd:
        shown = crowd if data.get("iscrowd", crowd) == crowd else f"{crowd!r} and iscrowd {data['iscrowd']!r}"
        raise DatasetError(f"{where}: isCrowd is {shown!r}; expected 0 or 1")
    box = Box(label=data["label"], left=left, top=top, right=right, bottom=bottom, is_crowd=bool(crowd))
    return checked_box(box, where)


def write_annotations(folder: Path, pages: Iterable[Page], *, prefix: str | None) -> None:
    """Write ``annotations.jsonl`` and ``MLTable`` into `folder`.

    Args:
        folder: exists.
        pages: in the order of the lines.
        prefix: address of the data set, which a picture's name follows after a slash; None for the names alone.
    """
    with (folder / ANNOTATIONS_FILE).open("w", encoding="utf-8", newline="\n") as stream:
        for page in pages:
            stream.write(json.dumps(_to_json(page, prefix), ensure_ascii=False, allow_nan=False) + "\n")
    (folder / MLTABLE_FILE).write_text(_MLTABLE, encoding="utf-8", newline="\n")


def read_pages(folder: Path, *, prefix: str | None) -> list[Page]:
    """Return the pages that `write_annotations` wrote.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    pages = []
    for line in read_annotations(folder / ANNOTATIONS_FILE):
        name = line.url.removeprefix(f"{prefix.rstrip('/')}/") if prefix else line.url
        if line.width is None or line.height is None:
            raise DatasetError(f"{line.where}: no image_details; expected width and height")
        pages.append(Page(name=name, width=line.width, height=line.height, boxes=line.boxes))
    if not pages:
        raise DatasetError(f"{folder / ANNOTATIONS_FILE} is empty; expected one line per picture")
    return pages


def _to_json(page: Page, prefix: str | None) -> Mapping[str, Any]:
    url = f"{prefix.rstrip('/')}/{page.name}" if prefix else page.name
    return {
        "image_url": url,
        "image_details": {
            "format": PurePosixPath(page.name).suffix.lstrip(".").lower(),
            "width": page.width,
            "height": page.height,
        },
        "label": [
            {"label": box.label, **dict(zip(_CORNERS, box.corners, strict=True))}
            | ({"isCrowd": 1} if box.is_crowd else {})
            for box in page.boxes
        ],
    }
