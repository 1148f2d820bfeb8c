"""From predictions to an evaluation: the plugin's metrics, with intervals that respect the groups of the test set.

Where several rows of predictions belong to a group, an interval that counts rows as independent is too narrow. Core
replaces such an interval of a plugin, whatever the metric is, by one from the spread of the metric over the groups: the
metric is computed again without each group in turn. The value itself is always the plugin's.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError
from mlops_core.evaluation.intervals import effective_count, student_quantile, wilson_interval
from mlops_core.evaluation.metrics import GroupBreakdown, GroupMetrics, MetricReport
from mlops_core.steps.groups import SampleGroups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlops_core.evaluation.metrics import Metric, MetricValue
    from mlops_core.predictions import Predictions

    ComputeMetrics = Callable[[Predictions], MetricReport]

_BLOCKS = 30
"""So often is a metric computed again; more groups than this are left out in blocks of several groups."""
_SHOWN_GROUPS = 200
"""Of so many groups, those with the most samples, the metrics are kept."""


def evaluate_predictions(
    predictions: Predictions, compute: ComputeMetrics, *, metrics: Sequence[Metric]
) -> MetricReport:
    """Return the metrics of `predictions`, with intervals by group and the metrics of each group.

    Args:
        predictions: all rows of the test set, at least one.
        compute: the plugin's metrics of predictions; called again for parts of them.
        metrics: the declared metrics.
    """
    report = compute(predictions)
    groups = SampleGroups(predictions.rows)
    if len(groups) == len(predictions.rows):
        return report
    wrong = [name for name, value in report.values.items() if _ignores_groups(value, groups=len(groups))]
    if wrong:
        declared = {metric.name: metric for metric in metrics}
        samples = _replicates(predictions, groups, compute)
        values = {
            name: _by_group(report.values[name], declared.get(name), [one.get(name) for one in samples], len(groups))
            for name in wrong
        }
        report = replace(report, values={**report.values, **values})
    count, sizes = groups.samples()
    if len(groups) == count:  # the parts of a sample are its group
        return report
    found = _metrics_by_group(predictions, groups, sizes, compute=compute, metrics=metrics)
    return replace(report, groups=GroupBreakdown(count=len(groups), samples=count, metrics=found))


def _ignores_groups(value: MetricValue, *, groups: int) -> bool:
    if value.method == "none" or not math.isfinite(value.value):
        return False
    units = value.groups or (value.count if value.method == "bootstrap" else 0)
    return not 0 < units <= groups


def _replicates(predictions: Predictions, groups: SampleGroups, compute: ComputeMetrics) -> list[Mapping[str, float]]:
    """Return the metrics without each block of groups in turn; empty where they cannot be computed from a part."""
    blocks = _blocks(groups)
    count = min(_BLOCKS, len(groups))
    if count == 1:
        return []
    replicates: list[Mapping[str, float]] = []
    for block in range(count):
        rows = groups.without(lambda group, block=block: blocks[group] == block)  # type: ignore[misc]
        try:
            report = compute(replace(predictions, rows=rows))
        except MlopsError:
            return []
        replicates.append({name: value.value for name, value in report.values.items()})
    return replicates


def _blocks(groups: SampleGroups) -> bytearray:
    """Return the block of each group; blocks have about equal size and nothing to do with the names."""
    ranked = sorted(
        hashlib.sha256(groups.name(group).encode(errors="surrogateescape")).digest()[:16] + group.to_bytes(4, "big")
        for group in groups
    )
    count = min(_BLOCKS, len(groups))
    blocks = bytearray(len(groups))
    for rank, entry in enumerate(ranked):
        blocks[int.from_bytes(entry[16:], "big")] = rank % count
    return blocks


def _by_group(
    value: MetricValue, metric: Metric | None, replicates: Sequence[float | None], groups: int
) -> MetricValue:
    """Return a value with an interval by the grouped jackknife: the spread of the value without each block of groups.

    A proportion has a Wilson interval for as many independent samples as have that spread; another metric has one of
    Student's distribution, within the metric's range. Where the metric cannot be computed from a part of the
    predictions, a proportion counts each group as one sample and another metric has no interval.
    Source: J. Shao and D. Tu, The Jackknife and Bootstrap (1995), ch. 2 (variance (B-1)/B times the sum of squares).
    """
    known = [number for number in replicates if number is not None and math.isfinite(number)]
    is_known = len(known) == len(replicates) > 1
    mean = sum(known) / len(known) if known else math.nan
    size = len(known)
    variance = (size - 1) / size * sum((number - mean) ** 2 for number in known) if is_known else math.nan
    if value.method.startswith("wilson") and 0 <= value.value <= 1:
        effective = effective_count(
            value.value, variance, count=value.count, groups=groups, units=size if is_known else 1, level=value.level
        )
        low, high = wilson_interval(value.value, effective, level=value.level)
        return replace(value, low=low, high=high, method="wilson by group", groups=groups)
    if not is_known:
        return replace(value, low=math.nan, high=math.nan, method="none", groups=groups)
    half = student_quantile(value.level, size - 1) * math.sqrt(variance)
    minimum, maximum = (metric.minimum, metric.maximum) if metric else (-math.inf, math.inf)
    low, high = max(minimum, value.value - half), min(maximum, value.value + half)
    return replace(
        value, low=min(low, value.value), high=max(high, value.value), method="jackknife by group", groups=groups
    )


def _metrics_by_group(
    predictions: Predictions,
    groups: SampleGroups,
    sizes: Sequence[int],
    *,
    compute: ComputeMetrics,
    metrics: Sequence[Metric],
) -> dict[str, GroupMetrics]:
    """Return the metrics of the groups with the most samples, by name."""
    shown = heapq.nsmallest(_SHOWN_GROUPS, groups, key=lambda group: (-sizes[group], groups.name(group)))
    members = groups.members(shown)
    found = {}
    for group in sorted(shown, key=groups.name):
        try:
            report = compute(replace(predictions, rows=members[group]))
        except MlopsError:  # this metric needs more than one group
            return {}
        values = {
            metric.name: report.values[metric.name].value
            for metric in metrics
            if metric.name in report.values and not metric.fault(report.values[metric.name].value)
        }
        found[groups.name(group)] = GroupMetrics(samples=sizes[group], values=values)
    return found
