"""Preview of a picture in the report of a run: small, and in a format that every browser shows.

Only Pillow is imported, because previews are made in the driver. Decoding for the network is in
`mlops_image_classification.data.decoding`.
"""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import TYPE_CHECKING

from PIL import ImageOps

from mlops_core import DatasetError, Preview
from mlops_image_classification.data.opening import DECODING_ERRORS, open_picture

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

_SIDE = 256
_QUALITY = 85
_PIXELS = 30_000_000
"""Larger pictures that are not JPEG, and so cannot be reduced while decoding, would take seconds."""


def preview_picture(dataset: Path, sample: str) -> Preview | None:
    """Return a small copy of the picture of a prediction's sample; None if it is missing or too large.

    Raises:
        DatasetError: the picture cannot be decoded.
    """
    path = dataset / sample
    if PurePath(sample).is_absolute() or ".." in PurePath(sample).parts or not path.is_file():
        return None  # links in a data set may lead out of it, a name may not
    try:
        with open_picture(path) as image:
            return _preview(image)
    except DatasetError:
        raise
    except DECODING_ERRORS as error:
        raise DatasetError(f"{sample} cannot be decoded: {' '.join(str(error).split())}") from None


def _preview(image: Image.Image) -> Preview | None:
    width, height = image.size
    image.draft("RGB", (_SIDE, _SIDE))
    if image.width * image.height > _PIXELS:
        return None
    small = ImageOps.exif_transpose(_narrowed(image))
    small.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    small.convert("RGB").save(stream, "JPEG", quality=_QUALITY)
    return Preview(media_type="image/jpeg", data=stream.getvalue(), caption=f"{width} x {height} pixels")


def _narrowed(image: Image.Image) -> Image.Image:
    """Return the upper 8 bits of a picture of 16 bits; other pictures unchanged."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image
