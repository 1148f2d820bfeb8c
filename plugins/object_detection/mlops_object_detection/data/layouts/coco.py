"""COCO labels: a JSON file with ``images``, ``annotations`` and ``categories``; boxes are left, top, width, height."""

from __future__ import annotations

import codecs
import json
import reprlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_core import DatasetError
from mlops_object_detection.data.layouts.raw_labels import RawLabels, without_repetition
from mlops_object_detection.data.pages import Box

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_object_detection.data.labels import LabelMap

_LIMIT = 1 << 30
_START = 1 << 20
_Boxes: TypeAlias = "defaultdict[int, list[tuple[Box, str]]]"
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
    return start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{" and b'"images"' in text and b'"categories"' in text


def read(folder: Path, files: Sequence[str], labels: LabelMap) -> Iterator[RawLabels]:
    """Yield the boxes of each image of each file.

    Raises:
        DatasetError: a file is not valid; file and entry are named.
    """
    del labels  # categories have names
    for file in files:
        data = _loaded(folder / file, file)
        names = _names(data["categories"], file)
        boxes: _Boxes = defaultdict(list)
        numbers: dict[object, int] = {}
        for index, entry in enumerate(data["annotations"]):
            where = f"{file}, annotations[{index}]"
            number = entry.get("id") if isinstance(entry, dict) else None
            if isinstance(number, int | str) and numbers.setdefault(number, index) != index:
                raise DatasetError(
                    f"{where}: id {number!r} is that of annotations[{numbers[number]}]; expected each box once"
                )
            boxes[_field(entry, "image_id", int, where)].append((_box(entry, names, where), where))
        yield from _images(data["images"], boxes, file)


def _names(categories: Sequence[Any], file: str) -> dict[int, str]:
    names: dict[int, str] = {}
    for index, entry in enumerate(categories):
        where = f"{file}, categories[{index}]"
        number, name = _field(entry, "id", int, where), _field(entry, "name", str, where)
        if number in names:
            raise DatasetError(f"{where}: id {number} appears twice; expected each category once")
        if name in names.values():
            raise DatasetError(f"{where}: '{name}' has several ids; expected each name once")
        names[number] = name
    return names


def _images(entries: Sequence[Any], boxes: _Boxes, file: str) -> Iterator[RawLabels]:
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
            boxes=tuple(box for box, _ in boxes.get(number, ())),
            in_pixels=True,
            where=where,
            places=tuple(place for _, place in boxes.get(number, ())),
        )
    lost = sorted(set(boxes) - known)
    if lost:
        raise DatasetError(f"{file}: an annotation has the image_id {lost[0]}, which is none of its images")


def _box(entry: Any, names: Mapping[int, str], where: str) -> Box:
    category = _field(entry, "category_id", int, where)
    if category not in names:
        raise DatasetError(f"{where}: category_id {category} is none of the categories")
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise DatasetError(f"{where}: iscrowd is {crowd!r}; expected 0 or 1")
    left, top, right, bottom = _corners(entry, where)
    return Box(label=names[category], left=left, top=top, right=right, bottom=bottom, is_crowd=bool(crowd))


def _corners(entry: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom: of the box or, without one, of the polygons."""
    outline = entry.get("segmentation")
    if not entry.get("bbox") and isinstance(outline, list) and outline:
        polygons = [_floats(polygon) for polygon in outline]
        if any(polygon is None or len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
            raise DatasetError(f"{where}: segmentation is not a list of polygons; expected x, y, x, y, ... of each")
        x = [value for polygon in polygons for value in (polygon or ())[::2]]
        y = [value for polygon in polygons for value in (polygon or ())[1::2]]
        return min(x), min(y), max(x), max(y)
    numbers = _floats(entry.get("bbox"))
    if numbers is None or len(numbers) != 4:
        raise DatasetError(
            f"{where}: bbox is {reprlib.repr(entry.get('bbox'))}; expected left, top, width and height in pixels"
        )
    left, top, width, height = numbers
    return left, top, left + width, top + height


def _floats(values: Any) -> list[float] | None:
    """Return a list of numbers; None if it is none."""
    if not isinstance(values, list):
        return None
    try:
        is_numeric = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
        return list(map(float, values)) if is_numeric else None
    except OverflowError:
        return None


def _field(entry: Any, name: str, kind: type, where: str) -> Any:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DatasetError(f"{where}: {name} is {value!r}; expected {kind.__name__}")
    return value


def _loaded(path: Path, shown: str) -> Mapping[str, list[Any]]:
    try:
        if path.stat().st_size > _LIMIT:
            raise DatasetError(f"{shown} is larger than {_LIMIT:,} bytes")
        data = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=without_repetition)
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{shown} cannot be read: {error}; expected COCO annotations") from None
    for section in _SECTIONS:
        if not isinstance(data, dict) or not isinstance(data.get(section), list):
            raise DatasetError(f"{shown}: no list '{section}'; expected {', '.join(_SECTIONS)}")
    return data  # type: ignore[no-any-return]
