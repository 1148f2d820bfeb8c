"""Checks keys and types of mappings by the tables, and the names of nodes, ports and assets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_azureml.checking.faults import below
from mlops_azureml.checking.tables import Kind
from mlops_azureml.layout import LONGEST_NAME, RESERVED_PORTS

if TYPE_CHECKING:
    from mlops_azureml.checking.faults import Faults

_NODE = re.compile(r"[a-z_][a-z0-9_]*\Z")
_PORT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_COMPONENT = re.compile(r"[a-z][a-z0-9_]*\Z")
_ASSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_COMPUTE = re.compile(r"azureml:(//.+|/subscriptions/.+|[A-Za-z][A-Za-z0-9-]{0,31})\Z")


def check_keys(faults: Faults, path: str, value: object, table: Mapping[str, Kind]) -> bool:
    """Check keys and types of a mapping; return whether it is one."""
    if not isinstance(value, Mapping):
        faults.add(path or "job", f"is {shown(value)}", "expected a mapping")
        return False
    for key, inner in value.items():
        where = below(path, str(key))
        if key not in table:
            faults.unknown(where, "key", str(key), table)
        elif not has_kind(inner, table[key]):
            faults.add(where, f"is {shown(inner)}", f"expected {table[key]}")
    return True


def has_kind(value: object, kind: Kind) -> bool:
    """Return whether a value is of a kind; an expression may stand for any text or number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_expression = isinstance(value, str) and value.strip().startswith("${{")
    checks: dict[Kind, bool] = {
        Kind.TEXT: isinstance(value, str),
        Kind.NUMBER: is_number or is_expression,
        Kind.WHOLE: isinstance(value, int) and not isinstance(value, bool),
        Kind.POSITIVE: (isinstance(value, int) and not isinstance(value, bool) and value > 0) or is_expression,
        Kind.FLAG: isinstance(value, bool),
        Kind.MAP: isinstance(value, Mapping),
        Kind.LIST: isinstance(value, list),
        Kind.TEXTS: isinstance(value, Mapping)
        and all(isinstance(text, str | int | float | bool) for text in value.values()),
        Kind.COMPUTE: isinstance(value, str) and (is_expression or bool(_COMPUTE.match(value))),
        Kind.ANY: value is not None,
    }
    return checks[kind]


def require(faults: Faults, path: str, value: Mapping[str, Any], *keys: str) -> None:
    """Add a fault for each key that is missing."""
    for key in keys:
        if value.get(key) is None:
            faults.add(path or "job", f"lacks '{key}'", f"set {below(path, key)}")


def check_node_name(faults: Faults, path: str, name: str) -> None:
    """Check the name of a node."""
    if not _NODE.match(name):
        fixed = re.sub(r"[^a-z0-9_]", "_", name.lower())
        fixed = fixed if _NODE.match(fixed) else f"n{fixed}"
        faults.add(path, f"'{name}' is not a valid name of a node", f"use lower-case letters, digits and '_': {fixed}")
    elif len(name) > LONGEST_NAME:
        faults.add(path, f"the name of the node is longer than {LONGEST_NAME} characters", "shorten it")


def check_port_name(faults: Faults, path: str, name: str) -> None:
    """Check the name of an input or output."""
    if name.lower() in RESERVED_PORTS:
        faults.add(path, f"'{name}' is a reserved name", f"rename it; reserved: {', '.join(sorted(RESERVED_PORTS))}")
    elif not _PORT.match(name):
        fixed = re.sub(r"\W", "_", name, flags=re.ASCII)
        faults.add(path, f"'{name}' is not a valid name", f"use letters, digits and '_': {fixed}")


def check_component_name(faults: Faults, path: str, name: object) -> None:
    """Check the name of a component."""
    if isinstance(name, str) and (not _COMPONENT.match(name) or len(name) > LONGEST_NAME):
        fixed = re.sub(r"[^a-z0-9_]", "_", name.lower())
        faults.add(
            path, f"'{name}' is not a valid name of a component", f"use lower-case letters, digits and '_': {fixed}"
        )


def check_asset_name(faults: Faults, path: str, name: object) -> None:
    """Check the name of an asset, an experiment or a job."""
    if isinstance(name, str) and not name.startswith("${{") and (not _ASSET.match(name) or len(name) > LONGEST_NAME):
        faults.add(path, f"'{name}' is not a valid name", "use at most 255 letters, digits, '-', '_' and '.'")


def one_of(faults: Faults, path: str, what: str, value: object, legal: tuple[str, ...]) -> bool:
    """Add a fault unless a value is one of the legal ones; return whether it is."""
    if value in legal:
        return True
    faults.unknown(path, what, str(value), legal)
    return False


def shown(value: object) -> str:
    """Return a value for a message."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list) else repr(value)[:60]
