"""The mathematics of confidence intervals: Wilson's score interval, Student's quantiles, effective sample sizes.

Samples of one group (the frames of one recording, the clips of one speaker) are alike: an interval that counts each of
them as new evidence is too narrow. `effective_count` says for how many independent samples they stand.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from mlops_core.errors import StepError

LEVEL = 0.95
"""Of confidence intervals."""
_EXACT_DEGREES = 2


def effective_count(
    rate: float, variance: float, *, count: float, groups: int, units: int | None = None, level: float = LEVEL
) -> float:
    """Return how many independent samples would leave a rate as uncertain as `variance` says; at most `count`.

    With few groups the variance itself is uncertain, so the number is reduced by the squared ratio of the quantiles of
    the normal and of Student's distribution. Where the variance says nothing (a single group, or a rate of 0 or 1),
    each group counts as one sample.
    Source: E. L. Korn and B. I. Graubard, Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data, Surv. Methodol. 24 (1998) 193-201.

    Args:
        rate: the share of successes.
        variance: of the rate; NaN if it is unknown.
        count: number of samples.
        groups: number of groups.
        units: number of groups, or of blocks of groups, from which the variance was estimated; None for `groups`.
        level: of the interval.
    """
    degrees = (groups if units is None else units) - 1
    spread = rate * (1 - rate)
    if degrees < 1 or spread <= 0 or not math.isfinite(variance):
        return max(1.0, min(count, groups))
    normal = NormalDist().inv_cdf(0.5 + level / 2)
    correction = (normal / student_quantile(level, degrees)) ** 2
    return max(1.0, min(count, spread / variance if variance > 0 else count) * correction)


def wilson_interval(rate: float, count: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the Wilson score interval of a rate among `count` independent samples, a whole number or not.

    It is 0 to 1 where there is no sample, or no rate (NaN).

    Raises:
        StepError: the rate is outside 0 to 1, or the number is negative.
    """
    if rate < 0 or rate > 1 or count < 0:
        raise StepError(f"a rate of {rate:g} among {count:g} samples is impossible")
    if math.isnan(rate) or not count > 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    scale = 1 + z * z / count
    centre = (rate + z * z / (2 * count)) / scale
    half = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count)) / scale
    return (
        0.0 if rate == 0 else max(0.0, min(rate, centre - half)),
        1.0 if rate == 1 else min(1.0, max(rate, centre + half)),
    )


def student_quantile(level: float, degrees: int) -> float:
    """Return the half width of the central interval of Student's t distribution that has this probability.

    Source: G. W. Hill, Algorithm 396: Student's t-quantiles, Commun. ACM 13 (1970) 619-620.

    Example:
        >>> round(student_quantile(0.95, 19), 4), round(student_quantile(0.95, 1), 3)
        (2.093, 12.706)
    """
    tail, n = 1 - level, degrees
    if n == 1:
        return math.cos(tail * math.pi / 2) / math.sin(tail * math.pi / 2)
    if n == _EXACT_DEGREES:
        return math.sqrt(2 / (tail * (2 - tail)) - 2)
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * tail) ** (2 / n)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(tail / 2)
        y = x**2
        c += 0.3 * (n - 4.5) * (x + 0.6) if n < 5 else 0
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y**2)
    else:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (
            n + 2
        ) + 1 / y
    return math.sqrt(n * y)
