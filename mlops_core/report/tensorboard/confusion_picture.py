"""A confusion matrix as a picture: one square per cell, the darker the larger its share of the true class."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.evaluation.confusion import ConfusionMatrix

_WIDEST = 1024
_LARGEST_CELL = 32
_LOWEST, _HIGHEST = (247, 251, 255), (8, 48, 107)
"""Colours of no sample and of every sample of the true class."""
_SHADES = 256
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COMPRESSION = 6


def confusion_picture(matrix: ConfusionMatrix) -> tuple[bytes, int]:
    """Return a PNG of a square matrix with truth downwards and prediction to the right, and its side in pixels.

    A matrix with more than 1,024 classes is reduced: a pixel has the largest share of the cells that it covers.
    """
    size = len(matrix.classes)
    cell = max(1, min(_LARGEST_CELL, _WIDEST // max(1, size)))
    stride = -(-size // _WIDEST)
    shades = [_shades(matrix.counts[first : first + stride], stride) for first in range(0, size, stride)]
    lines = (b"".join(bytes((shade,)) * cell for shade in row) for row in shades)
    pixels = b"".join((b"\0" + line) * cell for line in lines)
    side = len(shades) * cell
    return _png(pixels, side), side


def _shades(rows: Sequence[Sequence[float]], stride: int) -> list[int]:
    """Return the shade of each pixel of one line, of the rows that it covers."""
    size = len(rows[0])
    shares = [0.0] * -(-size // stride)
    for row in rows:
        total = sum(max(0, count) for count in row)
        for column, count in enumerate(row):
            if count > 0 and total:
                shares[column // stride] = max(shares[column // stride], count / total)
    return [round(share * (_SHADES - 1)) for share in shares]


def _png(pixels: bytes, side: int) -> bytes:
    """Return an indexed PNG. Source: PNG specification, sections 5 and 11."""
    header = struct.pack(">IIBBBBB", side, side, 8, 3, 0, 0, 0)
    palette = bytes(
        round(low + (high - low) * shade / (_SHADES - 1))
        for shade in range(_SHADES)
        for low, high in zip(_LOWEST, _HIGHEST, strict=True)
    )
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(pixels, _COMPRESSION)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
