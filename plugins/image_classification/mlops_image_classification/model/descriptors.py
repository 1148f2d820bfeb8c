"""Descriptors of whole pictures: which textures and colours are where, without learning.

The textures are the mean responses of Gabor filters in the cells of a grid, as in GIST (A. Oliva and A. Torralba,
Modeling the shape of the scene, Int. J. Computer Vision 42, 2001), after the local contrast was made equal. Colours are
their mean and deviation in the same cells and a histogram of the whole picture. Roots of the values are taken, which
keeps few large ones from deciding (the Hellinger kernel).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_GRID = 4
"""Cells along each side."""
_SCALES, _DIRECTIONS = 4, 8
_HIGHEST, _STEP = 0.35, 1.85
"""Frequency of the finest filters in cycles per pixel, and the factor to the next coarser ones."""
_RADIAL, _ANGULAR = 3.5, 2 * np.pi
"""How narrow the filters are in frequency and in direction."""
_CYCLES = 4
"""The mean that is taken off a picture holds up to this number of cycles across it."""
_LEAST_CONTRAST = 0.2
_BINS = 4
"""Bins of the histogram along each colour channel."""
_DECIMALS = 5
"""Values are rounded, so that the last bits, which differ between processors, are not kept."""


def describe(images: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return one descriptor per image: (batch, values).

    Args:
        images: (batch, size, size, 3), 0 to 1.
    """
    return np.stack([_descriptor(np.asarray(image, np.float64)) for image in images])


def _descriptor(image: Floats) -> NDArray[np.float32]:
    brightest, darkest = image.max(axis=2), image.min(axis=2)
    saturation = (brightest - darkest) / np.maximum(brightest, 1e-3)
    planes = np.concatenate([image.transpose(2, 0, 1), saturation[None]])
    mean = _in_cells(planes)
    deviation = np.sqrt(np.maximum(_in_cells(planes * planes) - mean * mean, 0))
    parts = (np.sqrt(_textures(image)), np.sqrt(mean), np.sqrt(deviation), _histogram(image) ** 0.25)
    return np.round(np.concatenate([part.ravel() for part in parts]), _DECIMALS).astype(np.float32)


def _textures(image: Floats) -> Floats:
    """Return the mean response of each filter in each cell, (filters, grid, grid)."""
    size = image.shape[0]
    low_pass, filters = _filters(size)
    grey = np.log1p(image.mean(axis=2) * 255)
    even = grey - _filtered(grey, low_pass)
    contrast = np.sqrt(np.abs(_filtered(even * even, low_pass)))
    spectrum = np.fft.fft2(even / (_LEAST_CONTRAST + contrast)).astype(np.complex64)  # half the time of complex128
    return _in_cells(np.abs(np.fft.ifft2(spectrum * filters)))


def _filtered(plane: Floats, transfer: Floats) -> Floats:
    return np.real(np.fft.ifft2(np.fft.fft2(plane) * transfer))


@lru_cache(maxsize=4)
def _filters(size: int) -> tuple[Floats, NDArray[np.float32]]:
    """Return the transfer functions of the mean, (size, size), and of the Gabor filters, (filters, size, size)."""
    frequency = np.fft.fftfreq(size)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    direction = np.arctan2(frequency[:, None], frequency[None, :])
    low_pass = np.exp(-np.log(2) * (radius * size / _CYCLES) ** 2)
    filters = [
        np.exp(
            -_RADIAL * (radius * _STEP**scale / _HIGHEST - 1) ** 2
            - _ANGULAR * np.angle(np.exp(1j * (direction - np.pi * number / _DIRECTIONS))) ** 2
        )
        for scale in range(_SCALES)
        for number in range(_DIRECTIONS)
    ]
    return low_pass, np.stack(filters).astype(np.float32)


def _in_cells(planes: NDArray[np.floating]) -> Floats:
    """Return the mean of (planes, size, size) in each cell, (planes, grid, grid); cells differ by a pixel at most."""
    size = planes.shape[-1]
    edges = np.arange(_GRID) * size // _GRID
    counts = np.diff([*edges, size])
    sums = np.add.reduceat(np.add.reduceat(planes, edges, axis=1), edges, axis=2)
    return cast("Floats", sums / (counts[:, None] * counts[None, :]))


def _histogram(image: Floats) -> Floats:
    """Return the share of the pixels of each colour, (bins ** 3,)."""
    bins = np.minimum((image * _BINS).astype(np.int64), _BINS - 1)
    index = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    return np.bincount(index.ravel(), minlength=_BINS**3) / index.size
