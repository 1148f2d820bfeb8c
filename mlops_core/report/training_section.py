"""Training curves of each training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.quantities import format_number
from mlops_core.report.blocks import PageSection, code, data_table, details, missing_note
from mlops_core.report.charts import curve_chart
from mlops_core.report.facts import Missing
from mlops_core.report.histories import thinned
from mlops_core.report.markup import Markup, Node, element, group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.report.evidence import Evidence
    from mlops_core.report.histories import History, Series

_TABLE_ROWS = 50


def training_section(evidence: Evidence) -> PageSection:
    """Return the curves of every training step."""
    bodies = (
        _curves(found) if not isinstance(found, Missing) else missing_note(found.reason) for found in evidence.histories
    )
    return PageSection(anchor="training", title="Training", body=group(*bodies))


def _curves(history: History) -> Markup:
    charts = history.charts()
    return group(
        element("h3", "Step ", code(history.step), ", output ", code(history.output)),
        element("div", *(_figure(history, name, curves) for name, curves in charts.items()), class_="charts"),
        details("The curves as a table", _table(history)),
    )


def _figure(history: History, quantity: str, curves: Sequence[Series]) -> Markup:
    told = "; ".join(
        f"{series.name} from {format_number(series.points[0][1])} to {format_number(series.points[-1][1])}"
        for series in curves
    )
    label = f"{quantity} by {history.x_label}: {told}"
    return element(
        "figure",
        element("figcaption", quantity.replace("_", " ")),
        element("ul", *map(_legend, curves), class_="legend"),
        curve_chart(curves, x_label=history.x_label, label=label),
        element("output", _last(curves), class_="readout"),
        class_="curves",
    )


def _legend(series: Series) -> Markup:
    kind = "held-out" if series.is_held_out else "training"
    return element("li", element("span", class_=f"mark line {kind}", aria_hidden="true"), series.name.replace("_", " "))


def _last(curves: Sequence[Series]) -> str:
    return "at the end: " + ", ".join(
        f"{series.name.replace('_', ' ')} {format_number(series.points[-1][1])}" for series in curves
    )


def _table(history: History) -> Markup:
    columns = [dict(series.points) for series in history.series]
    xs = sorted({x for column in columns for x in column})
    kept = [x for x, _ in thinned([(x, columns[0].get(x, 0.0)) for x in xs], limit=_TABLE_ROWS)]
    rows: list[tuple[Node, ...]] = [
        (format_number(x), *(format_number(column.get(x)) for column in columns)) for x in kept
    ]
    headings = (history.x_label, *(series.name for series in history.series))
    return data_table(f"History of step {history.step}", headings, rows)
