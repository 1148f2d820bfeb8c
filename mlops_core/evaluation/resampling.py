"""The bootstrap over groups: an interval for any statistic of items that are alike within their group."""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING, TypeVar

from mlops_core.evaluation.intervals import LEVEL
from mlops_core.evaluation.metrics import MetricValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    T = TypeVar("T")

_FULL_DRAWS = 20_000_000
"""Up to so many items in all resamples together, each draws as many groups as there are."""
_DRAWS = 2_000_000
"""Else so many are drawn: seconds for a statistic in Python."""
_FEWEST_GROUPS = 100
_FEWEST_RESAMPLES = 200


def bootstrap_by_group(
    groups: Mapping[str, Sequence[T]],
    statistic: Callable[[Sequence[T]], float],
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = LEVEL,
) -> MetricValue:
    """Return `statistic` of all items with a percentile bootstrap interval that resamples whole groups.

    Items of one group (the patches of one recording) are not independent, so groups are drawn, with replacement.
    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), ch. 13, percentile interval.

    The time is bounded. Where all resamples together would have more than 20 million items, each draws fewer groups, m
    of n, and the deviations from their mean are scaled by sqrt(m/n): at least 100 groups in at least 200 resamples.
    Of groups that are still too large, a random part is used, which makes the interval a little wider.
    Source: P. J. Bickel, F. Götze and W. R. van Zwet, Resampling fewer than n observations, Stat. Sin. 7 (1997) 1-31.

    A resample on which the statistic is NaN counts as the most extreme one at both ends; where there are more than the
    ends leave out, the interval is NaN.

    Args:
        groups: group -> its items.
        statistic: of a sequence of items; called with up to `resamples` lists of them.
        seed: of the resampling.
        resamples: how many; fewer for many items.
        level: of the interval.

    Example:
        >>> mean = lambda items: sum(items) / len(items)
        >>> value = bootstrap_by_group({"clip-1": [1, 0], "clip-2": [1, 1], "clip-3": [0, 1]}, mean, seed=1)
        >>> round(value.value, 3), round(value.low, 3), round(value.high, 3), value.count
        (0.667, 0.5, 1.0, 3)
    """
    pools = [groups[name] for name in sorted(groups) if len(groups[name])]
    if not pools:
        return MetricValue(value=math.nan, low=math.nan, high=math.nan, level=level, method="bootstrap")
    draw = random.Random(seed)  # noqa: S311  statistics, not secrets
    value = statistic(list(itertools.chain.from_iterable(pools)))
    count = len(pools)
    items = sum(map(len, pools))
    if count == 1:  # every resample of a single group is the group
        found = [value]
    elif items * resamples <= _FULL_DRAWS:
        found = [statistic(list(itertools.chain.from_iterable(draw.choices(pools, k=count)))) for _ in range(resamples)]
    else:
        found = _scaled_resamples(pools, statistic, draw, resamples=resamples, items=items, value=value)
    low, high = _percentiles(found, level=level)
    return MetricValue(
        value=value,
        low=low,
        high=high,
        level=level,
        method="bootstrap",
        count=count,
        groups=count,
    )


def _percentiles(found: Sequence[float], *, level: float) -> tuple[float, float]:
    """Return the ends of the interval; a resample without a value counts as the most extreme one at both ends."""
    known = sorted(one for one in found if not math.isnan(one))
    tail = (1 - level) / 2
    first, last = math.floor(tail * (len(found) - 1)), math.ceil((1 - tail) * (len(found) - 1))
    unknown = len(found) - len(known)
    low = known[first - unknown] if first >= unknown else math.nan
    return low, known[last] if last < len(known) else math.nan


def _scaled_resamples(
    pools: Sequence[Sequence[T]],
    statistic: Callable[[Sequence[T]], float],
    draw: random.Random,
    *,
    resamples: int,
    items: int,
    value: float,
) -> list[float]:
    """Return statistics as of resamples of all groups, from resamples of fewer groups."""
    count = len(pools)
    size = items / count
    drawn = min(count, max(_FEWEST_GROUPS, round(_DRAWS / (resamples * size))))
    resamples = min(resamples, max(_FEWEST_RESAMPLES, round(_DRAWS / (drawn * size))))
    share = _DRAWS / (resamples * drawn * size)
    if share < 1:
        pools = [draw.sample(pool, max(1, round(share * len(pool)))) for pool in pools]
    found = [statistic(list(itertools.chain.from_iterable(draw.choices(pools, k=drawn)))) for _ in range(resamples)]
    known = [one for one in found if math.isfinite(one)]
    if not known or not math.isfinite(value):
        return found
    mean, scale = math.fsum(known) / len(known), math.sqrt(drawn / count)
    return [value + scale * (one - mean) for one in found]
