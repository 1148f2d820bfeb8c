"""HTML and SVG as values: every text is escaped when it becomes part of an element, so no record becomes markup.

Owns the syntax and nothing else; what stands on the page is decided by the sections.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

_VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta"})
_PLACES = 3


@dataclass(frozen=True, slots=True)
class Markup:
    """A piece of HTML that is safe to write as it is; only this module makes one."""

    html: str


Node: TypeAlias = Markup | str | int | None
"""A child of an element: text is escaped, None is left out."""
Attribute: TypeAlias = Markup | str | float | bool | None
"""The value of an attribute: True stands for its name alone, False and None leave it out."""


def element(tag: str, *children: Node, **attributes: Attribute) -> Markup:
    """Return the element ``tag`` with its children.

    Args:
        tag: for example ``"td"``.
        children: text (escaped), other elements, None.
        attributes: a trailing underscore is dropped and others become hyphens: ``class_``, ``aria_label``.
    """
    opening = f"<{tag}{_attributes(attributes)}>"
    if tag in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{_html(children)}</{tag}>")


def group(*children: Node) -> Markup:
    """Return several nodes as one."""
    return Markup(_html(children))


def style(text: str) -> Markup:
    """Return a style sheet of our own."""
    return _raw("style", text)


def script(text: str) -> Markup:
    """Return a script of our own."""
    return _raw("script", text)


def data_uri(media_type: str, content: bytes) -> Markup:
    """Return an address that holds its own content; there is nothing to be escaped in it, however long it is."""
    return Markup(f"data:{escape(media_type)};base64,{base64.b64encode(content).decode('ascii')}")


def document(*children: Node, language: str) -> str:
    """Return a whole page; what cannot be encoded as UTF-8 (half a surrogate pair in a file name) is replaced."""
    text = f"<!DOCTYPE html>\n{element('html', *children, lang=language).html}\n"
    return text.encode("utf-8", "replace").decode("utf-8")


def _raw(tag: str, text: str) -> Markup:
    if f"</{tag}" in text.lower():
        raise ValueError(f"a {tag} must not contain its own end")
    return Markup(f"<{tag}>{text}</{tag}>")


def _html(children: tuple[Node, ...]) -> str:
    return "".join(
        child.html if isinstance(child, Markup) else escape(str(child)) for child in children if child is not None
    )


def _attributes(attributes: dict[str, Attribute]) -> str:
    return "".join(
        f" {_attribute_name(name)}" if value is True else f' {_attribute_name(name)}="{_attribute_text(value)}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )


def _attribute_name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _attribute_text(value: Attribute) -> str:
    if isinstance(value, Markup):
        return value.html
    return f"{round(value, _PLACES):g}" if isinstance(value, float) else escape(str(value))
