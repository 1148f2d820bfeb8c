"""Raw data sets of any supported layout as pages: which layout it is, which picture a label belongs to, its size.

What a layout's label files say is read by the modules of the layouts, as `RawLabels` with coordinates in pixels or in
fractions. This module resolves the pictures, so that each rule about them exists once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_core import DatasetError, did_you_mean, list_data_files
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
_SHOWN = 5
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


def read_raw(folder: Path, *, layout: str = "auto", label_config_map: str | None = None) -> RawDataset:
    """Return the pages of a raw data set.

    Args:
        folder: of the data set.
        layout: one of `LAYOUTS`, or ``auto``.
        label_config_map: path of the file of class names below the folder; None to look for it.

    Raises:
        DatasetError: there is no label file, a label is not valid, or a picture is missing or has another size.
    """
    files = list_data_files(folder).files
    images = tuple(name for name in files if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DatasetError(f"{folder} has no image; expected files such as .jpg or .png{_zip_hint(files)}")
    available = {name: _label_files(folder, files, name) for name in LAYOUTS}
    chosen = _choose(folder, available, layout)
    label_map = read_label_map(folder, files, chosen=label_config_map)
    found = list(_readers()[chosen](folder, available[chosen], label_map))
    index = _Images(images)
    pages: list[Page] = []
    used: dict[str, str] = {}
    assumed: list[str] = []
    for labels in found:
        name = index.find(labels.image, labels.where, beside=labels.beside)
        if name in used:
            raise DatasetError(f"{labels.where}: {name} has labels already, in {used[name]}; expected them once")
        used[name] = labels.where
        page, is_assumed = _page(folder, name, labels, label_map)
        pages.append(page)
        assumed += [name] if is_assumed else []
    missing = [name for name in images if name not in used]
    notes, left_out = [], {}
    if chosen == "yolo" and missing:
        pages += [_empty_page(folder, name) for name in missing]
        notes.append(
            f"{len(missing)} images have no label file and count as images without objects: {_listed(missing)}"
        )
    elif missing:
        left_out = dict.fromkeys(missing, "no label names it")
        notes.append(f"{len(missing)} images are named by no label and are left out: {_listed(missing)}")
    if assumed:
        notes.append(_orientation_note(sorted(assumed)))
    ignored = [name for name in LAYOUTS if available[name] and name != chosen]
    if ignored:
        notes.append(f"labels are read from {chosen}; files of other layouts are not used: {', '.join(ignored)}")
    ordered = tuple(sorted(pages, key=lambda page: page.name))
    check_distinct(sorted({box.label for page in ordered for box in page.boxes}), "labels")
    if not any(page.boxes for page in ordered):
        raise DatasetError(f"{folder}: no label file has a box ({chosen}, {len(ordered)} images); expected objects")
    return RawDataset(pages=ordered, layout=chosen, labels=label_map, left_out=left_out, notes=tuple(notes))


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


class _Images:
    """The images of a data set, found by the names that label files use."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._by_base: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            self._by_base[PurePosixPath(name).name].append(name)
            self._by_base[PurePosixPath(name).stem].append(name)

    def find(self, url: str, where: str, *, beside: str) -> str:
        """Return the image that a label file names by path, address or base name.

        Raises:
            DatasetError: there is none, or several could be meant.
        """
        path = url.replace("\\", "/")
        folder = PurePosixPath(beside).parent
        for name in (str(folder / path), path.removeprefix("./")):
            if name in self._names:
                return name
        found = self._by_base.get(PurePosixPath(path).name, [])
        ranked = sorted(found, key=lambda name: -_shared_parts(name, path))
        best = [name for name in found if _shared_parts(name, path) == _shared_parts(ranked[0], path)] if found else []
        if len(best) > 1:
            near = [name for name in best if PurePosixPath(name).parent == folder]
            best = near or best
        if not best:
            hint = did_you_mean(PurePosixPath(path).name, [PurePosixPath(name).name for name in self._names])
            raise DatasetError(
                f"{where}: no image '{url}' in the data set{hint}; expected the name of one of its files"
            )
        if len(best) > 1:
            raise DatasetError(f"{where}: '{url}' may be {_listed(best)}; expected a path that is unique")
        return best[0]


def _shared_parts(name: str, path: str) -> int:
    """Return how many components of two paths agree, from the end."""
    pairs = zip(reversed(PurePosixPath(name).parts), reversed(PurePosixPath(path).parts), strict=False)
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count


def _page(folder: Path, name: str, labels: RawLabels, label_map: LabelMap) -> tuple[Page, bool]:
    """Return a page, and whether its boxes were taken as displayed although the stored picture could be meant."""
    (width, height), orientation = size_and_orientation(folder / name)
    turn = 0
    has_size = labels.width is not None and labels.height is not None
    if has_size and (labels.width, labels.height) != (width, height):
        turn = orientation
        if turn not in _TURNS or (labels.height, labels.width) != (width, height):
            raise DatasetError(
                f"{labels.where}: {name} has {width} x {height} pixels; the label says {labels.width} x {labels.height}"
            )
    stored = (height, width) if turn else (width, height)
    boxes = (_fractional(box, stored) if labels.in_pixels else box for box in labels.boxes)
    turned = (_turned(box, turn) for box in boxes)
    checked = tuple(checked_box(box, labels.where) for box in turned)
    for box in checked:
        label_map.check(box.label, labels.where)
    is_known = orientation == 1 or (orientation in _TURNS and has_size and width != height)
    return Page(name=name, width=width, height=height, boxes=checked), bool(checked) and not is_known


def _empty_page(folder: Path, name: str) -> Page:
    width, height = image_size(folder / name)
    return Page(name=name, width=width, height=height, boxes=())


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


def _orientation_note(names: Sequence[str]) -> str:
    return (
        f"{len(names)} images are mirrored or turned by their EXIF orientation, and their labels do not tell whether "
        f"boxes are in the stored or the displayed image; they are taken as in the displayed one: {_listed(names)}"
    )


def _zip_hint(files: Sequence[str]) -> str:
    archives = [name for name in files if name.lower().endswith((".zip", ".tar", ".gz"))]
    return f"; unpack {archives[0]} first" if archives else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
