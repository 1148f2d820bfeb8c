"""Metric math of CloudWatch, as far as alarms use it here: numbers, metrics, arithmetic, comparisons and ``IF``.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_IF_ARGUMENTS = 3


class ExpressionError(Exception):
    """An expression is not valid, or uses what is not supported; the text says which."""


def names_in(expression: str) -> set[str]:
    """Return the metrics that an expression uses.

    Raises:
        ExpressionError: it is not valid, or uses what is not supported.
    """
    names: set[str] = set()
    _walk(_parsed(expression), names)
    return names


def value_of(expression: str, values: Mapping[str, float | None]) -> float | None:
    """Return the value of an expression; None where a metric has no data, or a divisor is 0."""
    return _value(_parsed(expression), values)


def _parsed(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ExpressionError(f"expression {expression!r} is not valid") from error


def _walk(node: ast.expr, names: set[str]) -> None:
    if isinstance(node, ast.Name):
        names.add(node.id)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        _walk(node.left, names)
        _walk(node.right, names)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        _walk(node.left, names)
        _walk(node.comparators[0], names)
    elif _is_if(node):
        for argument in node.args:  # type: ignore[attr-defined]
            _walk(argument, names)
    elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        raise ExpressionError(f"expression {ast.unparse(node)!r} is not supported by this endpoint")


def _is_if(node: ast.expr) -> bool:
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "IF"
    return is_call and len(node.args) == _IF_ARGUMENTS and not node.keywords  # type: ignore[attr-defined]


def _value(node: ast.expr, values: Mapping[str, float | None]) -> float | None:
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Call):
        condition = _value(node.args[0], values)
        return None if condition is None else _value(node.args[1 if condition else 2], values)
    parts = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.left, node.comparators[0])  # type: ignore[attr-defined]
    left, right = (_value(part, values) for part in parts)
    if left is None or right is None:
        return None
    if isinstance(node, ast.BinOp):
        is_division_by_zero = isinstance(node.op, ast.Div) and right == 0
        return None if is_division_by_zero else _ARITHMETIC[type(node.op)](left, right)
    return float(_COMPARISONS[type(node.ops[0])](left, right))  # type: ignore[attr-defined]
