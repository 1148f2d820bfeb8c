"""The building blocks that the sections of the page have in common: sections, tables, badges, notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.quantities import short_digest
from mlops_core.report.markup import Markup, Node, element, group

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SYMBOLS = {"good": "✓", "bad": "✕", "warn": "!", "plain": "•", "reused": "↺"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSection:
    """A section of the page.

    Attributes:
        anchor: its id, and the target of its link in the navigation.
        title: its heading.
        body: what it holds.
        lead: one or two sentences below the heading; may be empty.
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


def data_table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[Node]], *, class_: str = "") -> Markup:
    """Return a table whose first column names the row.

    On a narrow screen each row becomes a block of labelled values, so that nothing has to be scrolled sideways; the
    roles are written out because such a display would take them away.
    """
    head = element(
        "tr", *(element("th", heading, scope="col", role="columnheader") for heading in headings), role="row"
    )
    return element(
        "table",
        element("caption", caption),
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
    """Return names with their values."""
    pairs = (element("div", element("dt", name), element("dd", value)) for name, value in facts.items())
    return element("dl", *pairs, class_=f"facts {class_}".strip())


def badge(text: str, kind: str) -> Markup:
    """Return a short state; its symbol says it without the colour. `kind`: good, bad, warn, plain or reused."""
    symbol = element("span", _SYMBOLS[kind], class_="symbol", aria_hidden="true")
    return element("span", symbol, " ", text, class_=f"badge {kind}")


def missing_note(reason: str) -> Markup:
    """Return the note that stands where a part is missing."""
    return element("p", element("strong", "Missing: "), f"{reason[:1].upper()}{reason[1:]}", class_="missing")


def callout(kind: str, *children: Node) -> Markup:
    """Return a remark that must not be overlooked."""
    return element(
        "div",
        element("span", _SYMBOLS[kind], class_="symbol", aria_hidden="true"),
        element("p", *children),
        class_=f"callout {kind}",
    )


def details(summary: Node, *children: Node, is_open: bool = False) -> Markup:
    """Return something that is unfolded on demand."""
    return element("details", element("summary", summary), element("div", *children), open=is_open)


def code(text: str) -> Markup:
    """Return a text as it is written in a program or a terminal."""
    return element("code", text)


def digest(value: str) -> Markup:
    """Return the beginning of a digest; the whole is shown by its title and copied with it."""
    return element("code", short_digest(value), title=value, class_="digest") if value else element("span", "-")


def muted(text: str) -> Markup:
    """Return a text of second rank."""
    return element("span", text, class_="muted")


def lines(*children: Node) -> Markup:
    """Return each child on a line of its own."""
    return group(*(element("div", child) for child in children if child is not None))
