"""The training curves of each training step."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mlops_core.quantities import format_number
from mlops_core.report.facts import Missing
from mlops_core.report.histories import thinned
from mlops_core.report.kit import (
    Curve,
    Markup,
    Node,
    PageSection,
    code,
    curve_chart,
    data_table,
    details,
    element,
    group,
    legend,
    missing_note,
    muted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.report.evidence import Evidence
    from mlops_core.report.histories import History, Series

_TABLE_ROWS = 50
_HISTORIES = 24
_REASONS = 10


def training_section(evidence: Evidence) -> PageSection:
    """Return the curves of every training step."""
    shown: list[History | Missing] = []
    left: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for history in evidence.histories:
        what, limit = ("without curves", _REASONS) if isinstance(history, Missing) else ("with curves", _HISTORIES)
        taken[what] += 1
        if taken[what] <= limit:
            shown.append(history)
        else:
            left[what] += 1
    more = [f"and {count} more {what}" for what, count in left.items()]
    parts = (missing_note(part.reason) if isinstance(part, Missing) else _charts(part) for part in shown)
    return PageSection(
        anchor="training", title="Training curves", body=group(*parts, *(element("p", muted(text)) for text in more))
    )


def _charts(history: History) -> Markup:
    figures = (_figure(history, quantity, series) for quantity, series in history.charts().items())
    return group(
        element("h3", "Step ", code(history.step), ", output ", code(history.output)),
        element("div", *figures, class_="charts"),
        details("Show as a table", _table(history)),
    )


def _figure(history: History, quantity: str, series: Sequence[Series]) -> Markup:
    curves = [_curve(column) for column in series]
    changes = "; ".join(
        f"{curve.name} from {format_number(curve.points[0][1])} to {format_number(curve.points[-1][1])}"
        for curve in curves
    )
    return element(
        "figure",
        element("figcaption", quantity.replace("_", " ")),
        legend((f"line {curve.kind}", curve.name) for curve in curves),
        curve_chart(curves, x_label=history.x_label, label=f"{quantity} by {history.x_label}: {changes}"),
        element("output", _final_values(curves), class_="readout"),
        class_="curves",
    )


def _curve(series: Series) -> Curve:
    return Curve(
        name=series.name.replace("_", " "),
        kind="held-out" if series.is_held_out else "training",
        points=series.points,
    )


def _final_values(curves: Sequence[Curve]) -> str:
    return "final: " + ", ".join(f"{curve.name} {format_number(curve.points[-1][1])}" for curve in curves)


def _table(history: History) -> Markup:
    columns = [dict(series.points) for series in history.series]
    xs = sorted({x for column in columns for x in column})
    shown = [x for x, _ in thinned([(x, columns[0].get(x, 0.0)) for x in xs], limit=_TABLE_ROWS)]
    rows: list[tuple[Node, ...]] = [
        (format_number(x), *(format_number(column.get(x)) for column in columns)) for x in shown
    ]
    headings = (history.x_label, *(series.name for series in history.series))
    return data_table(f"Training history of step {history.step}", headings, rows, is_caption_visible=False)
