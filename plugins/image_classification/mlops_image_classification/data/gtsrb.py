"""GTSRB with its tables of classes and regions of interest.

* As its publisher distributes it: ``Final_Training/Images/00000/GT-00000.csv`` per class, and ``Final_Test/Images``
  with ``GT-final_test.csv`` beside the images or anywhere above.
* As it is often copied: ``Train.csv`` and ``Test.csv``, which name the files by their path, such as
  ``Train/0/00000_00000_00012.png`` and ``Test/00000.png``.

The classes have five digits in both.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core import DatasetError
from mlops_image_classification.data.files import folders_in
from mlops_image_classification.data.labelled import TEST, TRAIN, Picture, Region, group_of, listed
from mlops_image_classification.data.tracks import track_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mlops_image_classification.data.files import ImageFiles

_LONGEST_HEADER = 1 << 16
_TRAINING, _TEST = "Final_Training/Images", "Final_Test/Images"
_COLUMNS = ("Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")
_OFFICIAL_TABLE = re.compile(r"GT-(?:\d+|final_test)\.csv")
_TABLES = {TRAIN: "Train.csv", TEST: "Test.csv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """How a table separates its cells, and its column with the file."""

    delimiter: str
    file: str


_OFFICIAL = _Format(delimiter=";", file="Filename")
_COPIED = _Format(delimiter=",", file="Path")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table of pictures: its file, the folder of its images, their part, and the pattern of their tracks."""

    path: Path
    folder: Path
    part: str
    pattern: str | None = None
    layout: _Format = _OFFICIAL


def gtsrb_root(dataset: Path) -> Path | None:
    """Return the folder that holds the official archives, or None if `dataset` has another layout."""
    for root in (dataset, dataset / "GTSRB"):
        if (root / _TRAINING).is_dir():
            return root
    return None


def has_path_tables(dataset: Path) -> bool:
    """Return whether `dataset` has the two tables that name files by their path."""
    tables = [dataset / name for name in _TABLES.values()]
    return all(table.is_file() and _COPIED.file in _header(table, _COPIED) for table in tables)


def without_tables(dataset: Path, others: Iterable[str]) -> tuple[str, ...]:
    """Return the files that are not pictures without the tables that are read, in the layouts with tables."""
    if gtsrb_root(dataset) is not None:
        return tuple(path for path in others if not _OFFICIAL_TABLE.fullmatch(path.rpartition("/")[2]))
    tables = set(_TABLES.values()) if has_path_tables(dataset) else set()
    return tuple(path for path in others if path not in tables)


def pictures_by_path(dataset: Path, files: ImageFiles, *, pattern: str | None) -> Iterator[Picture]:
    """Yield the pictures that the tables with paths list.

    Raises:
        DatasetError: a table has a wrong row, or lists a file twice or one that does not exist.
    """
    images = frozenset(files.images)
    for part, name in _TABLES.items():
        table = _Table(
            path=dataset / name,
            folder=dataset,
            part=part,
            pattern=pattern if part == TRAIN else None,
            layout=_COPIED,
        )
        yield from _listed_pictures(dataset, table, images)


def gtsrb_pictures(dataset: Path, root: Path, files: ImageFiles, *, pattern: str | None) -> Iterator[Picture]:
    """Yield the pictures that the tables list.

    Raises:
        DatasetError: a table is missing, has a wrong row, or lists a file twice or one that does not exist.
    """
    images = frozenset(files.images)
    for folder in folders_in(root / _TRAINING):
        path = _required(folder / f"GT-{folder.name}.csv")
        part = TRAIN if (root / _TEST).is_dir() else ""
        yield from _listed_pictures(dataset, _Table(path=path, folder=folder, part=part, pattern=pattern), images)
    test = root / _TEST
    if test.is_dir():
        tables = [folder / "GT-final_test.csv" for folder in (test, test.parent, root, dataset)]
        path = _required(next((path for path in tables if path.is_file()), tables[0]))
        yield from _listed_pictures(dataset, _Table(path=path, folder=test, part=TEST), images)


def _required(table: Path) -> Path:
    if not table.is_file():
        raise DatasetError(
            f"{table} is missing; expected the table with the classes and regions of the images beside it"
        )
    return table


def _listed_pictures(dataset: Path, table: _Table, images: frozenset[str]) -> Iterator[Picture]:
    place = f"{table.folder.relative_to(dataset).as_posix()}/" if table.folder != dataset else ""
    missing = []
    names: set[str] = set()
    for number, row in _rows(table.path, table.layout):
        try:
            label = f"{int(row['ClassId']):05d}"
            corners = (int(row[column]) for column in _COLUMNS[:4])
            region = Region(**dict(zip(("left", "top", "right", "bottom"), corners, strict=True)))
            file = row[table.layout.file].replace("\\", "/")
        except (ValueError, TypeError, AttributeError):
            raise DatasetError(f"{table.path} (line {number}): {row}; expected {', '.join(_COLUMNS)}") from None
        name = f"{place}{file}"
        if name in names:
            raise DatasetError(f"{table.path} (line {number}): '{file}' is listed twice; expected once")
        names.add(name)
        if name not in images:
            missing.append(file)
            continue
        track = None if table.pattern is None else track_in(file.rpartition("/")[2], table.pattern) or ""
        group = group_of(name, label, track)
        yield Picture(name=name, label=label, group=group, track=track, part=table.part, region=region)
    if missing:
        raise DatasetError(
            f"{table.path} lists {len(missing)} file(s) that are not in {table.folder}: {listed(missing)}"
        )


def _header(table: Path, layout: _Format) -> Sequence[str]:
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        first = stream.readline(_LONGEST_HEADER)
    try:
        return next(csv.reader([first], delimiter=layout.delimiter), [])
    except csv.Error:
        return []  # not a table


def _rows(table: Path, layout: _Format) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter=layout.delimiter)
            columns = (layout.file, *_COLUMNS)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            repeated = sorted({name for name in columns if (reader.fieldnames or ()).count(name) > 1})
            if repeated:
                raise DatasetError(f"{table}: the column(s) {', '.join(repeated)} appear more than once; expected once")
            if missing:
                raise DatasetError(f"{table} lacks the column(s) {', '.join(missing)}; it has {reader.fieldnames}")
            return list(enumerate(reader, 2))
    except (UnicodeError, csv.Error) as error:
        raise DatasetError(f"{table} cannot be read: {error}; expected a table in UTF-8") from None
