"""A classifier of picture descriptors by kernel ridge regression, which is solved at once and draws nothing at random.

The kernel is a Gaussian of standardised descriptors; the targets are 1 for the class of a picture and 0 for the others
(C. Saunders et al., Ridge regression learning algorithm in dual variables, ICML 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from mlops_image_classification.model.descriptors import describe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

KERNEL_FILE = "kernel.npz"
_WIDTH = 0.5
"""Factor of the mean squared difference of two standardised descriptors in the exponent."""
_RIDGE = 0.1
_SHARPNESS = 6.0
"""Factor of the regression's values before they become probabilities; the temperature corrects it on the whole."""
_MOST_PICTURES = 2000
"""The solution takes time by the cube, and memory by the square, of the number of pictures with their mirror images."""
_LEAST_DEVIATION = 1e-3
_DECIMALS = 5
"""Coefficients are rounded, so that the last bits, which differ between processors, are not kept."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelClassifier:
    """The solution.

    Attributes:
        pictures: standardised descriptors of the training pictures, (pictures, values).
        coefficients: (pictures, classes).
        mean: mean of the descriptors, (values,).
        deviation: their standard deviation, (values,).
    """

    pictures: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def fit(
        cls, batches: Iterable[tuple[NDArray[np.floating], NDArray[np.floating]]], *, count: int, is_mirrored: bool
    ) -> Self:
        """Return the solution.

        Args:
            batches: (images (batch, size, size, 3), 0 to 1; targets (batch, classes)) of the training pictures.
            count: number of all pictures; of more than `_MOST_PICTURES`, every second, third and so on is used.
            is_mirrored: whether the mirror images are training pictures, too.
        """
        descriptors, targets = _training_rows(batches, step=-(-count // _MOST_PICTURES), is_mirrored=is_mirrored)
        mean, deviation = descriptors.mean(axis=0), np.maximum(descriptors.std(axis=0), _LEAST_DEVIATION)
        pictures = ((descriptors - mean) / deviation).astype(np.float32)
        system = _kernel(pictures, pictures) + _RIDGE * np.eye(len(pictures))
        coefficients = np.round(np.linalg.solve(system, targets), _DECIMALS).astype(np.float32)
        return cls(pictures=pictures, coefficients=coefficients, mean=mean, deviation=deviation)

    def probabilities(self, images: NDArray[np.floating], *, is_mirrored: bool) -> Floats:
        """Return uncalibrated probabilities (batch, classes) of `images` (batch, size, size, 3), 0 to 1.

        Args:
            images: the batch.
            is_mirrored: whether the values of a picture and its mirror image are averaged.
        """
        values = np.mean(
            [
                _kernel((describe(view) - self.mean) / self.deviation, self.pictures) @ self.coefficients
                for view in _views(images, is_mirrored=is_mirrored)
            ],
            axis=0,
        )
        powers = np.exp(_SHARPNESS * (values - values.max(axis=1, keepdims=True)))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def save(self, folder: Path) -> None:
        """Write the solution into `folder`; equal solutions give equal bytes."""
        np.savez(folder / KERNEL_FILE, **{name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what `save` wrote."""
        with np.load(folder / KERNEL_FILE, allow_pickle=False) as stored:
            return cls(**{name: stored[name] for name in stored.files})


def _training_rows(
    batches: Iterable[tuple[NDArray[np.floating], NDArray[np.floating]]], *, step: int, is_mirrored: bool
) -> tuple[NDArray[np.float32], Floats]:
    """Return descriptors (rows, values) and targets (rows, classes) of every picture whose position `step` divides."""
    descriptors, targets = [], []
    position = 0
    for images, of_batch in batches:
        chosen = slice(-position % step, None, step)
        for view in _views(np.asarray(images)[chosen], is_mirrored=is_mirrored):
            if len(view):
                descriptors.append(describe(view))
                targets.append(np.asarray(of_batch, np.float64)[chosen])
        position += len(images)
    return np.concatenate(descriptors), np.concatenate(targets)


def _views(images: NDArray[np.floating], *, is_mirrored: bool) -> Iterable[NDArray[np.floating]]:
    return (images, images[:, :, ::-1]) if is_mirrored else (images,)


def _kernel(first: NDArray[np.float32], second: NDArray[np.float32]) -> Floats:
    """Return the kernel of each pair, (first, second)."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * (a @ b.T)
    kernel: Floats = np.exp(-_WIDTH / a.shape[1] * np.maximum(squares, 0))
    return kernel
