"""The metrics of each group of the test set, and which metrics come first on the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlops_core.evaluation.metrics import Direction
from mlops_core.quantities import counted, format_number
from mlops_core.report.kit import Markup, Node, data_table, details, element, group, muted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.evaluation.metrics import GroupBreakdown, GroupMetrics, Metric, MetricReport
    from mlops_core.workspace.records import RunRecord

_HEADLINES = 4
_SHOWN_GROUPS = 8


def headline_metrics(record: RunRecord, metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Return the metrics that the gate judges, in its order; the first declared one where no gate was evaluated."""
    declared = {metric.name: metric for metric in metrics}
    judged = dict.fromkeys(clause.metric for clause in record.verdict.clauses) if record.verdict else {}
    return tuple(declared[name] for name in judged if name in declared)[:_HEADLINES] or tuple(metrics[:1])


def groups_part(record: RunRecord, metrics: Sequence[Metric], report: MetricReport) -> Markup | None:
    """Return the metrics of each group, the worst group first; None where every sample is its own group."""
    groups = report.groups
    if groups is None:
        return None
    lead = (
        f"The test set has {counted(groups.samples, 'sample')} in {counted(groups.count, 'group')}. Samples of a group "
        "are not independent, so the intervals count groups."
    )
    return group(
        element("h3", "Metrics by group"),
        element("p", muted(lead)),
        *_tables(groups, headline_metrics(record, metrics)),
    )


def _tables(groups: GroupBreakdown, metrics: Sequence[Metric]) -> list[Markup]:
    rows = [_row(name, found, metrics) for name, found in _worst_first(groups, metrics)]
    if not rows:
        return [element("p", muted("The metrics of a single group could not be computed."))]
    headings = ("Group", "Samples", *(metric.title or metric.name for metric in metrics))
    shown, folded = rows[:_SHOWN_GROUPS], rows[_SHOWN_GROUPS:]
    tables = [data_table("Metrics by group, the worst first", headings, shown, class_="groups")]
    if folded:
        table = data_table("More groups", headings, folded, class_="groups", is_caption_visible=False)
        tables.append(details(f"{len(folded)} more groups", table))
    if len(rows) < groups.count:
        tables.append(element("p", muted(f"Shown are the {len(rows)} groups with the most samples.")))
    return tables


def _worst_first(groups: GroupBreakdown, metrics: Sequence[Metric]) -> list[tuple[str, GroupMetrics]]:
    """Return the groups, ordered by the first metric."""
    if not metrics:
        return sorted(groups.metrics.items())
    first = metrics[0]
    sign = 1 if first.direction is Direction.HIGHER else -1

    def rank(item: tuple[str, GroupMetrics]) -> tuple[float, str]:
        name, found = item
        return sign * found.values.get(first.name, sign * math.inf), name

    return sorted(groups.metrics.items(), key=rank)


def _row(name: str, found: GroupMetrics, metrics: Sequence[Metric]) -> tuple[Node, ...]:
    return name, found.samples, *(format_number(found.values.get(metric.name)) for metric in metrics)
