"""Calibration by temperature: scores are sharpened or softened until they match the accuracy.

Label smoothing and mixed batches make a network underconfident. The temperature with the lowest cross-entropy on the
validation part corrects that and changes no decision (Guo et al., On calibration of modern neural networks, 2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TEMPERATURES = np.geomspace(0.25, 4.0, 65)
_LEAST = 1e-12


def with_temperature(scores: NDArray[np.floating], temperature: float) -> Floats:
    """Return probabilities (samples, classes) as if their logits had been divided by `temperature`."""
    logits = np.log(np.maximum(np.asarray(scores, np.float64), _LEAST)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def best_temperature(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the temperature, 0.25 to 4, with the lowest cross-entropy.

    Args:
        scores: probabilities of the validation part, (samples, classes).
        labels: index of the true class of each sample, (samples,).
    """
    rows = np.arange(len(labels))
    losses = [-np.log(np.maximum(with_temperature(scores, t)[rows, labels], _LEAST)).mean() for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])
