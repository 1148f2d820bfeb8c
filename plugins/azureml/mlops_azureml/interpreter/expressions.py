"""The expressions in commands, such as ``${{inputs.x}}`` and ``${{outputs.x}}``, and ``$[[optional parts]]``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_core.runners import DefinitionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXPRESSION = re.compile(r"\$\{\{\s*(?P<kind>inputs|outputs|search_space)\.(?P<name>\w+)\s*\}\}")
_ANY = re.compile(r"\$\{\{[^}]*\}\}")
_OPTIONAL = re.compile(r"\$\[\[(?P<inside>.*?)\]\]", re.DOTALL)


def command_line(command: str, *, inputs: Mapping[str, str], outputs: Mapping[str, str], where: str) -> str:
    """Return a command with values in the place of expressions.

    Args:
        command: with expressions.
        inputs: port -> value or folder; an input that is not set is missing.
        outputs: port -> folder.
        where: the node, for messages.

    Raises:
        DefinitionError: an expression names nothing.
    """

    def optional(match: re.Match[str]) -> str:
        names = [each["name"] for each in _EXPRESSION.finditer(match["inside"]) if each["kind"] != "outputs"]
        return match["inside"] if all(name in inputs for name in names) else ""

    def value(match: re.Match[str]) -> str:
        known = outputs if match["kind"] == "outputs" else inputs
        if match["name"] not in known:
            raise DefinitionError(
                f"{where}: the command reads {match[0]}, which the component does not have"
                f"{did_you_mean(match['name'], known)}"
            )
        return known[match["name"]]

    shown = _OPTIONAL.sub(optional, command)
    for each in _ANY.finditer(shown):
        if not _EXPRESSION.fullmatch(each[0]):
            raise DefinitionError(f"{where}: {each[0]} in the command is not an expression of a component")
    return _EXPRESSION.sub(value, shown)


def literal_text(value: object) -> str:
    """Return a value as text for a command."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
