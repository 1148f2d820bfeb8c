"""Prediction intervals: two quantile models, widened until they contain the promised share of true values.

The widening is conformal: the quantile, at the wanted level, of the distances of the training part's true values from
the intervals of models that have not seen them.
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
    """Return the lower and upper quantile of an interval of `level`."""
    tail = (1 - level) / 2
    return tail, 1 - tail


def conformal_widening(low: Numbers, high: Numbers, target: Numbers, *, level: float) -> float:
    """Return the distance by which both ends must move outwards (inwards if negative), in the target's unit.

    Args:
        low: lower end per row, (rows,), from a model that has not seen the row.
        high: upper end per row; crossed ends are swapped, as in `widened`.
        target: true values, (rows,).
        level: share of true values that the intervals must contain.
    """
    outside = np.sort(np.maximum(np.minimum(low, high) - target, target - np.maximum(low, high)))
    rank = math.ceil((len(outside) + 1) * level)  # the additional value stands for an unseen row
    return float(outside[min(rank, len(outside)) - 1])


def widened(low: Numbers, high: Numbers, value: Numbers, *, widening: float) -> tuple[Numbers, Numbers]:
    """Return the calibrated ends; crossed quantiles are swapped, and the prediction itself is always inside."""
    lower = np.minimum(low, high) - widening
    upper = np.maximum(low, high) + widening
    return np.minimum(lower, value), np.maximum(upper, value)
