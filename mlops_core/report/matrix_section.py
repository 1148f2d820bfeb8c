"""Confusion matrices as tables, one tab each, in counts or in shares of a row; and the most frequent confusions.

Tabs and switches are radio buttons and style sheet only: they work without a script and by keyboard.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlops_core.report.blocks import PageSection, missing_note, muted
from mlops_core.report.charts import share_bar
from mlops_core.report.facts import Missing
from mlops_core.report.markup import Markup, element, group

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_core.metrics import ConfusionMatrix, MetricReport
    from mlops_core.report.evidence import Evidence

_LEVELS = 10
_DRAWN_CLASSES = 120
"""A larger matrix could not be read, and would not fit into the page; its worst confusions are listed all the same."""
_DENSE_CLASSES = 16
_TABS = 6
_CONFUSIONS = 10


def matrix_section(evidence: Evidence) -> PageSection:
    """Return all confusion matrices."""
    report = evidence.facts.evaluation
    title = "Confusion matrices"
    if isinstance(report, Missing):
        return PageSection(anchor="confusion", title=title, body=missing_note(report.reason))
    matrices = _usable(report)
    if not matrices:
        reason = "the evaluation holds no confusion matrix."
        return PageSection(anchor="confusion", title=title, body=missing_note(reason))
    return PageSection(
        anchor="confusion",
        title=title,
        lead="Rows are the truth, columns what the model said; the stronger a colour, the larger its share of the row.",
        body=element("div", *_switches(list(matrices)), *map(_panel, matrices.items()), class_="matrices"),
    )


def _usable(report: MetricReport) -> dict[str, ConfusionMatrix]:
    """Return the matrices that are square; a file that was changed by hand may hold anything."""
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
        yield _radios("Matrix", "matrix", [(f"tab-{at}", f"By {name}") for at, name in enumerate(names)])
    yield _radios("Cells show", "cells", [("counts", "Counts"), ("shares", "Shares of the row")])


def _radios(legend: str, name: str, choices: Sequence[tuple[str, str]]) -> Markup:
    options = []
    for at, (value, text) in enumerate(choices):
        identity = f"{name}-{value}"
        options.append(
            element("input", type="radio", name=name, id=identity, value=value, checked=at == 0, autocomplete="off")
        )
        options.append(element("label", text, for_=identity))
    return element("fieldset", element("legend", legend), *options, class_="switch")


def _panel(item: tuple[str, ConfusionMatrix]) -> Markup:
    name, matrix = item
    size = len(matrix.classes)
    if size > _DRAWN_CLASSES:
        drawn = missing_note(f"{size} classes are too many to be drawn; the confusions below are of all of them.")
    else:
        drawn = element(
            "div",
            _table(name, matrix),
            class_="scroll",
            tabindex=0,
            role="region",
            aria_label=f"Confusion matrix by {name}",
        )
    layout = "panel side-by-side" if size <= _DENSE_CLASSES else "panel"
    return element("div", drawn, element("div", _confusions(name, matrix)), class_=layout)


def _table(name: str, matrix: ConfusionMatrix) -> Markup:
    head = element(
        "tr",
        element("td", element("span", "truth"), class_="corner"),
        *(element("th", element("span", label), scope="col", title=label) for label in matrix.classes),
        element("th", element("span", "recall"), scope="col", class_="total"),
        element("th", element("span", "count"), scope="col", class_="total"),
    )
    totals = [sum(column) for column in zip(*matrix.counts, strict=True)]
    foot = element(
        "tr",
        element("th", "precision", scope="row"),
        *(element("td", _share_text(matrix.counts[at][at], total), class_="total") for at, total in enumerate(totals)),
        element("td", class_="total"),
        element("td", sum(totals), class_="total"),
    )
    return element(
        "table",
        element("caption", f"Confusion matrix by {name}: truth in rows, prediction in columns"),
        element("thead", head),
        element("tbody", *(_row(matrix, at) for at in range(len(matrix.classes)))),
        element("tfoot", foot),
        class_="matrix dense" if len(matrix.classes) > _DENSE_CLASSES else "matrix",
    )


def _row(matrix: ConfusionMatrix, at: int) -> Markup:
    counts = matrix.counts[at]
    total = sum(counts)
    return element(
        "tr",
        element("th", element("span", matrix.classes[at]), scope="row", title=matrix.classes[at]),
        *(_cell(count, total, is_right=column == at) for column, count in enumerate(counts)),
        element("td", _share_text(counts[at], total), class_="total"),
        element("td", total, class_="total"),
    )


def _cell(count: float, total: float, *, is_right: bool) -> Markup:
    if not count:
        return element("td", class_="right" if is_right else None)
    share = count / total
    level = max(1, round(share * _LEVELS))
    return element(
        "td",
        element("span", f"{count:g}", class_="n"),
        element("span", _share_text(count, total), class_="s"),
        class_=f"{'right' if is_right else 'wrong'} l{level}",
    )


def _share_text(part: float, whole: float) -> str:
    if not whole:
        return "-"
    share = part / whole
    return f"{share:.2f}".removeprefix("0") if 0 < share < 1 else f"{share:g}"


def _confusions(name: str, matrix: ConfusionMatrix) -> Markup:
    found = sorted(
        (
            (count, row, column)
            for row, counts in enumerate(matrix.counts)
            for column, count in enumerate(counts)
            if count and row != column
        ),
        key=lambda entry: (-entry[0], entry[1], entry[2]),
    )
    if not found:
        return element("p", muted("No sample was taken for another class."))
    items = (_confusion(matrix, *entry) for entry in found[:_CONFUSIONS])
    return group(
        element("h3", "Most frequent confusions"),
        element("ol", *items, class_="confusions", aria_label=f"Most frequent confusions by {name}"),
    )


def _confusion(matrix: ConfusionMatrix, count: float, row: int, column: int) -> Markup:
    share = count / sum(matrix.counts[row])
    truth, found = matrix.classes[row], matrix.classes[column]
    return element(
        "li",
        element("span", element("strong", truth), " taken for ", element("strong", found)),
        element("span", f"{count:g} of {sum(matrix.counts[row]):g}", class_="muted"),
        share_bar(share, kind="wrong", label=f"{share:.0%} of {truth} taken for {found}"),
    )
