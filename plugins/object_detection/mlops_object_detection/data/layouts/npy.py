"""Labels as numpy arrays: ``N_symbols.npy`` (or ``.npz``) for the image ``N.jpg``, rows of name, box and class number.

The arrays of the original data set hold Python objects and so are pickles, which can run any code when they are loaded.
They are read as plain values, without building anything that a pickle describes.
"""

from __future__ import annotations

import io
import math
import pickle
import reprlib
import struct
import tokenize
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy_format

from mlops_core import DatasetError
from mlops_object_detection.data.layouts.array_pickles import plain_values, rows_of_pickle
from mlops_object_detection.data.layouts.raw_labels import RawLabels, number_of
from mlops_object_detection.data.pages import Box

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_object_detection.data.labels import LabelMap

_SUFFIXES = ("symbols.npy", "symbols.npz")
_LIMIT = 64 << 20
_DAMAGES = (
    *(ArithmeticError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OSError, RecursionError),
    *(SyntaxError, TypeError, ValueError, pickle.UnpicklingError, struct.error, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading a damaged array raises: numpy parses the header as Python source."""
_PLAIN_KINDS = "biufUS"
_MOST_CORNERS = 4


def is_label_file(name: str) -> bool:
    """Return whether a file is one of these labels, by its name."""
    return name.lower().endswith(_SUFFIXES)


def read(folder: Path, files: Sequence[str], labels: LabelMap) -> Iterator[RawLabels]:
    """Yield the boxes of each file.

    Raises:
        DatasetError: a file is damaged, holds other objects than values, or a row is not valid; file and row are named.
    """
    for file in files:
        stem = PurePosixPath(file).name.rpartition("symbols.")[0].rstrip("_-")
        rows = _rows(folder / file, file)
        places = tuple(f"{file} (row {number})" for number in range(1, len(rows) + 1))
        yield RawLabels(
            image=stem,
            beside=file,
            width=None,
            height=None,
            boxes=tuple(_box(row, labels, where) for row, where in zip(rows, places, strict=True)),
            in_pixels=True,
            where=file,
            places=places,
        )


def _box(row: Any, labels: LabelMap, where: str) -> Box:
    cells = row if isinstance(row, list) else []
    corners = _flat(cells[1]) if len(cells) == 3 and isinstance(cells[1], list) else []
    if len(cells) in (5, 6) and not corners:  # numeric: [number,] left, top, right, bottom, class
        corners, cells = cells[-5:-1], [None, None, cells[-1]]
    try:
        left, top, right, bottom = (number_of(str(value)) for value in corners)
        number = _class_number(cells[2])
    except (TypeError, ValueError, IndexError, OverflowError):
        shown = reprlib.repr(row)
        raise DatasetError(f"{where}: {shown:.120}; expected a name, [left, top, right, bottom] and a class") from None
    return Box(label=labels.name_of(number, where), left=left, top=top, right=right, bottom=bottom)


def _flat(values: Sequence[Any]) -> list[Any]:
    """Return four corners, also of two points."""
    flat: list[Any] = []
    for value in values[: _MOST_CORNERS + 1]:
        flat += value if isinstance(value, list) else [value]
    return flat


def _class_number(value: Any) -> int:
    number = number_of(str(value))
    if not number.is_integer():
        raise ValueError
    return int(number)


def _rows(path: Path, shown: str) -> list[Any]:
    try:
        if path.stat().st_size > _LIMIT:
            raise DatasetError(f"{shown} is larger than {_LIMIT:,} bytes; expected the labels of one image")
        if shown.lower().endswith(".npz"):
            return _from_zip(path, shown)
        return _from_bytes(path.read_bytes(), shown)
    except _DAMAGES as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"{shown} cannot be read: {cause}; expected a numpy array of rows") from None


def _from_zip(path: Path, shown: str) -> list[Any]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) != 1 or members[0].file_size > _LIMIT:
            raise DatasetError(f"{shown} holds {len(members)} arrays; expected one, of at most {_LIMIT:,} bytes")
        with archive.open(members[0]) as stream:
            return _from_bytes(stream.read(_LIMIT), shown)


def _from_bytes(content: bytes, shown: str) -> list[Any]:
    stream = io.BytesIO(content)
    version = npy_format.read_magic(stream)
    reader = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = reader(stream)
    if dtype == np.dtype(object):
        return rows_of_pickle(content[stream.tell() :], shape)
    if dtype.kind not in _PLAIN_KINDS or not dtype.itemsize:
        raise DatasetError(f"{shown} has items of the type {str(dtype)[:60]}; expected numbers, texts or objects")
    if not 1 <= len(shape) <= 2 or (shape[0] and not math.prod(shape)):
        raise DatasetError(f"{shown} has the shape {shape}; expected rows")
    if math.prod(shape) * dtype.itemsize > len(content):
        raise DatasetError(f"{shown} is shorter than its header announces")
    return plain_values(np.load(io.BytesIO(content), allow_pickle=False))  # type: ignore[no-any-return]
