"""The metrics: each with its confidence interval, its thresholds and the value of the previous accepted run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from mlops_core.evaluation.comparability import INTERNAL_NOTES
from mlops_core.evaluation.metrics import MetricReport
from mlops_core.quantities import format_change, format_number
from mlops_core.report.comparison import Judgement, MetricComparison
from mlops_core.report.facts import Missing, basis_of
from mlops_core.report.kit import (
    BadgeKind,
    Curve,
    IntervalMark,
    Markup,
    Node,
    PageSection,
    Scale,
    badge,
    code,
    curve_chart,
    data_table,
    details,
    element,
    facts_list,
    group,
    interval_chart,
    legend,
    lines,
    missing_note,
    muted,
    nice_scale,
)
from mlops_core.report.sections.groups import groups_part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.datasets.inspections import FactTable
    from mlops_core.evaluation.curves import MetricCurves
    from mlops_core.evaluation.metrics import Metric, MetricValue
    from mlops_core.report.evidence import Evidence

_HEADINGS = ("Metric", "Value", "Confidence interval", "Range", "Threshold", "Previous accepted")
_SHOWN_NOTES = 12
_TONES: tuple[Literal["tone-1", "tone-2", "tone-3", "tone-4", "tone-5", "tone-6"], ...] = (
    *("tone-1", "tone-2", "tone-3", "tone-4", "tone-5", "tone-6"),
)
_JUDGEMENT_KINDS: Mapping[Judgement, BadgeKind] = {
    Judgement.BETTER: "good",
    Judgement.WORSE: "bad",
    Judgement.EQUAL: "plain",
    Judgement.UNKNOWN: "plain",
}


def metrics_section(evidence: Evidence) -> PageSection:
    """Return the table of metrics, with further tables and notes of the evaluation."""
    return PageSection(anchor="metrics", title="Metrics", body=_body(evidence))


def _body(evidence: Evidence) -> Markup:
    report = evidence.facts.evaluation
    if isinstance(report, Missing):
        return missing_note(report.reason)
    if not evidence.facts.metrics:
        return missing_note("the run record contains no readable metric declarations.")
    rows = [_row(evidence, metric, report) for metric in evidence.facts.metrics]
    return group(
        data_table(
            "Metrics with confidence intervals and gate thresholds",
            _HEADINGS,
            rows,
            class_="metrics",
            is_caption_visible=False,
        ),
        interval_legend(evidence),
        groups_part(evidence.record, evidence.facts.metrics, report),
        *map(_curves, report.curves),
        *map(_table, report.tables),
        _notes(report),
    )


def interval_legend(evidence: Evidence) -> Markup:
    """Return the legend of the interval charts."""
    marks = [("value", "value"), ("interval", "confidence interval"), ("threshold", "threshold")]
    if any(_previous_value(evidence, metric) for metric in evidence.facts.metrics):
        marks.append(("previous", "previous accepted run"))
    return legend(marks)


def _row(evidence: Evidence, metric: Metric, report: MetricReport) -> tuple[Node, ...]:
    value = report.values.get(metric.name)
    fault = metric.fault(value.value if value else None)
    mark = interval_mark(evidence, metric)
    label = f"{metric.title or metric.name}: {_description(value, mark.thresholds)}"
    return (
        lines(*_names(metric), _meaning(metric)),
        lines(element("strong", format_number(value.value if value else None)), badge(fault, "bad") if fault else None),
        lines(*_interval(value, report)) if value else "-",
        interval_chart(mark, metric_scale(metric, mark), label=label),
        lines(*map(format_number, mark.thresholds)) if mark.thresholds else muted("none"),
        _previous(evidence, metric),
    )


def _names(metric: Metric) -> tuple[Node, ...]:
    return (metric.title, code(metric.name)) if metric.title else (code(metric.name),)


def _meaning(metric: Metric) -> Markup:
    unit = "" if metric.unit == "none" else f" Unit: {metric.unit}."
    return muted(f"{metric.description} {metric.direction.capitalize()} is better.{unit}".strip())


def interval_text(value: MetricValue) -> str:
    """Return an interval as text, for example ``95% CI: 0.81 to 0.93``; "no interval" when there is none."""
    if not _has_interval(value):
        return "no interval"
    return f"{value.level * 100:g}% CI: {format_number(value.low)} to {format_number(value.high)}"


def _interval(value: MetricValue, report: MetricReport) -> tuple[Node, ...]:
    if not _has_interval(value):
        return ("no interval", muted(f"n = {value.count}") if value.count else None)
    method = f"{value.level * 100:g}%, {value.method}, {basis_of(value, report)}"
    caveat = badge(value.caveat, "warn") if value.caveat else None
    return f"{format_number(value.low)} to {format_number(value.high)}", muted(method), caveat


def _has_interval(value: MetricValue) -> bool:
    return math.isfinite(value.low) and math.isfinite(value.high) and value.method != "none"


def _description(value: MetricValue | None, thresholds: Sequence[float]) -> str:
    phrases = [format_number(value.value if value else None)]
    if value:
        phrases.append(interval_text(value))
    phrases += [f"threshold {format_number(threshold)}" for threshold in thresholds]
    return ", ".join(phrases)


def interval_mark(evidence: Evidence, metric: Metric, *, is_good: bool | None = None) -> IntervalMark:
    """Return the marks of a metric's chart; when `is_good` is None, all of the metric's clauses decide together."""
    report = evidence.facts.evaluation
    value = report.values.get(metric.name) if isinstance(report, MetricReport) else None
    verdict = evidence.record.verdict
    clauses = [clause for clause in verdict.clauses if clause.metric == metric.name] if verdict else []
    if is_good is None and clauses:
        is_good = all(clause.passed for clause in clauses)
    previous = _previous_value(evidence, metric)
    has_interval = value is not None and value.method != "none"
    return IntervalMark(
        value=value.value if value else None,
        low=value.low if value and has_interval else math.nan,
        high=value.high if value and has_interval else math.nan,
        thresholds=tuple(dict.fromkeys(clause.threshold for clause in clauses if clause.threshold is not None)),
        previous=previous.value if previous else None,
        is_good=is_good,
    )


def metric_scale(metric: Metric, mark: IntervalMark) -> Scale:
    """Return the metric's range; when it is unbounded, a scale that contains everything drawn."""
    if math.isfinite(metric.minimum) and math.isfinite(metric.maximum):
        return Scale(metric.minimum, metric.maximum)
    numbers = [mark.value, mark.low, mark.high, mark.previous, *mark.thresholds, metric.minimum, metric.maximum]
    return nice_scale(number for number in numbers if number is not None)


