"""Faults of a model's file that show without a framework: it is something else, or its end is missing.

A download often leaves a pointer of Git LFS, a web page or a part of the file. They are found before a run starts.
"""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_aed.models.model_folder import METADATA_FILE
from mlops_aed.models.onnx_checks import external_data_fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_HEADER_BYTES = 44
"""Size of the shortest superblock, that of version 3 with addresses of 8 bytes, less its checksum."""
_ZIP = b"PK\x03\x04"
_START_BYTES = 512
_RATIO_LIMIT = 200
_FREE_BYTES = 64 << 20


def fault_of(path: Path) -> str:
    """Return what is wrong with the file or folder of a model; empty if nothing shows."""
    if path.is_dir():
        return _fault_of_folder(path)
    if not path.is_file():
        return "is not a regular file"
    with path.open("rb") as stream:
        start = stream.read(_START_BYTES)
    if not start:
        return "is empty"
    if start.startswith(_LFS):
        return "is a pointer of Git LFS, not the model; get the content with: git lfs pull"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        return "is a web page, not the model; download the file itself (on GitHub: Download raw file)"
    suffix = PurePosixPath(path.name).suffix.lower()
    check = {".h5": _hdf5, ".keras": _keras, ".tflite": _tflite, ".onnx": _onnx, ".gz": _archive, **_OF_FOLDER}.get(
        suffix
    )
    return check(path, start) if check else ""


def _fault_of_folder(folder: Path) -> str:
    if not (folder / METADATA_FILE).is_file():
        return "is not an exported model; expected a file, or a folder written by mlops models export"
    files = (
        item for item in sorted(folder.iterdir()) if item.suffix in {".h5", ".keras", ".tflite", ".onnx", *_OF_FOLDER}
    )
    faults = ((item.name, fault_of(item)) for item in files)
    return next((f"holds {name}, which {fault}" for name, fault in faults if fault), "")


def _json(path: Path, _: bytes) -> str:
    try:
        json.loads(path.read_bytes())
    except ValueError:  # also bytes that are not text
        return "is not JSON; export the model again"
    return ""


def _npz(path: Path, start: bytes) -> str:
    if not start.startswith(_ZIP):
        return "is not an archive of weights; export the model again"
    return "" if zipfile.is_zipfile(path) else "is cut off: the archive has no end; export the model again"


_OF_FOLDER = {".json": _json, ".npz": _npz}
"""Suffix of the further files of an exported model -> check."""


def _cut(actual: int, expected: int) -> str:
    return f"is cut off: it has {actual:,} of {expected:,} bytes; download it again"


def _hdf5(path: Path, start: bytes) -> str:
    if not start.startswith(_HDF5):
        return "is not an HDF5 file; expected a model saved by Keras as .h5"
    if len(start) < _HDF5_HEADER_BYTES:
        return f"is cut off: it has {len(start)} bytes; download it again"
    version = start[8]
    offset_bytes = start[13] if version < 2 else start[9]
    place = {0: 24, 1: 28}.get(version, 12) + 2 * offset_bytes  # after two other addresses
    expected = int.from_bytes(start[place : place + offset_bytes], "little")
    actual = path.stat().st_size
    return _cut(actual, expected) if actual < expected else ""


def _keras(path: Path, start: bytes) -> str:
    if start.startswith(_HDF5):
        return "is an HDF5 file; call it .h5"
    if not start.startswith(_ZIP):
        return "is not an archive of Keras; expected a model saved as .keras"
    if not zipfile.is_zipfile(path):
        return "is cut off: the archive has no end; download it again"
    try:
        with zipfile.ZipFile(path) as archive:
            lacking = {"config.json", "model.weights.h5"} - set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        return f"is damaged: {error}; download it again"
    return f"lacks {', '.join(sorted(lacking))}; expected a model saved by Keras as .keras" if lacking else ""


def _tflite(path: Path, start: bytes) -> str:
    if start[4:8] != b"TFL3":
        return "is not a TensorFlow Lite model"
    content = path.read_bytes()
    try:
        whole = all(end <= len(content) for end in _ends_of_tflite(content))
    except (struct.error, IndexError):
        whole = False
    return "" if whole else "is cut off: parts of the model are missing; download it again"


def _ends_of_tflite(content: bytes) -> Iterator[int]:
    """Yield the ends of buffers, operator codes, tensors and operators; a missing part raises `struct.error`."""
    model = _number(content, 0)
    for number in (1, 4):  # operator codes, buffers
        for table in _tables(content, _field(content, model, number)):
            yield _end(content, table)
            data = _field(content, table, 0) if number == 4 else None
            if data is not None:
                yield data + 4 + _number(content, data)
    for graph in _tables(content, _field(content, model, 2)):
        yield _end(content, graph)
        for number in (0, 3):  # tensors, operators
            for table in _tables(content, _field(content, graph, number)):
                yield _end(content, table)


def _end(content: bytes, table: int) -> int:
    """Return the end of a table of FlatBuffers and of its list of fields, whichever is later."""
    entries = table - int(struct.unpack_from("<i", content, table)[0])
    size, own = struct.unpack_from("<HH", content, entries)
    return max(entries + int(size), table + int(own))


def _number(content: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", content, place)[0])


def _field(content: bytes, table: int, number: int) -> int | None:
    """Return the place of a vector or table that a field of a FlatBuffers table refers to; None if it is not set."""
    entries = table - struct.unpack_from("<i", content, table)[0]
    (size,) = struct.unpack_from("<H", content, entries)
    entry = 4 + 2 * number
    (offset,) = struct.unpack_from("<H", content, entries + entry) if entry < size else (0,)
    return table + offset + _number(content, table + offset) if offset else None


def _tables(content: bytes, vector: int | None) -> Iterator[int]:
    if vector is None:
        return
    for place in range(vector + 4, vector + 4 + 4 * _number(content, vector), 4):
        yield place + _number(content, place)


def _onnx(path: Path, _: bytes) -> str:
    """Walk over the fields of the outermost message, which hold their lengths."""
    size = path.stat().st_size
    place, fields = 0, 0
    with path.open("rb") as stream:
        while place < size:
            stream.seek(place)
            head = stream.read(20)
            tag, used = _varint(head)
            kind = tag & 7
            if kind == 0:
                used += _varint(head[used:])[1]
            elif kind == 2:
                length, more = _varint(head[used:])
                used += more + length
            else:
                used += {1: 8, 5: 4}.get(kind, size)
            place, fields = place + used, fields + 1
            if not 1 <= tag >> 3 <= 100 or kind not in {0, 1, 2, 5}:
                return "is not an ONNX model" if fields == 1 else "is damaged; download it again"
    if place > size:
        return _cut(size, place)
    return external_data_fault(path)


def _varint(content: bytes) -> tuple[int, int]:
    value = 0
    for position, byte in enumerate(content[:10]):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, position + 1
    return value, 10


def _archive(path: Path, start: bytes) -> str:
    if not start.startswith(b"\x1f\x8b"):
        return "is not a .tar.gz archive"
    left = max(_FREE_BYTES, _RATIO_LIMIT * path.stat().st_size)
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(1 << 20):
                left -= len(chunk)
                if left < 0:
                    return "unpacks to far more than its size (a bomb?)"
    except (EOFError, zlib.error):
        return "is cut off: the archive has no end; download it again"
    except OSError as error:
        return f"is not a readable archive: {error}"
    return ""
