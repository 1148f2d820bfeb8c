"""The maximum mean discrepancy between a reference and the last samples, updated in linear time.

Gretton, Borgwardt, Rasch, Schölkopf, Smola: A Kernel Two-Sample Test, JMLR 13 (2012), equation 3: the unbiased estimate

    MMD² = Σ_{i≠j} k(x_i, x_j) / (r (r-1)) + Σ_{i≠j} k(y_i, y_j) / (W (W-1)) - 2 Σ_{i,j} k(x_i, y_j) / (r W)

with the Gaussian kernel k(a, b) = exp(-gamma ‖a - b‖²), and 1/gamma the median of ‖x_i - x_j‖² of the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_EXACT_EVERY = 1000
"""Sums are computed anew after so many samples, so that rounding does not add up."""


def squared_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ‖a_i - b_j‖² of vectors, n x d and m x d, as n x m."""
    products = a @ b.T
    products *= -2.0
    products += (a * a).sum(axis=1)[:, None]
    products += (b * b).sum(axis=1)[None, :]
    return np.maximum(products, 0.0, out=products)


def bandwidth(values: NDArray[np.float64]) -> float:
    """Return gamma: one by the median of the squared distances between different samples.

    Where more than half of all pairs are equal, their mean takes the place of the median.

    Raises:
        DatasetError: all samples are equal.

    Example:
        >>> import numpy as np
        >>> bandwidth(np.array([[0.0], [1.0], [3.0]]))
        0.25
    """
    distances = squared_distances(values, values)[np.triu_indices(len(values), 1)]
    middle = (len(distances) - 1) // 2
    found = float(np.partition(distances, middle)[middle]) or float(distances.mean())
    if found <= 0.0:
        raise DatasetError(f"drift: all {len(values)} samples of the reference are equal; expected some that differ")
    return 1.0 / found


def kernel(a: NDArray[np.float64], b: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
    """Return k(a_i, b_j) of vectors, n x d and m x d, as n x m."""
    distances = squared_distances(a, b)
    distances *= -gamma
    return np.exp(distances, out=distances)


def mmd_squared(reference: NDArray[np.float64], window: NDArray[np.float64], gamma: float) -> float:
    """Return the unbiased estimate of MMD² between vectors, r x d and W x d: the plain formula, in quadratic time.

    Example:
        >>> import numpy as np
        >>> mmd_squared(np.array([[0.0], [0.0]]), np.array([[100.0], [100.0]]), 1.0)
        2.0
    """
    within_reference = kernel(reference, reference, gamma)
    within_window = kernel(window, window, gamma)
    r, w = len(reference), len(window)
    return float(
        (within_reference.sum() - np.trace(within_reference)) / (r * (r - 1))
        + (within_window.sum() - np.trace(within_window)) / (w * (w - 1))
        - 2.0 * kernel(reference, window, gamma).mean()
    )


class OnlineMmd:
    """MMD² between a fixed reference and the last W samples; a sample costs (r + 2 W) d multiplications.

    Attributes:
        value: the current statistic.
    """

    def __init__(self, reference: NDArray[np.float64], window: NDArray[np.float64], gamma: float) -> None:
        """Begin with a full window.

        Args:
            reference: r x d.
            window: W x d, the oldest sample first.
            gamma: of the kernel.
        """
        self.gamma = gamma
        self._reference = np.ascontiguousarray(reference)
        self._norms = (reference * reference).sum(axis=1)
        within = kernel(reference, reference, gamma)
        self._constant = float((within.sum() - np.trace(within)) / (len(reference) * (len(reference) - 1)))
        self._window = window.copy()
        self._position = 0
        self._means: NDArray[np.float64] = np.zeros(len(window))
        self._recompute()

    def update(self, sample: NDArray[np.float64]) -> float:
        """Replace the oldest sample by a new one, d; return the statistic."""
        at = self._position
        window = self._window
        entering = self._row(window, sample)
        leaving = self._row(window, window[at])
        self._within += 2.0 * float(entering.sum() - entering[at] - leaving.sum() + leaving[at])
        mean = self._reference_mean(sample)
        self._between += mean - float(self._means[at])
        self._means[at] = mean
        window[at] = sample
        self._position = (at + 1) % len(window)
        self._updates += 1
        if self._updates >= _EXACT_EVERY:
            self._recompute()
        else:
            self._evaluate()
        return self.value

    @property
    def window(self) -> NDArray[np.float64]:
        """The samples of the window, W x d, the oldest one first."""
        return np.roll(self._window, -self._position, axis=0)

    def saved(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        return {
            "window": self._window.copy(),
            "means": self._means.copy(),
            "sums": np.array([self._within, self._between]),
            "position": self._position,
            "updates": self._updates,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue as the statistic that was saved, with the same reference.

        Raises:
            ValueError: sizes differ.
        """
        window, means = saved["window"], saved["means"]
        if window.shape != self._window.shape or means.shape != self._means.shape:
            raise ValueError(f"a window of {window.shape} instead of {self._window.shape}")
        self._window, self._means = window.copy(), means.copy()
        self._within, self._between = (float(each) for each in saved["sums"])
        self._position, self._updates = int(saved["position"]), int(saved["updates"])
        self._evaluate()

    def _row(self, window: NDArray[np.float64], sample: NDArray[np.float64]) -> NDArray[np.float64]:
        difference = window - sample
        distances = np.einsum("ij,ij->i", difference, difference)
        distances *= -self.gamma
        similarities: NDArray[np.float64] = np.exp(distances, out=distances)
        return similarities

    def _reference_mean(self, sample: NDArray[np.float64]) -> float:
        distances = self._reference @ sample
        distances *= -2.0
        distances += self._norms
        distances += sample @ sample
        np.maximum(distances, 0.0, out=distances)
        distances *= -self.gamma
        return float(np.exp(distances, out=distances).mean())

    def _recompute(self) -> None:
        within = kernel(self._window, self._window, self.gamma)
        self._within = float(within.sum() - np.trace(within))
        self._means = np.array([self._reference_mean(sample) for sample in self._window])
        self._between = float(self._means.sum())
        self._updates = 0
        self._evaluate()

    def _evaluate(self) -> None:
        size = len(self._window)
        self.value = self._constant + self._within / (size * (size - 1)) - 2.0 * self._between / size
