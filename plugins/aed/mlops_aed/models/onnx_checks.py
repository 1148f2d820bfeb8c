"""Whether a model in the ONNX format keeps weights in other files, which would make any file of this machine a weight.

Only the fields that lead to tensors are followed; their numbers are those of ``onnx.proto3``. The package onnx, which
parses the whole of a model, is not needed to run one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_INNER = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Message -> number of a field -> the message in it."""
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEPTH = 64
_BYTES, _VARINT = 2, 0
_FIXED = {1: 8, 5: 4}


def external_data_fault(path: Path) -> str:
    """Return what is wrong with a whole ``.onnx`` file, as `mlops_aed.models.model_files.fault_of` does."""
    content = memoryview(path.read_bytes())
    try:
        is_external = _has_external_data(content)
    except (IndexError, ValueError, RecursionError):
        return "is damaged; download it again"
    if is_external:
        return "keeps its weights in other files, which are never read; save it as one file"
    return ""


def _has_external_data(content: memoryview) -> bool:
    waiting = [("model", content, 0)]
    while waiting:
        message, part, depth = waiting.pop()
        if depth > _DEPTH:
            raise ValueError("nested too deeply")
        for number, kind, value in _fields(part):
            if message == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
                return True
            inner = _INNER[message].get(number)
            if inner and kind == _BYTES and isinstance(value, memoryview):
                waiting.append((inner, value, depth + 1))
    return False


def _fields(content: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield number, wire type and value of each field of a message.

    Raises:
        ValueError: it is not a message.
        IndexError: it is cut off.
    """
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        kind = tag & 7
        if kind == _VARINT:
            value, place = _varint(content, place)
            yield tag >> 3, kind, value
            continue
        if kind == _BYTES:
            length, place = _varint(content, place)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError(f"wire type {kind}")
        if place + length > len(content):
            raise IndexError
        yield tag >> 3, kind, content[place : place + length]
        place += length


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number of more than ten bytes")
