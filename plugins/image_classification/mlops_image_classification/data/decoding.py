"""Decoding of one image file to RGB pixels: 16-bit, CMYK, palette, animated, huge and rotated files included.

A file that cannot be used raises a `DatasetError` that names the file and the reason.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mlops_core import DatasetError, placeholder_of
from mlops_image_classification.data.files import image_format, unsupported_format
from mlops_image_classification.data.opening import DECODING_ERRORS, open_picture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_image_classification.config import Preprocessing
    from mlops_image_classification.data.labelled import Picture, Region

_WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_SPECIAL_FORMATS = ("AVIF", "HEIC", "HEIF", "JPEG XL")
"""Formats that Pillow reads with some builds or additional packages only."""
_LARGEST = {8: 255.0, 16: 65535.0}


def read_pixels(path: Path, settings: Preprocessing, *, region: Region | None = None) -> NDArray[np.uint8]:
    """Return the picture as RGB pixels, (image_size, image_size, 3).

    The first frame of an animation is used, and the upper 8 of 16 bits per channel. Transparent pixels become white;
    the EXIF orientation is applied. Width and height are scaled separately, so that nothing is cropped.

    Args:
        path: the image file.
        settings: size and limits.
        region: region to cut out before scaling, if ``use_roi`` is set.

    Raises:
        DatasetError: the file cannot be decoded, or is too small or too large.
    """
    try:
        with open_picture(path) as image:
            return with_autocontrast(_pixels(image, path, settings, region), cutoff=settings.autocontrast)
    except DatasetError:
        raise
    except UnidentifiedImageError:
        raise DatasetError(_unidentified(path)) from None
    except Image.DecompressionBombError as error:
        raise DatasetError(f"{path} is too large: {error}") from None
    except DECODING_ERRORS as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"{path} cannot be decoded: {cause}") from None


def _unidentified(path: Path) -> str:
    size = path.stat().st_size
    name = image_format(path)
    if size == 0:
        return f"{path} is not a readable image: it is empty (0 bytes)"
    if placeholder := placeholder_of(path):
        return f"{path} is {placeholder}"
    if name in _SPECIAL_FORMATS:
        return f"{path} is {name}, which the installed Pillow cannot read; convert it to PNG or JPEG"
    if unsupported := unsupported_format(path):
        return f"{path} is {unsupported}, whatever its name says, which is never decoded; convert it to PNG or JPEG"
    return f"{path} is not a readable image ({size} bytes)"


def with_autocontrast(pixels: NDArray[np.uint8], *, cutoff: float) -> NDArray[np.uint8]:
    """Return a picture whose brightness covers the whole range, so that dark and pale ones become alike.

    Args:
        pixels: RGB, (height, width, 3).
        cutoff: percentage of the darkest and of the brightest pixels that become black and white; 0 changes nothing.
    """
    if not cutoff:
        return pixels
    # The channels are changed alike, because changed on their own they would lose the colour of the sign.
    return np.asarray(ImageOps.autocontrast(Image.fromarray(pixels), cutoff=cutoff, preserve_tone=True))


def pixels_or_reason(picture: Picture, dataset: Path, settings: Preprocessing) -> NDArray[np.uint8] | str:
    """Return the pixels of a picture below `dataset`, or the reason why it cannot be used, as one line.

    The contrast is left as it is, because copies are found by these pixels.
    """
    try:
        unchanged = settings.model_copy(update={"autocontrast": 0.0})
        return read_pixels(dataset / picture.name, unchanged, region=picture.region)
    except DatasetError as error:
        return str(error).replace(f"{dataset}{os.sep}", "")


def size_and_format(path: Path) -> tuple[int, int, str] | None:
    """Return width, height and format of an image file from its header; None if it cannot be read."""
    try:
        with open_picture(path) as image:
            return (*image.size, str(image.format))
    except (DatasetError, *DECODING_ERRORS):
        return None


def _pixels(image: Image.Image, path: Path, settings: Preprocessing, region: Region | None) -> NDArray[np.uint8]:
    width, height = image.size
    if min(width, height) < settings.min_side:
        raise DatasetError(f"{path} has {width}x{height} pixels; preprocessing.min_side is {settings.min_side}")
    if width * height > settings.max_megapixels * 1e6:
        raise DatasetError(
            f"{path} has {width}x{height} pixels, {width * height / 1e6:.0f} megapixels; "
            f"preprocessing.max_megapixels is {settings.max_megapixels:g}"
        )
    size = settings.image_size
    if region is None or not settings.use_roi:
        image.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size
        upright = ImageOps.exif_transpose(_rgb(image))
    else:
        upright = _cut(_rgb(image), region, path)
    scaled = upright.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(scaled, dtype=np.uint8)


def _cut(image: Image.Image, region: Region, path: Path) -> Image.Image:
    box = (region.left, region.top, region.right + 1, region.bottom + 1)
    if not (0 <= box[0] < box[2] <= image.width and 0 <= box[1] < box[3] <= image.height):
        raise DatasetError(f"{path}: its region {box} is not inside its {image.width}x{image.height} pixels")
    return image.crop(box)


def _rgb(image: Image.Image) -> Image.Image:
    """Return the first frame as RGB, with its metadata."""
    exif = image.getexif()
    if image.mode in _WIDE_MODES:
        converted = _narrowed(image)
    elif image.has_transparency_data:
        layered = image.convert("RGBA")
        converted = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        converted.alpha_composite(layered)
    else:
        converted = image
    converted = converted.convert("RGB")
    converted.getexif().update(exif)
    return converted


def _narrowed(image: Image.Image) -> Image.Image:
    """Return a greyscale picture of more than 8 bits with 8 bits; Pillow's own conversion would clip at 255."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    if image.mode == "F" and values.size and values.max() <= 1.0:
        largest = 1.0
    else:
        largest = next((limit for limit in _LARGEST.values() if values.max() <= limit), float(values.max()))
        if image.mode.startswith("I;16"):
            largest = _LARGEST[16]
    return Image.fromarray(np.clip(values * (255.0 / largest), 0, 255).astype(np.uint8))
