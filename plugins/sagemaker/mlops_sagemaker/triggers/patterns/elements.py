"""Fields inside lists of objects: all must come from the same element of each list.

The event is walked once. Each node gives the sets of fields that it can satisfy at once, as bit masks: an object joins
those of its members, a list offers those of each element. Only sets that no other set contains are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlops_sagemaker.triggers.patterns.values import FieldTest


class _Node:
    """The fields of an alternative below one name."""

    __slots__ = ("bit", "children", "test")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.bit = 0
        self.test: FieldTest | None = None


class ElementMatcher:
    """Matches the fields of one alternative."""

    def __init__(self, fields: Sequence[FieldTest]) -> None:
        self._top = _Node()
        self._all = (1 << len(fields)) - 1
        self._absent = {1 << number: field.path for number, field in enumerate(fields) if field.takes_absent}
        for number, field in enumerate(fields):
            node = self._top
            for name in field.path:
                node = node.children.setdefault(name, _Node())
            node.bit, node.test = 1 << number, field

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Return whether all fields match together."""
        seen = [0]
        masks = self._masks(event, self._top, seen)
        missing = sum(bit for bit in self._absent if not bit & seen[0])
        return any(mask | missing == self._all for mask in masks)

    def _masks(self, value: Any, node: _Node, seen: list[int]) -> set[int]:
        """Return the sets of fields that a value at a node can satisfy; `seen` collects the fields with a value."""
        if isinstance(value, dict):
            masks = {0}
            for name, inner in value.items():
                below = _below(node, name)
                if below is not None:
                    offered = self._masks(inner, below, seen)
                    masks = _largest({left | right for left in masks for right in offered})
            return masks
        if isinstance(value, list):
            return _largest({mask for item in value for mask in self._masks(item, node, seen)} or {0})
        if node.test is None:
            return {0}
        seen[0] |= node.bit
        return {node.bit} if node.test.matches(value) else {0}


def _below(node: _Node, name: str) -> _Node | None:
    """Return the node that a name leads to; a name with dots leads through several."""
    below: _Node | None = node
    for part in name.split("."):
        if below is None:
            return None
        below = below.children.get(part)
    return below


def _largest(masks: Iterable[int]) -> set[int]:
    """Return the masks that no other one contains."""
    kept: list[int] = []
    for mask in sorted(masks, key=int.bit_count, reverse=True):
        if not any(mask & other == mask for other in kept):
            kept.append(mask)
    return set(kept)
