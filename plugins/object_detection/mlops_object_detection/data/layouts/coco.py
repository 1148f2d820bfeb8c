"""COCO labels: a JSON file with ``images``, ``annotations`` and ``categories``; boxes are left, top, width, height."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mlops_core import DatasetError
from mlops_object_detection.data.layouts.raw_labels import RawLabels
from mlops_object_detection.data.pages import Box

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_object_detection.data.labels import LabelMap

_LIMIT = 1 << 30
_START = 1 << 20
_SECTIONS = ("images", "annotations", "categories")


def is_coco(path: Path) -> bool:
    """Return whether a JSON file looks like a COCO annotation: it names its sections, at its start or at its end."""
    try:
        with path.open("rb") as stream:
            start = stream.read(_START)
            stream.seek(max(0, path.stat().st_size - _START))
            text = start + stream.read(_START)
    except OSError:
        return False
    return start.lstrip()[:1] == b"{" and b'"images"' in text and b'"categories"' in text


def read(folder: Path, files: Sequence[str], labels: LabelMap) -> Iterator[RawLabels]:
    """Yield the boxes of each image of each file.

    Raises:
        DatasetError: a file is not valid; file and entry are named.
    """
    del labels  # categories have names
    for file in files:
        data = _loaded(folder / file, file)
        names = {
            _field(entry, "id", int, f"{file}, categories[{index}]"): _field(
                entry, "name", str, f"{file}, categories[{index}]"
            )
            for index, entry in enumerate(data["categories"])
        }
        boxes: defaultdict[int, list[Box]] = defaultdict(list)
        for index, entry in enumerate(data["annotations"]):
            where = f"{file}, annotations[{index}]"
            boxes[_field(entry, "image_id", int, where)].append(_box(entry, names, where))
        yield from _images(data["images"], boxes, file)


def _images(entries: Sequence[Any], boxes: Mapping[int, Sequence[Box]], file: str) -> Iterator[RawLabels]:
    known = set()
    for index, entry in enumerate(entries):
        where = f"{file}, images[{index}]"
        number = _field(entry, "id", int, where)
        if number in known:
            raise DatasetError(f"{where}: id {number} appears twice; expected each image once")
        known.add(number)
        yield RawLabels(
            image=_field(entry, "file_name", str, where),
            beside=file,
            width=_field(entry, "width", int, where) if "width" in entry else None,
            height=_field(entry, "height", int, where) if "height" in entry else None,
            boxes=tuple(boxes.get(number, ())),
            in_pixels=True,
            where=where,
        )
    lost = sorted(set(boxes) - known)
    if lost:
        raise DatasetError(f"{file}: an annotation has the image_id {lost[0]}, which is none of its images")


def _box(entry: Any, names: Mapping[int, str], where: str) -> Box:
    category = _field(entry, "category_id", int, where)
    if category not in names:
        raise DatasetError(f"{where}: category_id {category} is none of the categories")
    numbers = _field(entry, "bbox", list, where)
    if len(numbers) != 4 or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
        raise DatasetError(f"{where}: bbox is {numbers!r}; expected left, top, width and height in pixels")
    left, top, width, height = map(float, numbers)
    is_crowd = bool(entry.get("iscrowd", 0))
    return Box(label=names[category], left=left, top=top, right=left + width, bottom=top + height, is_crowd=is_crowd)


def _field(entry: Any, name: str, kind: type, where: str) -> Any:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DatasetError(f"{where}: {name} is {value!r}; expected {kind.__name__}")
    return value


def _loaded(path: Path, shown: str) -> Mapping[str, list[Any]]:
    try:
        if path.stat().st_size > _LIMIT:
            raise DatasetError(f"{shown} is larger than {_LIMIT:,} bytes")
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{shown} cannot be read: {error}; expected COCO annotations") from None
    for section in _SECTIONS:
        if not isinstance(data, dict) or not isinstance(data.get(section), list):
            raise DatasetError(f"{shown}: no list '{section}'; expected {', '.join(_SECTIONS)}")
    return data  # type: ignore[no-any-return]
