"""Opening an image file with one of the formats that this plugin supports, and no other.

Pillow knows some forty formats and chooses by content, whatever the name says. Some of its decoders start another
program (Ghostscript for EPS) or are made for files that one trusts. None of them is tried here.
"""

from __future__ import annotations

import contextlib
import functools
import struct
import warnings
import zlib
from typing import TYPE_CHECKING

from PIL import Image

from mlops_core import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BY_CONTENT = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "JPEG2000", "PPM", "PCX", "ICO", "AVIF")
_IF_REGISTERED = ("HEIF", "JXL")
"""Formats that additional packages teach Pillow."""
_BY_SUFFIX = {".tga": "TGA"}
"""Formats without a signature: almost any bytes could be one."""
DECODING_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, MemoryError, AttributeError),
    *(ArithmeticError, AssertionError, RuntimeError, struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow's decoders raise for damaged files."""


@contextlib.contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Open an image file without decoding it; Pillow's warnings about size and odd metadata are dropped.

    Raises:
        DatasetError: it is not a regular file, such as a named pipe.
        PIL.UnidentifiedImageError: its content is none of the supported formats.
        OSError: it cannot be read; other errors of Pillow's decoders are passed on.
    """
    if path.exists() and not path.is_file():  # opening a named pipe would block forever
        raise DatasetError(f"{path} cannot be decoded: it is not a regular file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=_formats(path.suffix.lower())) as image:
            yield image


@functools.cache
def _formats(suffix: str) -> tuple[str, ...]:
    """Return the formats to try, in this order; Pillow raises `KeyError` for one that its build does not have."""
    Image.init()
    wanted = (*_BY_CONTENT, *_IF_REGISTERED, *filter(None, [_BY_SUFFIX.get(suffix)]))
    return tuple(name for name in wanted if name in Image.OPEN)
