"""How many further samples would decide, at the rate that was observed: the inverse of a confidence interval."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.evaluation.metrics import MetricValue

MOST_SAMPLES = 10**9
"""A larger number is not worth naming: no test set will have it."""


def further_samples(value: MetricValue, threshold: float) -> int | None:
    """Return how many more samples would move the nearer bound of an interval past a threshold, if the value stays.

    For a proportion, Wilson's interval of n samples excludes the threshold t if n > z² t (1 - t) / (p - t)²; samples in
    groups count as many independent ones as the present interval implies. For another metric, the width of the interval
    falls with the root of the number of samples.

    Args:
        value: with its interval.
        threshold: on the other side of the bound than the value.

    Returns:
        None if no number would: the value equals the threshold, or the interval is not known.

    Example:
        >>> from mlops_core import proportion
        >>> further_samples(proportion(93, 100), 0.9)
        285
    """
    distance = abs(value.value - threshold)
    if not distance or not value.count or not math.isfinite(distance):
        return None
    bound = value.low if value.value > threshold else value.high
    try:
        if value.method.startswith("wilson") and 0 < threshold < 1 and 0 < bound < 1:
            needed = _wilson_count(value, bound, threshold)
        else:
            half = abs(value.value - bound)
            if not math.isfinite(half) or not half:
                return None
            needed = value.count * (half / distance) ** 2
    except ArithmeticError:  # a distance whose square is 0, or too large a quotient
        return None
    return max(1, math.ceil(needed - value.count)) if needed <= MOST_SAMPLES else None


def _wilson_count(value: MetricValue, bound: float, threshold: float) -> float:
    """Return the number of samples with which Wilson's interval no longer reaches the threshold."""
    z = NormalDist().inv_cdf(0.5 + value.level / 2)

    def independent(limit: float) -> float:
        return z * z * limit * (1 - limit) / (value.value - limit) ** 2

    return value.count * independent(threshold) / independent(bound)
