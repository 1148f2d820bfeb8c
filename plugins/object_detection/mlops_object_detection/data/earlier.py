"""The parts of an earlier split: which image of the data set each line of its annotation files means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core import DatasetError, earlier_part
from mlops_object_detection.data.image_names import ImageNames
from mlops_object_detection.data.layouts.raw_labels import RawLabels
from mlops_object_detection.data.pages import ANNOTATIONS_FILE, read_annotations
from mlops_object_detection.data.splitting import TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_object_detection.data.pages import Annotation, Page

PARTS = {"train": TRAIN, "val": VALIDATION, "test": TEST}
"""Part as data assets have it -> part of a split."""
_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierParts:
    """An earlier split of a data set.

    Attributes:
        parts: name of a page -> part.
        has_test: whether it names its test part.
        changed: pages whose boxes are not those of the earlier split.
    """

    parts: Mapping[str, str]
    has_test: bool
    changed: tuple[str, ...]


def read_earlier(dataset: Path, pages: Sequence[Page]) -> EarlierParts:
    """Return the earlier split that was joined to a data set.

    Args:
        dataset: the data set, to which the earlier split was joined.
        pages: of the data set.

    Raises:
        DatasetError: a part has no annotation file, or a line of it is not valid, names no image of the data set, or
            one that another line named.
    """
    images = ImageNames([page.name for page in pages])
    by_name = {page.name: page for page in pages}
    parts: dict[str, str] = {}
    places: dict[str, str] = {}
    changed = []
    for asset, part in PARTS.items():
        folder = earlier_part(dataset, asset)
        if folder is None:
            continue
        shown = f"earlier split, part '{asset}', {ANNOTATIONS_FILE}"
        if not (folder / ANNOTATIONS_FILE).is_file():
            raise DatasetError(
                f"{shown}: no such file in its data asset; expected an output 'split.{asset}' of an earlier run, or a "
                "folder like it"
            )
        for line in read_annotations(folder / ANNOTATIONS_FILE, shown=shown):
            name = _image(line, images)
            if name in parts:
                raise DatasetError(f"{line.where}: {name} is in {places[name]} as well; expected each image once")
            parts[name], places[name] = part, line.where
            if _boxes(line) != _boxes(by_name[name]):
                changed.append(name)
    return EarlierParts(parts=parts, has_test=earlier_part(dataset, "test") is not None, changed=tuple(changed))


def _image(line: Annotation, images: ImageNames) -> str:
    labels = RawLabels(image=line.url, beside="", width=None, height=None, boxes=(), in_pixels=False, where=line.where)
    return images.find(labels)[0]


def _boxes(labels: Annotation | Page) -> list[tuple[object, ...]]:
    return sorted((box.label, box.is_crowd, *(round(value, _DIGITS) for value in box.corners)) for box in labels.boxes)
