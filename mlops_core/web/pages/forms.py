"""Fields of forms, and links with parameters."""

from __future__ import annotations

import math
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlops_core.report.kit import Markup, Node, element, group

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def address(path: str, **parameters: str | Sequence[str]) -> str:
    """Return a path with parameters after a question mark; those without a value are left out."""
    pairs: list[tuple[str, str]] = []
    for name, value in parameters.items():
        values = [value] if isinstance(value, str) else value
        pairs += [(name, each) for each in values if each]
    return path + (f"?{urllib.parse.urlencode(pairs)}" if pairs else "")


def part(text: str) -> str:
    """Return a text as one part of a path."""
    return urllib.parse.quote(text, safe="")


def text_field(name: str, label: str, value: str = "", **attributes: str | bool | None) -> Markup:
    """Return a labelled field for one line of text."""
    field = element("input", id=f"field-{name}", name=name, value=value, type="text", **attributes)
    return element("div", element("label", label, for_=f"field-{name}"), field, class_="field")


def select_field(
    name: str, label: str, choices: Iterable[str] | Mapping[str, str], value: str, *, none: str = ""
) -> Markup:
    """Return a labelled choice.

    Args:
        name: of the field.
        label: in front of it.
        choices: values, or value -> text.
        value: the chosen one.
        none: text of the choice without a value; empty for no such choice.
    """
    known = dict(choices) if isinstance(choices, Mapping) else {choice: choice for choice in choices}
    options = [element("option", none, value="", selected=not value)] if none else []
    if value and value not in known:
        known[value] = value
    options += [element("option", text, value=key, selected=key == value) for key, text in known.items()]
    field = element("select", *options, id=f"field-{name}", name=name)
    return element("div", element("label", label, for_=f"field-{name}"), field, class_="field")


def number_of(text: str) -> float | None:
    """Return the number in a field; None if there is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def hidden(name: str, value: str) -> Markup:
    """Return a field that is not shown."""
    return element("input", type="hidden", name=name, value=value)


def post_form(action: str, *children: Node, csrf: str, class_: str = "stacked") -> Markup:
    """Return a form that changes something."""
    return element("form", hidden("csrf", csrf), *children, method="post", action=action, class_=class_)


def confirm_form(action: str, *, csrf: str, fields: Mapping[str, str], confirm: str, back: str, kind: str) -> Markup:
    """Return the buttons that confirm or cancel an action."""
    return post_form(
        action,
        *(hidden(name, value) for name, value in fields.items()),
        hidden("confirmed", "yes"),
        element(
            "div",
            element("button", confirm, type="submit", class_=kind, autofocus=True),
            element("a", "Cancel", href=back, class_="button"),
            class_="actions",
        ),
        csrf=csrf,
    )


def button_link(text: str, href: str, *, kind: str = "") -> Markup:
    """Return a link that looks like a button."""
    return element("a", text, href=href, class_=f"button {kind}".strip())


def spaced(*children: Node) -> Markup:
    """Return nodes with a space between them."""
    shown = [child for child in children if child is not None]
    return group(*(group(" " if number else None, child) for number, child in enumerate(shown)))
