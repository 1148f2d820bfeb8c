"""GTSRB as its publisher distributes it: tables with classes and regions of interest beside the images.

``Final_Training/Images/00000/GT-00000.csv`` per class, and ``Final_Test/Images`` with ``GT-final_test.csv`` beside the
images or anywhere above.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from mlops_core import DatasetError
from mlops_image_classification.data.files import folders_in
from mlops_image_classification.data.labelled import TEST, TRAIN, Picture, Region, group_of, listed
from mlops_image_classification.data.tracks import track_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlops_image_classification.data.files import ImageFiles

_TRAINING, _TEST = "Final_Training/Images", "Final_Test/Images"
_COLUMNS = ("Filename", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")


def gtsrb_root(dataset: Path) -> Path | None:
    """Return the folder that holds the official archives, or None if `dataset` has another layout."""
    for root in (dataset, dataset / "GTSRB"):
        if (root / _TRAINING).is_dir():
            return root
    return None


def gtsrb_pictures(dataset: Path, root: Path, files: ImageFiles, *, pattern: str | None) -> Iterator[Picture]:
    """Yield the pictures that the tables list.

    Raises:
        DatasetError: a table is missing, has a wrong row, or lists a file twice or one that does not exist.
    """
    images = frozenset(files.images)
    for folder in folders_in(root / _TRAINING):
        table = folder / f"GT-{folder.name}.csv"
        part = TRAIN if (root / _TEST).is_dir() else ""
        yield from _table(dataset, folder, _required(table), images, part=part, pattern=pattern)
    test = root / _TEST
    if test.is_dir():
        tables = [folder / "GT-final_test.csv" for folder in (test, test.parent, root, dataset)]
        table = next((path for path in tables if path.is_file()), tables[0])
        yield from _table(dataset, test, _required(table), images, part=TEST, pattern=None)


def _required(table: Path) -> Path:
    if not table.is_file():
        raise DatasetError(
            f"{table} is missing; expected the table with the classes and regions of the images beside it"
        )
    return table


def _table(
    dataset: Path, folder: Path, table: Path, images: frozenset[str], *, part: str, pattern: str | None
) -> Iterator[Picture]:
    place = folder.relative_to(dataset).as_posix()
    missing = []
    names: set[str] = set()
    for number, row in _rows(table):
        try:
            label = f"{int(row['ClassId']):05d}"
            corners = (int(row[column]) for column in _COLUMNS[1:5])
            region = Region(**dict(zip(("left", "top", "right", "bottom"), corners, strict=True)))
            name = f"{place}/{row['Filename']}"
        except (ValueError, TypeError):
            raise DatasetError(f"{table} (line {number}): {row}; expected {', '.join(_COLUMNS)}") from None
        if name in names:
            raise DatasetError(f"{table} (line {number}): '{row['Filename']}' is listed twice; expected once")
        names.add(name)
        if name not in images:
            missing.append(row["Filename"])
            continue
        track = None if pattern is None else track_in(row["Filename"], pattern) or ""
        yield Picture(name=name, label=label, group=group_of(name, label, track), track=track, part=part, region=region)
    if missing:
        raise DatasetError(f"{table} lists {len(missing)} file(s) that are not in {folder}: {listed(missing)}")


def _rows(table: Path) -> Iterable[tuple[int, dict[str, str]]]:
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, delimiter=";")
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise DatasetError(f"{table} lacks the column(s) {', '.join(missing)}; it has {reader.fieldnames}")
        return list(enumerate(reader, 2))
