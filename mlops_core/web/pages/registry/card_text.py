"""The Markdown of a model card as elements: headings, tables and paragraphs, which is what a card consists of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_core.report.kit import Markup, element, group

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_CELL = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\|?[\s:|-]+\|?\Z")


def markdown_markup(text: str) -> Markup:
    """Return a model card without its front matter; what is not understood is shown as it is written."""
    lines = text.split("\n")
    if lines[:1] == ["---"] and "---" in lines[1:]:
        lines = lines[lines.index("---", 1) + 1 :]
    return group(*_blocks(lines))


def _blocks(lines: Sequence[str]) -> Iterator[Markup]:
    block: list[str] = []
    for line in (*lines, ""):
        if line.strip():
            block.append(line)
            continue
        if block:
            yield _block(block)
        block = []


def _block(lines: Sequence[str]) -> Markup:
    level = len(lines[0]) - len(lines[0].lstrip("#"))
    if 1 <= level <= 6 and lines[0][level : level + 1] == " ":
        heading = element("h3" if level < 3 else "h4", _plain(lines[0][level:].strip()))
        return group(heading, _block(lines[1:])) if len(lines) > 1 else heading
    if len(lines) > 1 and lines[0].startswith("|") and _RULE.match(lines[1]):
        return _table([_cells(lines[0]), *(_cells(line) for line in lines[2:])])
    if all(line.startswith(("- ", "* ")) for line in lines):
        return element("ul", *(element("li", _plain(line[2:])) for line in lines))
    return element("p", _plain(" ".join(lines)))


def _cells(line: str) -> list[str]:
    return [_plain(cell.strip()) for cell in _CELL.split(line.strip().removeprefix("|").removesuffix("|"))]


def _table(rows: Sequence[Sequence[str]]) -> Markup:
    head = element("tr", *(element("th", cell, scope="col") if cell else element("td") for cell in rows[0]))
    body = (
        element(
            "tr",
            *(
                element("th" if number == 0 else "td", cell, scope="row" if number == 0 else None)
                for number, cell in enumerate(row)
            ),
        )
        for row in rows[1:]
    )
    has_names = any(rows[0])
    return element("table", element("thead", head) if has_names else None, element("tbody", *body))


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