def _previous_value(evidence: Evidence, metric: Metric) -> MetricValue | None:
    """Return the value of the previous accepted run; None unless it may be compared with that of this run."""
    runs = evidence.comparison
    comparison = None if isinstance(runs, Missing) else runs.metric(metric.name)
    return comparison.earlier if comparison and comparison.is_comparable else None


def _previous(evidence: Evidence, metric: Metric) -> Node:
    runs = evidence.comparison
    if isinstance(runs, Missing):
        return muted("none")
    comparison = runs.metric(metric.name)
    if comparison is None or comparison.earlier is None:
        return muted("not measured")
    return lines(
        format_number(comparison.earlier.value),
        badge("different test set", "plain") if runs.is_same_test_set is False else change_badge(comparison),
    )


def change_badge(comparison: MetricComparison) -> Markup:
    """Return the change of a metric with its judgement."""
    if comparison.change is None:
        return badge(str(comparison.judgement), "plain")
    if comparison.judgement is Judgement.EQUAL:
        return badge("equal", "plain")
    kind = "plain" if comparison.is_within_intervals else _JUDGEMENT_KINDS[comparison.judgement]
    return group(
        badge(f"{format_change(comparison.change)} {comparison.judgement}", kind),
        element("span", " intervals overlap", class_="muted small") if comparison.is_within_intervals else None,
    )


def _table(table: FactTable) -> Markup:
    rows = ([_cell(value) for value in row] for row in table.rows)
    return group(element("h3", table.title), data_table(table.title, table.columns, rows, is_caption_visible=False))


def _curves(found: MetricCurves) -> Markup:
    curves = [
        Curve(name=name, kind=kind, points=points)
        for (name, points), kind in zip(found.lines.items(), _TONES, strict=False)
    ]
    figure = element(
        "figure",
        element("figcaption", f"{found.y_label} by {found.x_label}"),
        legend((f"line {curve.kind}", curve.name) for curve in curves),
        curve_chart(curves, x_label=found.x_label, label=f"{found.title}: {', '.join(found.lines)}"),
        element("output", class_="readout"),
        class_="curves",
    )
    return group(element("h3", found.title), element("div", figure, class_="charts"))


def _cell(value: object) -> str:
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return format_number(float(value)) if is_number else str(value)  # type: ignore[arg-type]  # mypy forgets is_number


def _notes(report: MetricReport) -> Markup | None:
    notes: dict[str, Node] = {
        name.replace("_", " "): code(str(value)) for name, value in report.notes.items() if name not in INTERNAL_NOTES
    }
    if not notes:
        return None
    if len(notes) > _SHOWN_NOTES:
        return details(f"{len(notes)} evaluation notes", facts_list(notes))
    return group(element("h3", "Evaluation notes"), facts_list(notes))
