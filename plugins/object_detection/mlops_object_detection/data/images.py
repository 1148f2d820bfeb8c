"""Opening pictures, and bringing them to the working scale.

A picture is opened within limits, turned as its EXIF orientation says, and laid on white where it is transparent.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from mlops_core import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_DECODING_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    MemoryError,
    OverflowError,
    Image.DecompressionBombError,
)
_MOST_PIXELS = 178_000_000
_LINE_ART_SIDE = 1024
_INK_DISTANCE, _MOST_INK, _MOST_SOLID = 40, 0.35, 0.12
_EXIF_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a file as a picture; errors name it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                _check_size(image, path)
                yield image
    except DatasetError:
        raise
    except _DECODING_ERRORS as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"{path} cannot be decoded: {cause}; expected an image, such as JPEG or PNG") from None


def _check_size(image: Image.Image, path: Path) -> None:
    if image.width * image.height > _MOST_PIXELS:
        raise DatasetError(f"{path} has {image.width} x {image.height} pixels; at most {_MOST_PIXELS:,}")


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height of a picture as it is displayed; its pixels are not decoded.

    Raises:
        DatasetError: the file is not an image.
    """
    return size_and_orientation(path)[0]


def size_and_orientation(path: Path) -> tuple[tuple[int, int], int]:
    """Return width and height of a picture as it is displayed, and its EXIF orientation, 1 to 8; 1 if it has none.

    Its pixels are not decoded.

    Raises:
        DatasetError: the file is not an image.
    """
    with _opened(path) as image:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
        orientation = value if isinstance(value, int) and 1 <= value <= 8 else 1
        return ((image.height, image.width) if orientation in _TURNED else image.size), orientation


def check_complete(path: Path) -> None:
    """Raise an error if a file ends early or is damaged: a PNG by its checksums, a JPEG decoded at a small size.

    Raises:
        DatasetError: the file cannot be decoded.
    """
    with _opened(path) as image:
        if image.format == "PNG":
            image.verify()
            return
        image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))  # does nothing for other formats
        image.load()


def read_image(path: Path) -> Image.Image:
    """Return a picture in mode L or RGB.

    Raises:
        DatasetError: the file cannot be decoded.
    """
    with _opened(path) as image:
        return _plain(ImageOps.exif_transpose(image))


def _plain(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image.copy()
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode == "F":
        return _of_fractions(image)
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")


def _of_fractions(image: Image.Image) -> Image.Image:
    """Return a picture of floating-point numbers from 0 to 1, or from 0 to 255, in mode L.

    Raises:
        ValueError: they have another range, or are not finite.
    """
    tones = np.asarray(image, np.float32)
    low, high = float(tones.min()), float(tones.max())
    if not (low >= 0 and high <= 255):
        raise ValueError(f"its pixels are numbers from {low:g} to {high:g}; expected 0 to 1, or 0 to 255")
    return Image.fromarray(np.rint(tones * (255 if high <= 1 else 1)).astype(np.uint8))


def scaled_pixels(image: Image.Image, size: tuple[int, int], *, channels: int) -> NDArray[np.uint8]:
    """Return the pixels of a picture at another size, (height, width, channels).

    Args:
        image: in mode L or RGB.
        size: width and height.
        channels: 1 for grey, 3 for colour.
    """
    toned = image.convert("L" if channels == 1 else "RGB")
    if toned.size != size:
        toned = toned.resize(size, Image.Resampling.BOX if size < toned.size else Image.Resampling.BILINEAR)
    return np.asarray(toned, np.uint8).reshape(size[1], size[0], channels)


def has_colour(image: Image.Image) -> bool:
    """Return whether more than a hundredth of the pixels differ visibly from grey."""
    if image.mode == "L":
        return False
    small = image.copy()
    small.thumbnail((256, 256))
    pixels = np.asarray(small.convert("RGB"), np.int16)
    return float((pixels.max(axis=2) - pixels.min(axis=2) > 24).mean()) > 0.01


def is_line_art(image: Image.Image) -> bool:
    """Return whether a picture is thin lines on paper of one tone, as drawings are and photographs are not.

    Objects before a plain background, as in a studio, are no lines: a stroke vanishes when two pixels are taken from
    each of its sides, an object does not.
    """
    small = image.convert("L")
    small.thumbnail((_LINE_ART_SIDE, _LINE_ART_SIDE))
    tones = np.asarray(small, np.int16)
    counts = np.bincount(tones.ravel(), minlength=256)
    paper = int(np.argmax(np.convolve(counts, np.ones(9), mode="same")))
    is_ink = np.abs(tones - paper) > _INK_DISTANCE
    if is_ink.mean() > _MOST_INK:
        return False
    inner = Image.fromarray((is_ink * 255).astype(np.uint8)).filter(ImageFilter.MinFilter(5))
    return bool((np.asarray(inner) > 0).sum() < _MOST_SOLID * max(1, is_ink.sum()))
