"""Pictures and their labels: the image files of a data set in one of these layouts.

* the official GTSRB archives: ``Final_Training/Images/00000/GT-00000.csv`` with regions of interest, and
  ``Final_Test/Images`` with ``GT-final_test.csv`` beside the images or anywhere above;
* class folders within one folder per part, ``train``/``test`` or ``seg_train``/``seg_test``, with or without a
  validation folder; some archives have them one level deeper under the same name;
* class folders alone, without parts.

No file is decoded here.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core import ConfigError, DatasetError, did_you_mean

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mlops_image_classification.config import DatasetSection

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)
SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
_PART_FOLDERS = {
    TRAIN: ("train", "training", "seg_train"),
    VALIDATION: ("val", "valid", "validation", "seg_val"),
    TEST: ("test", "testing", "seg_test"),
}
_GTSRB_TRAINING, _GTSRB_TEST = "Final_Training/Images", "Final_Test/Images"
_GTSRB_COLUMNS = ("Filename", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The part of a picture that shows the sign, in pixels, both corners included."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One labelled image file.

    Attributes:
        number: its position among all pictures of the data set, ordered by name.
        name: path below the data set, with forward slashes; unique.
        label: class.
        group: track, or the name of the picture; a group belongs to one part of the split.
        part: ``train``, ``validation`` or ``test`` where the data set assigns it; else empty.
        region: region of the sign; None for the whole picture.
    """

    number: int = 0
    name: str
    label: str
    group: str
    part: str = ""
    region: Region | None = None


def read_pictures(dataset: Path, settings: DatasetSection, log: logging.Logger) -> list[Picture]:
    """Return the labelled pictures of a data set, in the order of their names.

    Raises:
        ConfigError: ``dataset.class_names`` has a class without pictures.
        DatasetError: the layout is unknown, a class folder is empty, a file that a table lists is missing, or fewer
            than two classes are left; folder or file are named.
    """
    pictures = _chosen(sorted(_labelled(dataset, settings), key=lambda picture: picture.name), settings)
    classes = {picture.label for picture in pictures}
    if len(classes) < 2:
        raise DatasetError(f"{dataset}: {len(classes)} class(es) ({listed(sorted(classes))}); expected at least 2")
    counts = Counter(picture.part or "not assigned" for picture in pictures)
    log.info("%d pictures of %d classes; parts of the data set: %s", len(pictures), len(classes), dict(counts))
    return [replace(picture, number=number) for number, picture in enumerate(pictures)]


def listed(names: Sequence[str], *, separator: str = ", ") -> str:
    """Return the first few of `names` as one text, and the number of the others."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return separator.join(names[:_SHOWN]) + more


def _labelled(dataset: Path, settings: DatasetSection) -> Iterator[Picture]:
    if not dataset.is_dir():
        raise DatasetError(f"{dataset} is not a folder; expected one with a folder of images per class")
    gtsrb = _gtsrb_root(dataset)
    if gtsrb is not None:
        return _gtsrb(dataset, gtsrb, settings)
    parts = _part_folders(dataset)
    if TRAIN in parts or TEST in parts:
        return _in_parts(dataset, parts, settings)
    return _class_folders(dataset, dataset, part="", settings=settings)


def _chosen(pictures: list[Picture], settings: DatasetSection) -> list[Picture]:
    if settings.class_names is None:
        return pictures
    classes = {picture.label for picture in pictures}
    for name in settings.class_names:
        if name not in classes:
            raise ConfigError(f"dataset.class_names: no picture has the class '{name}'{did_you_mean(name, classes)}")
    return [picture for picture in pictures if picture.label in settings.class_names]


# --- Folders of class folders -----------------------------------------------------------------------------


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _part_folders(dataset: Path) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for path in _folders(dataset):
        for part, names in _PART_FOLDERS.items():
            if path.name.lower() in names:
                if part in folders:
                    raise DatasetError(f"{dataset} has two folders for {part}: {folders[part].name} and {path.name}")
                inner = path / path.name  # some archives repeat the name
                folders[part] = inner if inner.is_dir() else path
    return folders


def _in_parts(dataset: Path, parts: dict[str, Path], settings: DatasetSection) -> Iterator[Picture]:
    if TRAIN not in parts:
        raise DatasetError(
            f"{dataset} has {parts[TEST].name}, but no folder for training ({', '.join(_PART_FOLDERS[TRAIN])})"
        )
    for part, folder in parts.items():
        yield from _class_folders(dataset, folder, part=part, settings=settings)


def _class_folders(dataset: Path, folder: Path, *, part: str, settings: DatasetSection) -> Iterator[Picture]:
    classes = _folders(folder)
    if not classes:
        raise DatasetError(
            f"{folder} has no class folders; expected one folder of images per class, or the layout of GTSRB"
        )
    for path in classes:
        files = list(_images(path))
        if not files:
            raise DatasetError(f"the class folder {path} is empty; expected images ({', '.join(sorted(SUFFIXES))})")
        for file in files:
            yield Picture(
                name=_name(file, dataset),
                label=path.name,
                group=_group(file, dataset, label=path.name, settings=settings),
                part=part,
            )


def _images(folder: Path) -> Iterator[Path]:
    """Yield the image files below `folder`, at any depth, without hidden files."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def _name(file: Path, dataset: Path) -> str:
    name = file.relative_to(dataset).as_posix()
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DatasetError(f"the file name {name!r} is not UTF-8; rename it") from None
    return name


