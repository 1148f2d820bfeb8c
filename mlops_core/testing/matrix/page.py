"""The matrix as one self-contained HTML page: a section per use case with a row per runner.

On a narrow screen each row becomes a block of labelled values.
"""

from __future__ import annotations

import platform
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from mlops_core.quantities import format_duration
from mlops_core.report.kit import (
    BadgeKind,
    Markup,
    Node,
    PageSection,
    badge,
    code,
    data_table,
    element,
    group,
    lines,
    muted,
    render_page,
)
from mlops_core.testing.matrix.cells import metrics_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_core.testing.matrix.cells import Cell

_HEADINGS = ("Runner", "Outcome", "Metrics", "Outputs", "Duration", "Steps")
_STYLESHEET = """
@media (min-width: 721px) {
  .matrix-runs { table-layout: fixed; }
  .matrix-runs thead th:nth-child(1), .matrix-runs thead th:nth-child(4) { width: 14%; }
  .matrix-runs thead th:nth-child(3), .matrix-runs thead th:nth-child(6) { width: 16%; }
  .matrix-runs thead th:nth-child(5) { width: 9%; }
}
"""
_STATUS_KINDS: Mapping[str, BadgeKind] = {
    "accepted": "good",
    "rejected": "warn",
    "undecided": "warn",
    "failed": "bad",
    "broken": "bad",
}


def html_page(cells: Sequence[Cell], *, title: str) -> str:
    """Return the matrix as one page that needs no other file.

    Args:
        cells: grouped by use case, in order of the runners.
        title: heading of the page.
    """
    use_cases = [list(rows) for _, rows in groupby(cells, key=lambda cell: cell.use_case)]
    return render_page(
        title=title,
        brand="matrix",
        header=_header(cells, title=title),
        sections=[_section(number, rows) for number, rows in enumerate(use_cases)],
        stylesheet=_STYLESHEET,
        footer=(
            f"Python {platform.python_version()} on {platform.platform(terse=True)}. Each use case runs at its "
            "smallest configuration; its outputs on a runner are compared byte by byte with those on the first runner."
        ),
    )


def _header(cells: Sequence[Cell], *, title: str) -> Markup:
    counts = Counter(cell.status for cell in cells)
    badges = (group(_status(f"{count} {status}", status), " ") for status, count in counts.items())
    summary = group(*badges) if counts else "No use case is installed."
    return element("header", element("h1", title), element("p", summary, class_="outcome"), class_="page-header")


def _section(number: int, cells: Sequence[Cell]) -> PageSection:
    first = cells[0]
    rows = map(_row, cells)
    caption = f"Runs of {first.use_case}"
    table = data_table(caption, _HEADINGS, rows, class_="matrix-runs", is_caption_visible=False)
    lead = ", ".join(filter(None, (first.plugin, first.configuration)))
    return PageSection(anchor=f"use-case-{number}", title=first.use_case, lead=lead, body=table)


def _row(cell: Cell) -> tuple[Node, ...]:
    durations = (group(code(name), f" {format_duration(seconds)}") for name, seconds in cell.steps_s.items())
    return (
        cell.runner or muted("none"),
        lines(_status(cell.status, cell.status), muted(cell.message) if cell.message else None),
        lines(*_metrics(cell)),
        _comparison(cell),
        format_duration(cell.duration_s) if cell.duration_s else muted("-"),
        lines(*durations) if cell.steps_s else muted("-"),
    )


def _metrics(cell: Cell) -> Iterator[Node]:
    if not cell.metrics:
        yield muted("-")
    for phrase in metrics_text(cell).split():
        yield code(phrase)


def _status(text: str, status: str) -> Markup:
    return badge(text, _STATUS_KINDS.get(status, "plain"))


def _comparison(cell: Cell) -> Markup:
    if cell.is_same is None:
        return muted("not compared")
    return badge("identical", "good") if cell.is_same else badge("different", "bad")
