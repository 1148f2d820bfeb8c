"""Pictures changed on purpose, as cameras and light change them: blur, brightness and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from mlops_core import DatasetError, Perturbation
from mlops_image_classification.data.opening import DECODING_ERRORS, open_picture

if TYPE_CHECKING:
    from pathlib import Path

_PER_SIDE = 0.01


def blur(source: Path, target: Path, percent: float) -> None:
    """Write the picture blurred by a Gaussian whose standard deviation is `percent` of the shorter side."""
    image = _read(source)
    image.filter(ImageFilter.GaussianBlur(percent * _PER_SIDE * min(image.size))).save(target)


def brightness(source: Path, target: Path, factor: float) -> None:
    """Write the picture with each value multiplied by `factor`, clipped at white."""
    ImageEnhance.Brightness(_read(source)).enhance(factor).save(target)


def noise(source: Path, target: Path, deviation: float) -> None:
    """Write the picture with normal noise of this standard deviation, in units of 255 values, in each pixel."""
    pixels = np.asarray(_read(source), np.float64)
    added = pixels + np.random.default_rng(0).normal(0, deviation, pixels.shape)
    Image.fromarray(np.clip(np.rint(added), 0, 255).astype(np.uint8)).save(target)


PERTURBATIONS = (
    Perturbation(name="blur", strengths=(1, 2, 4), unit="% of the side", write=blur, suffix=".png"),
    Perturbation(name="brightness", strengths=(0.5, 0.8, 1.25), unit="times", write=brightness, suffix=".png"),
    Perturbation(name="noise", strengths=(5, 10, 20), unit="of 255", write=noise, suffix=".png"),
)


def _read(path: Path) -> Image.Image:
    """Return a picture as RGB, in the orientation of its metadata.

    Raises:
        DatasetError: it cannot be decoded.
    """
    try:
        with open_picture(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except DECODING_ERRORS as error:
        raise DatasetError(f"{path} cannot be decoded: {' '.join(str(error).split())}") from None