def _group(file: Path, dataset: Path, *, label: str, settings: DatasetSection) -> str:
    """Return the track within its class, the same in all parts; without a track, the name of the picture."""
    match = re.search(settings.group_pattern, file.name) if settings.group_pattern else None
    return f"{label}/{match[1]}" if match else _name(file, dataset)


# --- GTSRB as published -----------------------------------------------------------------------------


def _gtsrb_root(dataset: Path) -> Path | None:
    for root in (dataset, dataset / "GTSRB"):
        if (root / _GTSRB_TRAINING).is_dir():
            return root
    return None


def _gtsrb(dataset: Path, root: Path, settings: DatasetSection) -> Iterator[Picture]:
    for folder in _folders(root / _GTSRB_TRAINING):
        table = folder / f"GT-{folder.name}.csv"
        part = TRAIN if (root / _GTSRB_TEST).is_dir() else ""
        yield from _gtsrb_table(dataset, folder, _required(table), part=part, settings=settings)
    test = root / _GTSRB_TEST
    if test.is_dir():
        tables = [folder / "GT-final_test.csv" for folder in (test, test.parent, root, dataset)]
        table = next((path for path in tables if path.is_file()), tables[0])
        yield from _gtsrb_table(dataset, test, _required(table), part=TEST, settings=settings)


def _required(table: Path) -> Path:
    if not table.is_file():
        raise DatasetError(
            f"{table} is missing; expected the table with the classes and regions of the images beside it"
        )
    return table


def _gtsrb_table(dataset: Path, folder: Path, table: Path, *, part: str, settings: DatasetSection) -> Iterator[Picture]:
    files = {path.name for path in folder.iterdir()}
    missing = []
    for number, row in _rows(table):
        try:
            label = f"{int(row['ClassId']):05d}"
            corners = (int(row[column]) for column in _GTSRB_COLUMNS[1:5])
            region = Region(**dict(zip(("left", "top", "right", "bottom"), corners, strict=True)))
            file = folder / row["Filename"]
        except (ValueError, TypeError):
            raise DatasetError(f"{table} (line {number}): {row}; expected {', '.join(_GTSRB_COLUMNS)}") from None
        if file.name not in files:
            missing.append(file.name)
            continue
        group = _name(file, dataset) if part == TEST else _group(file, dataset, label=label, settings=settings)
        yield Picture(name=_name(file, dataset), label=label, group=group, part=part, region=region)
    if missing:
        raise DatasetError(f"{table} lists {len(missing)} file(s) that are not in {folder}: {listed(missing)}")


def _rows(table: Path) -> Iterable[tuple[int, dict[str, str]]]:
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, delimiter=";")
        missing = [column for column in _GTSRB_COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise DatasetError(f"{table} lacks the column(s) {', '.join(missing)}; it has {reader.fieldnames}")
        return list(enumerate(reader, 2))
