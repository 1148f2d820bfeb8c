"""Shares of successes as metric values, with Wilson intervals for independent samples and for samples in groups."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.errors import StepError
from mlops_core.evaluation.intervals import LEVEL, effective_count, wilson_interval
from mlops_core.evaluation.metrics import MetricValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def proportion(successes: int, count: int, *, level: float = LEVEL) -> MetricValue:
    """Return ``successes / count`` with the Wilson score interval; NaN when `count` is 0.

    The samples must be independent; where several belong to a group, use `proportion_by_group`.
    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, J. Am. Stat. Assoc.
    22 (1927) 209-212: centre (p + z²/2n) / (1 + z²/n), half width z sqrt(p(1-p)/n + z²/4n²) / (1 + z²/n).

    Example:
        >>> value = proportion(80, 100)
        >>> value.value, round(value.low, 3), round(value.high, 3)
        (0.8, 0.711, 0.867)
    """
    if not 0 <= successes <= count:
        raise StepError(f"a proportion of {successes} in {count} is impossible")
    if count == 0:
        return MetricValue(value=math.nan, low=0.0, high=1.0, level=level, method="wilson")
    low, high = wilson_interval(successes / count, count, level=level)
    return MetricValue(value=successes / count, low=low, high=high, level=level, method="wilson", count=count)


def proportion_by_group(groups: Mapping[str, Sequence[bool]], *, level: float = LEVEL) -> MetricValue:
    """Return the share of successes with a Wilson interval for samples in groups; NaN when there is no sample.

    Samples of one group (the clips of one speaker) are alike, so the interval is that of as many independent samples as
    would leave the rate as uncertain as it is, where the variance of the rate is that between the groups, G/(G-1)
    Σ(y - p·n)² / N² over G groups with y successes in n samples. Where every sample is a group of its own, it is that
    of `proportion`.
    Sources: W. G. Cochran, Sampling Techniques (3rd ed., 1977), ch. 9 (variance of a ratio over clusters); N. Dean and
    M. Pagano, Evaluating confidence interval methods for binomial proportions in clustered surveys, J. Surv. Stat.
    Methodol. 3 (2015) 484-503 (Wilson interval with the effective sample size).

    Args:
        groups: group -> whether each of its samples is a success.
        level: of the interval.

    Example:
        >>> value = proportion_by_group({"clip-1": [True] * 4, "clip-2": [True] * 4, "clip-3": [False, True] * 2})
        >>> round(value.value, 3), value.count, value.groups
        (0.833, 12, 3)
        >>> value.low < proportion(10, 12).low
        True
    """
    members = [list(map(bool, items)) for _, items in sorted(groups.items()) if len(items)]
    count, number = sum(map(len, members)), len(members)
    if number == count:
        return replace(proportion(sum(map(sum, members)), count, level=level), groups=number)
    rate = sum(map(sum, members)) / count
    residuals = sum((sum(items) - rate * len(items)) ** 2 for items in members)
    variance = number / (number - 1) * residuals / count**2 if number > 1 else math.nan
    effective = effective_count(rate, variance, count=count, groups=number, level=level)
    low, high = wilson_interval(rate, effective, level=level)
    return MetricValue(
        value=rate, low=low, high=high, level=level, method="wilson by group", count=count, groups=number
    )
