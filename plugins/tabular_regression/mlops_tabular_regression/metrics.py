"""Metrics of a regression: squared and absolute error, explained variance, coverage and width of the intervals."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from dataclasses import dataclass
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
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mlops_core import Prediction, Predictions

    Numbers = NDArray[np.float64]

_SECTION = "regression_metrics"
MSE_THRESHOLD = "mse_threshold"
DEFAULT_MSE_THRESHOLD = 6.0
_LEVEL = 0.95
_LEVEL_NOTE = "interval_level"
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
        defined_by=(_LEVEL_NOTE,),
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
        defined_by=(_LEVEL_NOTE,),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Predictions as columns, each (rows,); `interval` has lower and upper ends, (rows, 2), or no row at all.

    Attributes:
        names: names of the groups.
        groups: group of each row, from 0.
        levels: the levels of the intervals.
    """

    target: Numbers
    predicted: Numbers
    names: NDArray[np.str_]
    groups: NDArray[np.intp]
    interval: Numbers
    levels: frozenset[float]

    @classmethod
    def of(cls, rows: Sequence[Prediction]) -> _Rows:
        """Read each row once, because a row is made when it is read."""
        import numpy as np

        target, predicted, ends = array("d"), array("d"), array("d")
        groups: list[str] = []
        levels: set[float] = set()
        for row in rows:
            target.append(float(row.label))
            predicted.append(row.scores[0])
            groups.append(row.group)
            if row.interval:
                ends.extend((row.interval.low, row.interval.high))
                levels.add(row.interval.level)
        names, codes = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
        interval = np.array(ends).reshape(-1, 2)
        return cls(
            target=np.array(target),
            predicted=np.array(predicted),
            names=names,
            groups=codes,
            # A share of the rows would be misleading.
            interval=interval if len(interval) == len(target) else interval[:0],
            levels=frozenset(levels),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statistic:
    """A metric that is a function of sums over rows.

    Attributes:
        items: one array per sum, each (rows,).
        compute: the function; the sums are in the last axis.
        deviation: standard deviation to report with the value.
    """

    items: Sequence[Numbers]
    compute: Callable[[Numbers], Numbers]
    deviation: float | None = None


def compute_metrics(predictions: Predictions) -> MetricReport:
    """Return all metrics with intervals that count groups: of the bootstrap, and Wilson's for the coverage."""
    import numpy as np

    rows = _Rows.of(predictions.rows)
    errors = rows.target - rows.predicted
    statistics = {
        "mse": _mean(errors**2, deviation=float(errors.std()) if len(errors) else None),
        "mae": _mean(np.abs(errors)),
        "r2": _explained(errors, rows.target),
    }
    has_intervals = len(rows.interval) > 0
    if has_intervals:
        statistics["interval_width"] = _mean(rows.interval[:, 1] - rows.interval[:, 0])
    values = _resampled(statistics, rows.groups)
    if has_intervals:
        values = {**values, "interval_coverage": _coverage(rows), "interval_width": values.pop("interval_width")}
    notes: dict[str, str | int | float] = {"rows": len(rows.target), "groups": len(rows.names)}
    if len(rows.levels) == 1:
        notes[_LEVEL_NOTE] = next(iter(rows.levels))
    return MetricReport(values=values, notes=notes)


def _coverage(rows: _Rows) -> MetricValue:
    is_inside = (rows.interval[:, 0] <= rows.target) & (rows.target <= rows.interval[:, 1])
    by_group: defaultdict[str, list[bool]] = defaultdict(list)
    names = rows.names.tolist()
    for group, inside in zip(rows.groups.tolist(), is_inside.tolist(), strict=True):
        by_group[names[group]].append(inside)
    return proportion_by_group(by_group)


def _mean(items: Numbers, *, deviation: float | None = None) -> _Statistic:
    import numpy as np

    return _Statistic(
        items=[items, np.ones(len(items))], compute=lambda sums: sums[..., 0] / sums[..., 1], deviation=deviation
    )


def _explained(errors: Numbers, target: Numbers) -> _Statistic:
    """Return R²: 1 - sum of squared errors / sum of squared distances from the mean, from sums over groups."""
    import numpy as np

    centred = target - target.mean() if len(target) else target  # keeps the variance and improves its precision

    def compute(sums: Numbers) -> Numbers:
        squared, total, squares, count = (sums[..., index] for index in range(4))
        spread = squares - total**2 / count
        with np.errstate(all="ignore"):
            return np.where(spread > 0, 1 - squared / spread, np.nan)

    return _Statistic(items=[errors**2, centred, centred**2, np.ones(len(target))], compute=compute)


def _resampled(statistics: Mapping[str, _Statistic], groups: NDArray[np.intp]) -> dict[str, MetricValue]:
    """Return statistics with a percentile bootstrap interval that draws whole groups, with replacement.

    All of them use the same draws.
    Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.

    Args:
        statistics: name -> statistic.
        groups: group of each row, (rows,), from 0.
    """
    import numpy as np

    if not len(groups):
        nothing = MetricValue(value=math.nan, low=math.nan, high=math.nan, method="bootstrap")
        return dict.fromkeys(statistics, nothing)
    sums: dict[str, Numbers] = {
        name: np.column_stack([np.bincount(groups, weights=item) for item in statistic.items])
        for name, statistic in statistics.items()
    }
    count = int(groups.max()) + 1
    resamples = max(100, min(_RESAMPLES, _DRAWS // count))
    drawn = {name: np.empty((resamples, one.shape[1])) for name, one in sums.items()}
    columns = {name: np.ascontiguousarray(one.T) for name, one in sums.items()}
    draw = np.random.default_rng(0)
    for index in range(resamples):
        times = np.bincount(draw.integers(0, count, count), minlength=count).astype(float)
        for name, one in columns.items():
            # Not a matrix product: the BLAS kernel of each processor adds in another order, which gives other bytes.
            drawn[name][index] = np.einsum("g,cg->c", times, one)
    return {name: _value(statistic, sums[name], drawn[name]) for name, statistic in statistics.items()}


def _value(statistic: _Statistic, sums: Numbers, drawn: Numbers) -> MetricValue:
    import numpy as np

    spread = statistic.compute(drawn)
    spread = spread[np.isfinite(spread)]
    low, high = np.quantile(spread, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]) if len(spread) else (math.nan, math.nan)
    return MetricValue(
        value=float(statistic.compute(sums.sum(axis=0))),
        low=float(low),
        high=float(high),
        level=_LEVEL,
        method="bootstrap",
        count=len(sums),
        groups=len(sums),
        standard_deviation=statistic.deviation,
    )
