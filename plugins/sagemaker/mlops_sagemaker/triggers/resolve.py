"""JSONPaths in a target's parameters, resolved with an event as the bus does: one whole path, in dot notation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def resolve(value: str, event: Mapping[str, Any]) -> str:
    """Return the text that a parameter has for an event; a path that leads nowhere gives an empty text.

    Example:
        >>> resolve("$.detail.object.key", {"detail": {"object": {"key": "a.zip"}}}), resolve("s3://b/a", {})
        ('a.zip', 's3://b/a')
    """
    if not value.startswith("$."):
        return value
    node: Any = event
    for name in value[2:].split("."):
        node = node.get(name) if isinstance(node, dict) else None
    if node is None:
        return ""
    return node if isinstance(node, str) else json.dumps(node)
