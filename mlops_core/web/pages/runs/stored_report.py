"""The parts of a stored report, taken into a page of the application.

A report is a file, which anything may have changed. It is parsed, and written again from the elements and attributes
that the kit of reports uses: no script, no handler, no form, no address of another server.
"""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from mlops_core.report.kit import Markup, element, group

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LIMIT_BYTES = 32 << 20
_TAGS = frozenset(
    {
        *("a", "audio", "br", "caption", "circle", "code", "dd", "details", "div", "dl", "dt", "em", "fieldset"),
        *("figcaption", "figure", "g", "h1", "h2", "h3", "h4", "header", "hr", "img", "input", "label", "legend"),
        *("li", "line", "ol", "output", "p", "path", "polyline", "pre", "rect", "section", "small", "span", "strong"),
        *("summary", "svg", "table", "tbody", "td", "text", "tfoot", "th", "thead", "time", "title", "tr", "ul"),
    }
)
_VOID = frozenset({"br", "hr", "img", "input"})
_DROPPED = frozenset({"script", "style", "iframe", "object", "embed", "template", "form", "link", "meta", "base"})
_ATTRIBUTES = frozenset(
    {
        *(
            "alt",
            "autocomplete",
            "checked",
            "class",
            "colspan",
            "controls",
            "datetime",
            "dir",
            "for",
            "id",
            "loading",
            "name",
            "open",
        ),
        *("preload", "role", "rowspan", "scope", "tabindex", "title", "type", "value"),
        *("cx", "cy", "d", "fill", "height", "points", "r", "rx", "ry", "stroke", "text-anchor", "transform"),
        *("viewbox", "visibility", "width", "x", "x1", "x2", "y", "y1", "y2"),
    }
)
_PREFIXES = ("aria-", "data-")
_INPUTS = frozenset({"radio", "checkbox"})
_DATA = ("data:image/png", "data:image/jpeg", "data:image/webp", "data:audio/")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """The parts of a report.

    Attributes:
        header: its first card; None if it has none.
        sections: anchor, title and content of each section.
    """

    header: Markup | None
    sections: tuple[tuple[str, str, Markup], ...]


def read_stored_report(path: Path) -> StoredReport | None:
    """Return the parts of a report; None if there is none, or if it is not one.

    Raises:
        OSError: it exists and cannot be read.
    """
    if not path.is_file():
        return None
    if path.stat().st_size > _LIMIT_BYTES:
        raise OSError(f"{path.name} is larger than {_LIMIT_BYTES >> 20} MiB")
    text = path.read_text(encoding="utf-8", errors="replace")
    start, end = text.find("<main"), text.rfind("</main>")
    if start < 0 or end < start:
        return None
    reader = _ReportReader()
    reader.feed(text[text.index(">", start) + 1 : end])
    reader.close()
    return StoredReport(header=reader.header, sections=tuple(reader.sections)) if reader.sections else None


class _Open:
    """An element whose end has not been read."""

    __slots__ = ("attributes", "children", "tag")

    def __init__(self, tag: str, attributes: dict[str, str | bool]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Markup | str] = []

    @property
    def is_title(self) -> bool:
        return str(self.attributes.get("id", "")).endswith("-title")

    def markup(self) -> Markup:
        if self.tag == "":
            return group(*self.children)
        return element(self.tag, *self.children, **self.attributes)


class _ReportReader(HTMLParser):
    """Builds the allowed elements again."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.header: Markup | None = None
        self.sections: list[tuple[str, str, Markup]] = []
        self._stack: list[_Open] = []
        self._dropped = 0
        self._title: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag in _DROPPED:
            self._dropped += tag not in ("link", "meta", "base", "embed")
            return
        if self._dropped:
            return
        if tag == "h2":
            self._title = []
        opened = _Open(tag if tag in _TAGS else "", dict(_allowed(tag, attrs)))
        if tag in _VOID:
            is_input = tag == "input" and opened.attributes.get("type") not in _INPUTS
            if self._stack and not is_input:
                self._stack[-1].children.append(opened.markup())
            return
        self._stack.append(opened)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID and tag not in _DROPPED:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _DROPPED:
            self._dropped = max(0, self._dropped - 1)
            return
        if self._dropped or tag in _VOID or not self._stack:
            return
        closed = self._stack.pop()
        if self._stack:
            self._stack[-1].children.append(closed.markup())
        elif closed.tag == "header":
            self.header = closed.markup()
        elif closed.tag == "section":
            anchor = str(closed.attributes.get("id", ""))
            self.sections.append((anchor, "".join(self._title or ()) or anchor, closed.markup()))
            self._title = None

    def handle_data(self, data: str) -> None:
        if self._dropped or not self._stack:
            return
        self._stack[-1].children.append(data)
        if self._title is not None and any(opened.is_title for opened in self._stack):
            self._title.append(data)


def _allowed(tag: str, attrs: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | bool]]:
    kept: list[tuple[str, str | bool]] = []
    for name, value in attrs:
        text = value or ""
        if name in ("href", "src"):
            is_link = tag == "a" and name == "href" and _is_own(text)
            is_data = tag in ("img", "audio") and name == "src" and text.startswith(_DATA)
            if is_link or is_data:
                kept.append((name, text))
        elif name in ("data-load", "data-begun", "data-events"):  # the application's own
            continue
        elif name in _ATTRIBUTES or name.startswith(_PREFIXES):
            kept.append((name, True if value is None else text))
    return kept


def _is_own(address: str) -> bool:
    """Return whether a link leads to a place on the page, or to a file of this run or another one."""
    if address.startswith("#"):
        return True
    return not address.startswith(("/", "\\")) and ":" not in address and "\\" not in address
