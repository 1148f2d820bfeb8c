"""The building blocks of a page: sections, tables, fact lists, badges, callouts, legends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from mlops_core.quantities import short_digest
from mlops_core.report.kit.markup import Markup, Node, element, group

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

BadgeKind: TypeAlias = Literal["good", "bad", "warn", "plain", "reused"]
"""The state that a badge, a callout or a bar shows by its colour and symbol."""

_SYMBOLS: Mapping[BadgeKind, str] = {"good": "✓", "bad": "✕", "warn": "!", "plain": "•", "reused": "↺"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSection:
    """A section of a page.

    Attributes:
        anchor: its id, which the navigation links to; unique on the page.
        title: its heading.
        body: its content.
        lead: one or two sentences below the heading, or None.
    """

    anchor: str
    title: str
    body: Markup
    lead: Node = None

    def markup(self) -> Markup:
        """Return the section as an element."""
        lead = element("p", self.lead, class_="lead") if self.lead else None
        heading = element("h2", self.title, id=f"{self.anchor}-title")
        return element("section", heading, lead, self.body, id=self.anchor, aria_labelledby=f"{self.anchor}-title")


def data_table(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[Node]],
    *,
    class_: str = "",
    is_caption_visible: bool = True,
) -> Markup:
    """Return a table whose first column holds the row headers.

    On a narrow screen each row becomes a block of labelled values, so that the page never scrolls sideways.

    Args:
        caption: describes the table.
        headings: of the columns.
        rows: each has as many cells as there are headings.
        class_: more classes for the style sheet.
        is_caption_visible: show the caption; otherwise only screen readers read it.

    Raises:
        ValueError: a row has another number of cells.
    """
    # The roles are explicit because a display other than `table` removes the implicit ones.
    head = element(
        "tr", *(element("th", heading, scope="col", role="columnheader") for heading in headings), role="row"
    )
    return element(
        "table",
        element("caption", caption, class_=None if is_caption_visible else "hidden"),
        element("thead", head, role="rowgroup"),
        element("tbody", *(_row(headings, row) for row in rows), role="rowgroup"),
        class_=f"stack {class_}".strip(),
        role="table",
    )


def _row(headings: Sequence[str], cells: Sequence[Node]) -> Markup:
    first, *others = cells
    return element(
        "tr",
        element("th", first, scope="row", role="rowheader"),
        *(
            element("td", element("div", cell), role="cell", data_label=heading)
            for heading, cell in zip(headings[1:], others, strict=True)
        ),
        role="row",
    )


def facts_list(facts: Mapping[str, Node], *, class_: str = "") -> Markup:
    """Return names with their values as a description list; class ``wide`` gives long values the full width."""
    pairs = (element("div", element("dt", name), element("dd", value)) for name, value in facts.items())
    return element("dl", *pairs, class_=f"facts {class_}".strip())


def tile(name: str, value: str, note: Node = None) -> Markup:
    """Return an item of a ``ul.tiles`` list: a key figure with its name and a remark."""
    return element(
        "li",
        element("span", name, class_="tile-name"),
        element("strong", *_breakable(value), class_="tile-value"),
        element("span", note, class_="tile-note") if note else None,
    )


def _breakable(name: str) -> Iterator[Node]:
    """Yield a name in pieces that a browser may break after an underscore, and not within a word."""
    *pieces, last = name.split("_")
    for piece in pieces:
        yield f"{piece}_"
        yield element("wbr")
    yield last


def badge(text: str, kind: BadgeKind) -> Markup:
    """Return a short state; its symbol carries the meaning where colours cannot be seen."""
    symbol = element("span", _SYMBOLS[kind], class_="symbol", aria_hidden="true")
    return element("span", symbol, " ", text, class_=f"badge {kind}")


def missing_note(reason: str) -> Markup:
    """Return the note that replaces a part of the page that is not available; `reason` is one sentence."""
    return element("p", element("strong", "Not available. "), f"{reason[:1].upper()}{reason[1:]}", class_="missing")


def callout(kind: BadgeKind, *children: Node) -> Markup:
    """Return a remark that stands out from the text."""
    return element(
        "div",
        element("span", _SYMBOLS[kind], class_="symbol", aria_hidden="true"),
        element("p", *children),
        class_=f"callout {kind}",
    )


def details(summary: Node, *children: Node, is_open: bool = False) -> Markup:
    """Return content that the reader can expand."""
    return element("details", element("summary", summary), element("div", *children), open=is_open)


def legend(marks: Iterable[tuple[str, str]]) -> Markup:
    """Return the legend of a chart.

    Args:
        marks: class of the mark in the style sheet (``value``, ``interval``, ``line training``) and its meaning.
    """
    items = (element("li", element("span", class_=f"mark {mark}", aria_hidden="true"), text) for mark, text in marks)
    return element("ul", *items, class_="legend")


def code(text: str) -> Markup:
    """Return text in the font of programs and terminals."""
    return element("code", text)


def digest(value: str) -> Markup:
    """Return a shortened digest with the full value as its tooltip; a dash when it is empty."""
    return element("code", short_digest(value), title=value, class_="digest") if value else element("span", "-")


def muted(text: str) -> Markup:
    """Return secondary text."""
    return element("span", text, class_="muted")


def lines(*children: Node) -> Markup:
    """Return each child on its own line."""
    return group(*(element("div", child) for child in children if child is not None))
