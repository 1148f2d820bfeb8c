"""The fields of one event, looked up by path and remembered, so that many rules read each only once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Marker:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


MISSING: Final = _Marker("MISSING")
"""The event has no value there; an object and an empty list are none."""
NESTED: Final = _Marker("NESTED")
"""A list of objects, or a name with a dot, is on the way: the field cannot be read alone."""


class SEVERAL(tuple[Any, ...]):
    """The values of a list; one that matches is enough."""

    __slots__ = ()


class EventFields:
    """Fields of an event.

    Attributes:
        event: as decoded.
    """

    __slots__ = ("_known", "_plain", "event")

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.event = event
        self._known: dict[tuple[str, ...], Any] = {}
        self._plain: set[int] = set()

    def find(self, path: tuple[str, ...]) -> Any:
        """Return the value at a path, `SEVERAL` values of a list, `MISSING` or `NESTED`."""
        known = self._known
        if path in known:
            return known[path]
        value = known[path] = self._read(path)
        return value

    def _read(self, path: tuple[str, ...]) -> Any:
        node: Any = self.event
        plain = self._plain  # objects without a dot in a name; many paths lead through the same ones
        for name in path:
            if type(node) is not dict:
                return _between(node)
            if id(node) not in plain:
                if "." in "".join(node):
                    return NESTED
                plain.add(id(node))
            if name not in node:
                return MISSING
            node = node[name]
        if type(node) is dict:
            return NESTED if "" in node or "." in "".join(node) else MISSING
        if type(node) is list:
            return _values_of(node)
        return node


def _between(node: Any) -> Any:
    """Return what a value on the way to a field means: a list may hold objects, anything else ends the way."""
    return NESTED if type(node) is list and node else MISSING


def _values_of(items: list[Any]) -> Any:
    if not items:
        return MISSING
    if any(isinstance(item, dict | list) for item in items):
        return NESTED
    return SEVERAL(items)
