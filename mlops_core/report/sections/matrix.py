"""Confusion matrices as tables, one tab each, with counts or row shares, and the most frequent confusions.

Tabs and switches are radio buttons styled by the style sheet: they work without a script and with the keyboard.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlops_core.report.facts import Missing
from mlops_core.report.kit import Markup, PageSection, element, group, missing_note, muted, share_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_core.evaluation.confusion import ConfusionMatrix
    from mlops_core.evaluation.metrics import MetricReport
    from mlops_core.report.evidence import Evidence

_LEVELS = 10
_DRAWN_CLASSES = 120
"""A larger matrix would be unreadable and too big for the page; only its most frequent confusions are listed."""
_DENSE_CLASSES = 16
_TABS = 6
_CONFUSIONS = 10


def matrix_section(evidence: Evidence) -> PageSection:
    """Return all confusion matrices of the evaluation."""
    report = evidence.facts.evaluation
    matrices = {} if isinstance(report, Missing) else _usable(report)
    title = "Confusion matrices" if len(matrices) > 1 else "Confusion matrix"
    if not matrices:
        reason = report.reason if isinstance(report, Missing) else "the evaluation contains no confusion matrix."
        return PageSection(anchor="confusion", title=title, body=missing_note(reason))
    return PageSection(
        anchor="confusion",
        title=title,
        lead="Rows are true classes, columns are predicted classes. Colour shows the share of the row.",
        body=element("div", *_switches(list(matrices)), *map(_panel, matrices.items()), class_="matrices"),
    )


def _usable(report: MetricReport) -> dict[str, ConfusionMatrix]:
    """Return the matrices that are square and hold counts; an edited file may contain anything."""
    return {
        name: matrix
        for name, matrix in list(report.confusion_matrices.items())[:_TABS]
        if matrix.classes
        and len(matrix.counts) == len(matrix.classes)
        and all(len(row) == len(matrix.classes) for row in matrix.counts)
        and all(_is_count(count) for row in matrix.counts for count in row)
    }


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _switches(names: Sequence[str]) -> Iterator[Markup]:
    if len(names) > 1:
        tabs = [(f"tab-{number}", f"By {name}") for number, name in enumerate(names)]
        yield _radio_buttons("Matrix", "matrix", tabs)
    yield _radio_buttons("Cells", "cells", [("counts", "Counts"), ("shares", "Row shares")])


def _radio_buttons(legend: str, name: str, choices: Sequence[tuple[str, str]]) -> Markup:
    options = []
    for number, (value, text) in enumerate(choices):
        identity = f"{name}-{value}"
        options.append(
            element("input", type="radio", name=name, id=identity, value=value, checked=number == 0, autocomplete="off")
        )
        options.append(element("label", text, for_=identity))
    return element("fieldset", element("legend", legend), *options, class_="switch")


def _panel(item: tuple[str, ConfusionMatrix]) -> Markup:
    name, matrix = item
    size = len(matrix.classes)
    if size > _DRAWN_CLASSES:
        table = missing_note(f"a matrix of {size} classes is too large to draw. Its most frequent confusions follow.")
    else:
        label = f"Confusion matrix by {name}"
        hint = element("p", f"Scroll sideways for all {size} columns →", class_="scroll-hint muted small")
        scroll = element("div", _table(name, matrix), class_="scroll", tabindex=0, role="region", aria_label=label)
        table = element("div", hint, scroll)
    layout = "panel side-by-side" if size <= _DENSE_CLASSES else "panel"
    return element("div", table, element("div", _confusions(name, matrix)), class_=layout)


def _table(name: str, matrix: ConfusionMatrix) -> Markup:
    head = element(
        "tr",
        element("td", element("span", "true class"), class_="corner"),
        *(element("th", element("span", label), scope="col", title=label) for label in matrix.classes),
        element("th", element("span", "recall"), scope="col", class_="total"),
        element("th", element("span", "count"), scope="col", class_="total"),
    )
    totals = [sum(column) for column in zip(*matrix.counts, strict=True)]
    precisions = (_share_text(matrix.counts[number][number], total) for number, total in enumerate(totals))
    foot = element(
        "tr",
        element("th", "precision", scope="row"),
        *(element("td", precision, class_="total") for precision in precisions),
        element("td", class_="total"),
        element("td", _count_text(sum(totals)), class_="total"),
    )
    return element(
        "table",
        element("caption", f"Confusion matrix by {name}: rows are true classes, columns are predicted classes"),
        element("thead", head),
        element("tbody", *(_row(matrix, number) for number in range(len(matrix.classes)))),
        element("tfoot", foot),
        class_="matrix dense" if len(matrix.classes) > _DENSE_CLASSES else "matrix",
    )


def _row(matrix: ConfusionMatrix, row: int) -> Markup:
    counts = matrix.counts[row]
    total = sum(counts)
    return element(
        "tr",
        element("th", element("span", matrix.classes[row]), scope="row", title=matrix.classes[row]),
        *(_cell(count, total, is_right=column == row) for column, count in enumerate(counts)),
        element("td", _share_text(counts[row], total), class_="total"),
        element("td", _count_text(total), class_="total"),
    )


def _cell(count: float, total: float, *, is_right: bool) -> Markup:
    if not count:
        return element("td", class_="right" if is_right else None)
    level = max(1, round(count / total * _LEVELS))
    return element(
        "td",
        element("span", _count_text(count), class_="n"),
        element("span", _share_text(count, total), class_="s"),
        class_=f"{'right' if is_right else 'wrong'} l{level}",
    )


def _count_text(count: float) -> str:
    return str(int(count)) if count == int(count) else f"{count:g}"


def _share_text(part: float, whole: float) -> str:
    if not whole:
        return "-"
    share = part / whole
    return f"{share:.2f}".removeprefix("0") if 0 < share < 1 else f"{share:g}"


def _confusions(name: str, matrix: ConfusionMatrix) -> Markup:
    confusions = sorted(
        (-count, row, column)
        for row, counts in enumerate(matrix.counts)
        for column, count in enumerate(counts)
        if count and row != column
    )
    if not confusions:
        return element("p", muted("No sample was misclassified."))
    items = (_confusion(matrix, row, column) for _, row, column in confusions[:_CONFUSIONS])
    return group(
        element("h3", "Most frequent confusions"),
        element("ol", *items, class_="confusions", aria_label=f"Most frequent confusions by {name}"),
    )


def _confusion(matrix: ConfusionMatrix, row: int, column: int) -> Markup:
    count, total = matrix.counts[row][column], sum(matrix.counts[row])
    truth, prediction = matrix.classes[row], matrix.classes[column]
    label = f"{count / total:.0%} of {truth} predicted as {prediction}"
    return element(
        "li",
        element("span", element("strong", truth), " predicted as ", element("strong", prediction)),
        element("span", f"{_count_text(count)} of {_count_text(total)}", class_="muted"),
        share_bar(count / total, kind="wrong", label=label),
    )
