"""HTML and SVG elements as values: text is escaped when it becomes part of an element, so data never becomes markup.

Owns the syntax only; the look is the style sheet's and the content is the sections'.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from mlops_core.control_characters import escape_controls

_VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "wbr"})
_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Markup:
    """A piece of HTML or SVG that needs no escaping; only this module creates one."""

    html: str


Node: TypeAlias = Markup | str | int | None
"""A child of an element: text is escaped, None is omitted."""
Attribute: TypeAlias = Markup | str | float | bool | None
"""The value of an attribute: True writes its name only, False and None omit it."""


def element(tag: str, *children: Node, **attributes: Attribute) -> Markup:
    """Return an element with its children.

    Args:
        tag: the element's name, for example ``"td"``.
        children: text (escaped), other elements, or None.
        attributes: trailing underscores are dropped and the others become hyphens: ``class_``, ``aria_label``.
            Numbers are rounded to three decimals.
    """
    opening = f"<{tag}{_attributes(attributes)}>"
    if tag in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{_html(children)}</{tag}>")


def group(*children: Node) -> Markup:
    """Return several nodes as one, without an element around them."""
    return Markup(_html(children))


def style(text: str) -> Markup:
    """Return a style sheet. It is written unescaped: pass constants only.

    Raises:
        ValueError: the text contains the end tag of its own element.
    """
    return _raw("style", text)


def script(text: str) -> Markup:
    """Return a script. It is written unescaped: pass constants only.

    Raises:
        ValueError: the text contains the end tag of its own element.
    """
    return _raw("script", text)


def data_uri(media_type: str, content: bytes) -> Markup:
    """Return `content` as an address that can be the ``src`` of an image or a sound."""
    # Base64 needs no escaping, which would take a while for a long value.
    return Markup(f"data:{escape(media_type)};base64,{base64.b64encode(content).decode('ascii')}")


def document(*children: Node, language: str) -> str:
    """Return a complete HTML document.

    Control characters of texts, and what UTF-8 cannot encode, are shown as their escapes.
    """
    return f"<!DOCTYPE html>\n{element('html', *children, lang=language).html}\n"


def _raw(tag: str, text: str) -> Markup:
    if f"</{tag}" in text.lower():
        raise ValueError(f"a {tag} element must not contain its own end tag")
    return Markup(f"<{tag}>{text}</{tag}>")


def _html(children: tuple[Node, ...]) -> str:
    return "".join(
        child.html if isinstance(child, Markup) else escape(escape_controls(str(child)))
        for child in children
        if child is not None
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
    return f"{round(value, _DECIMALS):g}" if isinstance(value, float) else escape(escape_controls(str(value)))
