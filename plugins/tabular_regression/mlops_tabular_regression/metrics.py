"""Metrics of a regression: squared and absolute error, explained variance, coverage and width of the intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from mlops_core import (
    Comparison,
    Direction,
    Gate,
    Metric,
    MetricReport,
    MetricValue,
    Operator,
    Unit,
    proportion_by_group,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mlops_core import Prediction, Predictions

    Numbers = NDArray[np.float64]

_SECTION = "regression_metrics"
MSE_THRESHOLD = "mse_threshold"
DEFAULT_MSE_THRESHOLD = 6.0
_LEVEL = 0.95
_RESAMPLES = 1000
_DRAWS = 20_000_000
"""Maximum number of drawn groups in total, which bounds the time; with many groups fewer resamples are enough."""

METRICS = (
    Metric(
        name="mse",
        section=_SECTION,
        unit=Unit.TARGET_SQUARED,
        minimum=0.0,
        maximum=math.inf,
        direction=Direction.LOWER,
        title="Mean squared error",
        job_name="mse",
        log_regex=r"Mean squared error on test set : ([0-9\\.]+)",
        description="Mean of the squared errors; its standard deviation is that of the errors, in the target's unit.",
    ),
    Metric(
        name="mae",
        section=_SECTION,
        unit=Unit.TARGET,
        minimum=0.0,
        maximum=math.inf,
        direction=Direction.LOWER,
        title="Mean absolute error",
        job_name="mae",
        log_regex=r"Mean absolute error on test set : ([0-9\\.]+)",
        description="Mean distance between prediction and truth.",
    ),
    Metric(
        name="r2",
        section=_SECTION,
        unit=Unit.NONE,
        minimum=-math.inf,
        maximum=1.0,
        direction=Direction.HIGHER,
        title="R squared",
        description="Share of the target's variance that is explained; 0 for a model that always says the mean.",
    ),
    Metric(
        name="interval_coverage",
        section=_SECTION,
        unit=Unit.FRACTION,
        minimum=0.0,
        maximum=1.0,
        direction=Direction.HIGHER,
        title="Interval coverage",
        description="Share of true values inside the interval of their prediction; to be compared with its level.",
    ),
    Metric(
        name="interval_width",
        section=_SECTION,
        unit=Unit.TARGET,
        minimum=0.0,
        maximum=math.inf,
        direction=Direction.LOWER,
        title="Interval width",
        description="Mean width of the intervals; at equal coverage the narrower is the better.",
    ),
)

GATE = Gate(
    Comparison(
        metric="mse",
        operator=Operator.AT_MOST,
        threshold=MSE_THRESHOLD,
        message="Execution failed due to MSE >",
    )
)


def compute_metrics(predictions: Predictions) -> MetricReport:
    """Return all metrics with intervals that count groups: of the bootstrap, and Wilson's for the coverage."""
    import numpy as np

    rows = predictions.rows
    target = np.array([float(row.label) for row in rows])
    predicted = np.array([row.scores[0] for row in rows])
    groups = np.unique([row.group for row in rows], return_inverse=True)[1] if rows else np.empty(0, dtype=np.intp)
    errors = target - predicted
    values = {
        "mse": _mean(errors**2, groups, deviation=float(errors.std()) if rows else None),
        "mae": _mean(np.abs(errors), groups),
        "r2": _explained(errors, target, groups),
        **_interval_metrics(rows, groups),
    }
    notes: dict[str, str | int | float] = {"rows": len(rows), "groups": len(set(groups.tolist()))}
    levels = {row.interval.level for row in rows if row.interval}
    if len(levels) == 1:
        notes["interval_level"] = levels.pop()
    return MetricReport(values=values, notes=notes)


def _interval_metrics(rows: Sequence[Prediction], groups: NDArray[np.intp]) -> dict[str, MetricValue]:
    """Return coverage and width; neither if a row has no interval, because a share of the rows would be misleading."""
    import numpy as np

    intervals = [row.interval for row in rows if row.interval]
    if not rows or len(intervals) < len(rows):
        return {}
    is_inside: defaultdict[str, list[bool]] = defaultdict(list)
    for row, one in zip(rows, intervals, strict=True):
        is_inside[row.group].append(one.low <= float(row.label) <= one.high)
    width = np.array([one.high - one.low for one in intervals])
    return {
        "interval_coverage": proportion_by_group(is_inside),
        "interval_width": _mean(width, groups),
    }


def _mean(items: Numbers, groups: NDArray[np.intp], *, deviation: float | None = None) -> MetricValue:
    import numpy as np

    return _resampled(
        [items, np.ones(len(items))], groups, lambda sums: sums[..., 0] / sums[..., 1], deviation=deviation
    )


def _explained(errors: Numbers, target: Numbers, groups: NDArray[np.intp]) -> MetricValue:
    """Return R²: 1 - sum of squared errors / sum of squared distances from the mean, from sums over groups."""
    import numpy as np

    centred = target - target.mean() if len(target) else target  # keeps the variance and improves its precision

    def statistic(sums: Numbers) -> Numbers:
        squared, total, squares, count = (sums[..., index] for index in range(4))
        spread = squares - total**2 / count
        with np.errstate(all="ignore"):
            return np.where(spread > 0, 1 - squared / spread, np.nan)

    return _resampled([errors**2, centred, centred**2, np.ones(len(target))], groups, statistic)


def _resampled(
    items: Sequence[Numbers],
    groups: NDArray[np.intp],
    statistic: Callable[[Numbers], Numbers],
    *,
    deviation: float | None = None,
) -> MetricValue:
    """Return a statistic of sums with a percentile bootstrap interval that draws whole groups, with replacement.

    Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.

    Args:
        items: one array per sum, each (rows,).
        groups: group of each row, (rows,), from 0.
        statistic: function of the sums, which are in the last axis.
        deviation: standard deviation to report with the value.
    """
    import numpy as np

    if not len(groups):
        return MetricValue(value=math.nan, low=math.nan, high=math.nan, method="bootstrap")
    sums = np.column_stack([np.bincount(groups, weights=item) for item in items])
    draw = np.random.default_rng(0)
    count = len(sums)
    resamples = max(100, min(_RESAMPLES, _DRAWS // count))
    drawn = np.empty((resamples, sums.shape[1]))
    for index in range(resamples):
        times = np.bincount(draw.integers(0, count, count), minlength=count)
        drawn[index] = times @ sums
    spread = statistic(drawn)
    spread = spread[np.isfinite(spread)]
    low, high = np.quantile(spread, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]) if len(spread) else (math.nan, math.nan)
    return MetricValue(
        value=float(statistic(sums.sum(axis=0))),
        low=float(low),
        high=float(high),
        level=_LEVEL,
        method="bootstrap",
        count=count,
        groups=count,
        standard_deviation=deviation,
    )
