"""Raw data sets of any supported layout as pages: which layout it is, which picture a label belongs to, its size.

What a layout's label files say is read by the modules of the layouts, as `RawLabels` with coordinates in pixels or in
fractions. This module resolves the pictures, so that each rule about them exists once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_core import DatasetError, list_data_files
from mlops_object_detection.data.image_names import ImageNames, listed
from mlops_object_detection.data.images import IMAGE_SUFFIXES, image_size, size_and_orientation
from mlops_object_detection.data.labels import LabelMap, check_distinct, read_label_map
from mlops_object_detection.data.layouts import coco, npy, voc, yolo
from mlops_object_detection.data.layouts.raw_labels import RawLabels
from mlops_object_detection.data.pages import Box, Page, checked_box, read_annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

LAYOUTS = ("jsonl", "coco", "voc", "npy", "yolo")
"""In the order in which they are looked for."""
_ANYWHERE = "."
_TURNS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height, by which the size in a label tells which picture is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDataset:
    """A raw data set.

    Attributes:
        pages: in alphabetical order.
        layout: of the labels.
        labels: the declared classes.
        left_out: picture -> why it is not used.
        notes: what the user should know.
    """

    pages: tuple[Page, ...]
    layout: str
    labels: LabelMap
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_raw(
    folder: Path,
    *,
    layout: str = "auto",
    label_config_map: str | None = None,
    parts: tuple[str, str] = (_ANYWHERE, _ANYWHERE),
) -> RawDataset:
    """Return the pages of a raw data set.

    Args:
        folder: of the data set.
        layout: one of `LAYOUTS`, or ``auto``.
        label_config_map: path of the file of class names below the folder; None to look for it.
        parts: folders of the images and of the labels below the folder; other files are not used.

    Raises:
        DatasetError: there is no label file, a label is not valid, or a picture is missing or has another size.
    """
    images, files = _files_of(folder, parts)
    if not images:
        raise DatasetError(f"{folder} has no image; expected files such as .jpg or .png{_zip_hint(files)}")
    available = {name: _label_files(folder, files, name) for name in LAYOUTS}
    chosen = _choose(folder, available, layout)
    label_map = read_label_map(folder, files, chosen=label_config_map)
    found = list(_readers()[chosen](folder, available[chosen], label_map))
    index = ImageNames(images)
    pages: list[Page] = []
    used: dict[str, str] = {}
    assumed: list[str] = []
    renamed: list[str] = []
    for labels in found:
        name, is_alternative = index.find(labels)
        if labels.alternative and not is_alternative:
            renamed.append(labels.where)
        if name in used:
            raise DatasetError(f"{labels.where}: {name} has labels already, in {used[name]}; expected them once")
        used[name] = labels.where
        page, is_assumed = _page(folder, name, labels, label_map)
        pages.append(page)
        assumed += [name] if is_assumed else []
    missing = [name for name in images if name not in used]
    is_yolo = chosen == "yolo"
    pages += [_empty_page(folder, name) for name in missing if is_yolo]
    ignored = [name for name in LAYOUTS if available[name] and name != chosen]
    notes = _notes(chosen, missing=missing, renamed=renamed, assumed=assumed, ignored=ignored)
    left_out = {} if is_yolo else dict.fromkeys(missing, "no label names it")
    ordered = tuple(sorted(pages, key=lambda page: page.name))
    check_distinct(sorted({box.label for page in ordered for box in page.boxes}), "labels")
    if not any(page.boxes for page in ordered):
        raise DatasetError(f"{folder}: no label file has a box ({chosen}, {len(ordered)} images); expected objects")
    return RawDataset(pages=ordered, layout=chosen, labels=label_map, left_out=left_out, notes=notes)


def _files_of(folder: Path, parts: tuple[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the images, and the files that may be labels or belong to them, each below their part of the folder."""
    files = list_data_files(folder).files
    images, others = (
        tuple(name for name in files if part == _ANYWHERE or PurePosixPath(name).is_relative_to(part)) for part in parts
    )
    images = tuple(name for name in images if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES)
    return images, tuple(dict.fromkeys((*others, *images)))


def _readers() -> Mapping[str, Callable[[Path, Sequence[str], LabelMap], Iterable[RawLabels]]]:
    return {"jsonl": _read_jsonl, "coco": coco.read, "voc": voc.read, "npy": npy.read, "yolo": yolo.read}


def _label_files(folder: Path, files: Sequence[str], layout: str) -> list[str]:
    """Return the label files of a layout; images of YOLO may have none, so their text files are enough."""
    if layout == "jsonl":
        return [name for name in files if name.lower().endswith(".jsonl")]
    if layout == "coco":
        return [name for name in files if name.lower().endswith(".json") and coco.is_coco(folder / name)]
    if layout == "voc":
        return [name for name in files if name.lower().endswith(".xml") and voc.is_voc(folder / name)]
    if layout == "npy":
        return [name for name in files if npy.is_label_file(name)]
    return yolo.label_files(folder, files)


