"""Values in nested data by their dotted keys, such as ``a.b[0].c``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INDEX = re.compile(r"\[(\d+)\]")


def put_value(target: dict[str, Any], keys: Sequence[str], value: object) -> None:
    """Set the value at a path of keys, creating the mappings on the way."""
    for key in keys[:-1]:
        if not isinstance(target.get(key), dict):
            target[key] = {}
        target = target[key]
    target[keys[-1]] = value


def find_value(data: object, key: str) -> object:
    """Return the value at a dotted key such as ``a.b[0].c``; None where there is none."""
    place = place_of(data, key)
    return place[0][place[1]] if place else None


def place_of(data: Any, key: str) -> tuple[Any, Any] | None:
    """Return the mapping or list that holds the value at a dotted key, and the value's name or index in it."""
    if isinstance(data, dict):
        if key in data:
            return data, key
        for name in data:  # a name may hold a dot itself
            if isinstance(name, str) and key.startswith((f"{name}.", f"{name}[")):
                place = place_of(data[name], key[len(name) :].removeprefix("."))
                if place:
                    return place
    elif isinstance(data, list | tuple) and (match := _INDEX.match(key)) and int(match[1]) < len(data):
        index, rest = int(match[1]), key[match.end() :].removeprefix(".")
        return place_of(data[index], rest) if rest else (data, index)
    return None


def replace_texts(value: Any, replacement: Callable[[str], str]) -> Any:
    """Return nested data with each text in it replaced."""
    if isinstance(value, dict):
        return {name: replace_texts(inner, replacement) for name, inner in value.items()}
    if isinstance(value, list):
        return [replace_texts(inner, replacement) for inner in value]
    return replacement(value) if isinstance(value, str) else value


_LONGEST = 1000
"""A longer problem is shown without its middle."""


def visible_line(text: str) -> str:
    r"""Return a problem as one line of bounded length, in which nobody overlooks a letter: the rest is escaped.

    Example:
        >>> print(visible_line("c.yaml: train\u200bing: unknown key"))
        c.yaml: train\u200bing: unknown key
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST * 2 // 3]} ... {text[-_LONGEST // 4 :]}"
    if text.isprintable():
        return text
    escape = "unicode_escape"
    return "".join(letter if letter.isprintable() else letter.encode(escape).decode("ascii") for letter in text)
