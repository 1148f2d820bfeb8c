"""Intervals around predictions: two quantile models, widened until they hold the share of true values they promise.

The widening is conformal: how far each true value of the training part lies outside the interval of models that have
not seen it, and of these distances the quantile at the level wanted.
Source: Y. Romano, E. Patterson, E. Candès, Conformalized Quantile Regression, NeurIPS 2019, with the out-of-fold
residuals of R. Barber et al., Predictive inference with the jackknife+, Annals of Statistics 49 (2021).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]


def quantiles(level: float) -> tuple[float, float]:
    """Return the lower and the upper quantile that bound an interval of `level`."""
    tail = (1 - level) / 2
    return tail, 1 - tail


def conformal_widening(low: Numbers, high: Numbers, target: Numbers, *, level: float) -> float:
    """Return by how much both ends must move outwards (inwards where negative), in the target's unit.

    Args:
        low: lower end for each row, by a model that has not seen it.
        high: upper end likewise; where the two are crossed, they are put in order as in `widened`.
        target: the true values.
        level: share of them that the intervals are to hold.
    """
    outside = np.sort(np.maximum(np.minimum(low, high) - target, target - np.maximum(low, high)))
    rank = math.ceil((len(outside) + 1) * level)  # one more than there are: the next value counts as unseen
    return float(outside[min(rank, len(outside)) - 1])


def widened(low: Numbers, high: Numbers, value: Numbers, *, widening: float) -> tuple[Numbers, Numbers]:
    """Return the calibrated ends; crossed quantiles are put in order, and the prediction itself is always inside."""
    lower = np.minimum(low, high) - widening
    upper = np.maximum(low, high) + widening
    return np.minimum(lower, value), np.maximum(upper, value)