def _choose(folder: Path, available: Mapping[str, Sequence[str]], layout: str) -> str:
    if layout != "auto":
        if not available[layout]:
            others = [name for name, found in available.items() if found]
            hint = f"; the data set has labels of {', '.join(others)}" if others else ""
            raise DatasetError(f"{folder} has no label file of the layout '{layout}'{hint}")
        return layout
    for name in LAYOUTS:
        if available[name]:
            return name
    raise DatasetError(
        f"{folder} has no label file; expected annotations as .jsonl, COCO .json, VOC .xml, *_symbols.npy or YOLO .txt"
    )


def _read_jsonl(folder: Path, files: Sequence[str], labels: LabelMap) -> Iterator[RawLabels]:
    del labels  # names are checked with those of the other layouts
    for file in files:
        for line in read_annotations(folder / file, shown=file):
            yield RawLabels(
                image=line.url,
                beside=file,
                width=line.width,
                height=line.height,
                boxes=line.boxes,
                in_pixels=False,
                where=line.where,
            )


def _page(folder: Path, name: str, labels: RawLabels, label_map: LabelMap) -> tuple[Page, bool]:
    """Return a page, and whether its boxes were taken as displayed although the stored picture could be meant."""
    (width, height), orientation = size_and_orientation(folder / name)
    turn = 0
    has_size = labels.width is not None and labels.height is not None
    is_other = labels.width not in (None, width) or labels.height not in (None, height)
    if is_other:
        turn = orientation
        if not has_size or turn not in _TURNS or (labels.height, labels.width) != (width, height):
            raise DatasetError(
                f"{labels.where}: {name} has {width} x {height} pixels; the label says "
                f"{'?' if labels.width is None else labels.width} x {'?' if labels.height is None else labels.height}"
            )
    stored = (height, width) if turn else (width, height)
    places = labels.places or (labels.where,) * len(labels.boxes)
    if labels.in_pixels:
        _check_pixels(labels.boxes, places, stored)
    boxes = (_fractional(box, stored) if labels.in_pixels else box for box in labels.boxes)
    turned = (_turned(box, turn) for box in boxes)
    checked = tuple(checked_box(box, place) for box, place in zip(turned, places, strict=True))
    for box, place in zip(checked, places, strict=True):
        label_map.check(box.label, place)
    is_known = orientation == 1 or (orientation in _TURNS and has_size and width != height)
    return Page(name=name, width=width, height=height, boxes=checked), bool(checked) and not is_known


def _empty_page(folder: Path, name: str) -> Page:
    width, height = image_size(folder / name)
    return Page(name=name, width=width, height=height, boxes=())


def _check_pixels(boxes: Sequence[Box], places: Sequence[str], size: tuple[int, int]) -> None:
    """Refuse a box that lies in the first pixel: its numbers are fractions, not pixels.

    Raises:
        DatasetError: file and line are named.
    """
    for box, place in zip(boxes, places, strict=True):
        if 0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1 and min(size) > 1:
            shown = ", ".join(f"{value:.6g}" for value in box.corners)
            raise DatasetError(
                f"{place}: box of '{box.label}' is ({shown}), within one pixel of {size[0]} x {size[1]}; expected "
                "pixels: are the coordinates fractions?"
            )


def _fractional(box: Box, size: tuple[int, int]) -> Box:
    width, height = size
    return replace(
        box, left=box.left / width, right=box.right / width, top=box.top / height, bottom=box.bottom / height
    )


def _turned(box: Box, orientation: int) -> Box:
    """Return a box of the stored picture in the picture as displayed, by its EXIF orientation."""
    left, top, right, bottom = box.corners
    turned = {
        5: (top, left, bottom, right),
        6: (1 - bottom, left, 1 - top, right),
        7: (1 - bottom, 1 - right, 1 - top, 1 - left),
        8: (top, 1 - right, bottom, 1 - left),
    }.get(orientation, box.corners)
    return replace(box, left=turned[0], top=turned[1], right=turned[2], bottom=turned[3])


def _notes(
    layout: str, *, missing: Sequence[str], renamed: Sequence[str], assumed: Sequence[str], ignored: Sequence[str]
) -> tuple[str, ...]:
    """Return what the user should know about what was read."""
    notes = {
        "images have no label file and count as images without objects": missing if layout == "yolo" else (),
        "images are named by no label and are left out": missing if layout != "yolo" else (),
        "label files name another image than that of their own name, which is used": renamed,
        "images are mirrored or turned by their EXIF orientation, and their labels do not tell whether boxes are in "
        "the stored or the displayed image; they are taken as in the displayed one": assumed,
    }
    lines = [f"{len(names)} {text}: {listed(sorted(names))}" for text, names in notes.items() if names]
    if ignored:
        lines.append(f"labels are read from {layout}; files of other layouts are not used: {', '.join(ignored)}")
    return tuple(lines)


def _zip_hint(files: Sequence[str]) -> str:
    archives = [name for name in files if name.lower().endswith((".zip", ".tar", ".gz"))]
    return f"; unpack {archives[0]} first" if archives else ""
