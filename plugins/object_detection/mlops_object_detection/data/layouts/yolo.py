"""YOLO text labels: per image a file of lines ``class x y width height``, centre and size as fractions."""

from __future__ import annotations

import codecs
import reprlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_core import DatasetError
from mlops_object_detection.data.images import IMAGE_SUFFIXES
from mlops_object_detection.data.labels import NAME_FILES
from mlops_object_detection.data.layouts.raw_labels import RawLabels, number_of
from mlops_object_detection.data.pages import Box

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from mlops_object_detection.data.labels import LabelMap

_COLUMNS = 5
_START = 1 << 16


def label_files(folder: Path, files: Sequence[str]) -> list[str]:
    """Return the text files that are labels of an image, or look like them.

    A file belongs to an image of the same name beside it, or in ``images`` for ``labels``. Another one of lines like
    those of labels, in ``labels`` or beside images, is returned as well: its image is missing, an error of `read_raw`.
    """
    stems, folders = set(), set()
    for name in files:
        path = PurePosixPath(name)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            stems.add(str(path.with_suffix("")))
            stems.add(str(_labels_path(path).with_suffix("")))
            folders.add(path.parent)
    return [
        name
        for name in files
        if name.lower().endswith(".txt")
        and PurePosixPath(name).name not in NAME_FILES
        and (str(PurePosixPath(name).with_suffix("")) in stems or _is_lost(folder, PurePosixPath(name), folders))
    ]


def _is_lost(folder: Path, path: PurePosixPath, folders: Collection[PurePosixPath]) -> bool:
    """Return whether a text file without an image is where labels are, and each of its first lines is one."""
    if "labels" not in (part.lower() for part in path.parts[:-1]) and path.parent not in folders:
        return False
    try:
        with (folder / path).open("rb") as stream:
            content = stream.read(_START)
    except OSError:
        return False
    lines = [line.split() for line in content.removeprefix(codecs.BOM_UTF8).splitlines()]
    if len(content) == _START:
        lines = lines[:-1]
    rows = [cells for cells in lines if cells]
    return bool(rows) and all(len(cells) == _COLUMNS and _is_label(cells) for cells in rows)


def _is_label(cells: Sequence[bytes]) -> bool:
    try:
        int(cells[0])
        tuple(map(float, cells[1:]))
    except ValueError:
        return False
    return True


def _labels_path(path: PurePosixPath) -> PurePosixPath:
    """Return where the label file of an image is in the layout with the folders ``images`` and ``labels``."""
    parts = list(path.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index].lower() == "images":
            parts[index] = "labels"
            break
    return PurePosixPath(*parts)


def read(folder: Path, files: Sequence[str], labels: LabelMap) -> Iterator[RawLabels]:
    """Yield the boxes of each file.

    Raises:
        DatasetError: a line is not valid, or a class has no name; file and line are named.
    """
    for file in files:
        try:
            lines = (folder / file).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(
                f"{file} cannot be read: {error}; expected lines of class, x, y, width, height"
            ) from error
        rows = [(line.split(), f"{file} (line {number})") for number, line in enumerate(lines, 1) if line.strip()]
        path = PurePosixPath(file)
        parts = ["images" if part.lower() == "labels" else part for part in path.with_suffix("").parts]
        yield RawLabels(
            image=str(PurePosixPath(*parts)),
            beside=file,
            width=None,
            height=None,
            boxes=tuple(_box(cells, labels, where) for cells, where in rows),
            in_pixels=False,
            where=file,
            places=tuple(where for _, where in rows),
        )


def _box(cells: Sequence[str], labels: LabelMap, where: str) -> Box:
    if len(cells) != _COLUMNS:
        kind = "; polygons and scores are not supported" if len(cells) > _COLUMNS else ""
        raise DatasetError(f"{where}: {len(cells)} columns; expected class, x, y, width, height{kind}")
    try:
        number_of(cells[0])  # stricter than int
        number = int(cells[0])
        x, y, width, height = map(number_of, cells[1:])
    except ValueError:
        shown = reprlib.repr(" ".join(cells))
        raise DatasetError(f"{where}: {shown}; expected a whole number and four fractions") from None
    return Box(
        label=labels.name_of(number + 1, where),
        left=x - width / 2,
        top=y - height / 2,
        right=x + width / 2,
        bottom=y + height / 2,
    )
