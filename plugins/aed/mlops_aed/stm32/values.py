"""Parsing of single values of the model zoo's configurations; nothing is ever evaluated.

``None`` and empty texts mean no value, ``True`` in quotes is a boolean, ``(64, 96, 1)`` a tuple, ``1./255`` a number;
``lambda`` and any other code is refused.
"""

from __future__ import annotations

import ast
import math
import operator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core import did_you_mean, normalise_path

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 200
_OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Kind(StrEnum):
    """Types of values."""

    TEXT = "a text"
    PATH = "a path"
    BOOLEAN = "True or False"
    INTEGER = "a whole number"
    NUMBER = "a number"
    SHAPE = "a tuple of whole numbers such as (64, 96, 1)"
    NAMES = "a list of different names"
    MAPPING = "a mapping"
    ANY = "anything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Legal values of a key.

    Attributes:
        kind: type of the value.
        choices: the legal texts; empty for any.
        low: smallest legal number.
        high: largest legal number.
        is_open: whether the limits themselves are not legal.
        is_required: whether None is not legal.
        ignored: why the key is not used; empty if it is.
        dead: why the key never had an effect.
    """

    kind: Kind
    choices: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    is_open: bool = False
    is_required: bool = False
    ignored: str = ""
    dead: str = ""

    @property
    def legal(self) -> str:
        """Description of the legal values, for messages."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if math.isinf(self.low) and math.isinf(self.high):
            return str(self.kind)
        if math.isinf(self.high):
            return f"{self.kind} {'above' if self.is_open else 'of at least'} {self.low:g}"
        between = "between" if self.is_open else "from"
        return f"{self.kind} {between} {self.low:g} {'and' if self.is_open else 'to'} {self.high:g}"


def read_value(value: object, rule: Rule) -> Any:
    """Return `value` converted by `rule`; None for no value.

    Raises:
        ValueError: it is not legal; the message describes the legal values.
    """
    if isinstance(value, str) and value.strip() in {"", "None", "none", "null"}:
        value = None
    if value is None:
        if rule.is_required:
            raise ValueError(f"has no value; legal: {rule.legal}")
        return None
    if isinstance(value, str) and "lambda" in value:
        raise ValueError(f"holds code ({_shown(value)}); code is never run. Legal: {rule.legal}")
    read = _READERS[rule.kind](value)
    if read is _WRONG:
        raise ValueError(f"is {_shown(value)}; legal: {rule.legal}")
    return _in_range(read, rule)


def _in_range(value: Any, rule: Rule) -> Any:
    if rule.choices:
        matches = [choice for choice in rule.choices if choice.casefold() == str(value).casefold()]
        if not matches:
            raise ValueError(f"is {_shown(value)}{did_you_mean(str(value), rule.choices) or ';'} legal: {rule.legal}")
        return matches[0]
    if rule.kind in {Kind.INTEGER, Kind.NUMBER}:
        is_inside = rule.low < value < rule.high if rule.is_open else rule.low <= value <= rule.high
        if not is_inside:
            raise ValueError(f"is {value}; legal: {rule.legal}")
    return value


class _Wrong:
    """Type of `_WRONG`, the result for a value that cannot be read; None is a legal result."""


_WRONG = _Wrong()


def _text(value: object) -> object:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else _WRONG


def _path(value: object) -> object:
    if value is False:  # the off value of a switch that became a path
        return None
    return normalise_path(value.strip()) if isinstance(value, str) else _WRONG


def _boolean(value: object) -> object:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower(), _WRONG) if isinstance(value, str) else _WRONG


def _number(value: object) -> object:
    if isinstance(value, bool):
        return _WRONG
    if isinstance(value, int | float):
        return value if math.isfinite(value) else _WRONG
    result = _arithmetic(value) if isinstance(value, str) else None
    return result if result is not None and math.isfinite(result) else _WRONG


def _integer(value: object) -> object:
    number = _number(value)
    return int(number) if isinstance(number, int | float) and number == int(number) else _WRONG


def _shape(value: object) -> object:
    if isinstance(value, str):
        tree = _parsed(value)
        if not isinstance(tree, ast.Tuple | ast.List):
            return _WRONG
        value = [_amount(item) for item in tree.elts]
    if not isinstance(value, list | tuple) or not value:
        return _WRONG
    return tuple(value) if all(type(item) is int and item > 0 for item in value) else _WRONG


def _names(value: object) -> object:
    if isinstance(value, str):
        tree = _parsed(value)
        if not isinstance(tree, ast.Tuple | ast.List):
            return _WRONG
        value = [item.value if isinstance(item, ast.Constant) else None for item in tree.elts]
    if not isinstance(value, list | tuple) or not value:
        return _WRONG
    names = [str(item) for item in value if isinstance(item, str | int) and not isinstance(item, bool)]
    return tuple(names) if len(names) == len(value) == len(set(names)) else _WRONG


def _mapping(value: object) -> object:
    return value if isinstance(value, dict | str) else _WRONG


def _any(value: object) -> object:
    return value


_READERS: dict[Kind, Callable[[object], Any]] = {
    Kind.TEXT: _text,
    Kind.PATH: _path,
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.SHAPE: _shape,
    Kind.NAMES: _names,
    Kind.MAPPING: _mapping,
    Kind.ANY: _any,
}


def _parsed(text: str) -> ast.expr | None:
    """Return the syntax tree of a short expression, which is never compiled."""
    if len(text) > _LONGEST:
        return None
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _arithmetic(text: str) -> float | None:
    tree = _parsed(text)
    return None if tree is None else _amount(tree)


def _amount(node: ast.expr) -> float | None:
    """Return the value of sums, differences, products and quotients of numbers; None for anything else."""
    if isinstance(node, ast.Constant):
        is_number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        return node.value if is_number else None  # type: ignore[return-value]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = _amount(node.operand)
        return None if inner is None else -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _amount(node.left), _amount(node.right)
        if left is None or right is None or (isinstance(node.op, ast.Div) and right == 0):
            return None
        return _OPERATORS[type(node.op)](left, right)
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
