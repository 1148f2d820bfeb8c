"""Formulas of derived columns: column names, numbers, + - * / and parentheses.

A formula is parsed with `ast`, checked against a short list of allowed nodes and computed node by node; it is never
executed as code.
"""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Operation = Callable[[Numbers, Numbers], Numbers]

_OPERATIONS: dict[type[ast.operator], Operation] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ALLOWED = (ast.BinOp, ast.UnaryOp, ast.Name, ast.expr_context, ast.USub, *_OPERATIONS)
_LONGEST = 500


def formula_names(formula: str) -> tuple[str, ...]:
    """Return the columns that `formula` mentions, in the order of their first mention.

    Raises:
        ValueError: it has an operation that is not allowed, or no column.
    """
    names = tuple(dict.fromkeys(node.id for node in ast.walk(_parse(formula)) if isinstance(node, ast.Name)))
    if not names:
        raise ValueError(f"formula {formula!r} mentions no column")
    return names


def evaluate_formula(formula: str, columns: Mapping[str, Numbers]) -> Numbers:
    """Return the value of `formula` in each row; NaN where it is not finite (a division by zero).

    Args:
        formula: the text.
        columns: name -> numbers, all of one length.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        values = _value(_parse(formula), columns)
        return np.where(np.isfinite(values), values, np.nan)


def _parse(formula: str) -> ast.expr:
    if len(formula) > _LONGEST:
        raise ValueError(f"a formula has {len(formula)} characters; expected at most {_LONGEST}")
    try:
        body = ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        raise ValueError(f"formula {formula!r} cannot be parsed; {_EXPECTED}") from None
    for node in ast.walk(body):
        _check(node, formula)
    return body


_EXPECTED = "expected column names, numbers, + - * / and parentheses, such as 'whole_weight / length'"


def _check(node: ast.AST, formula: str) -> None:
    if isinstance(node, _ALLOWED):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return
    raise ValueError(f"formula {formula!r} has a {type(node).__name__}; {_EXPECTED}")


def _value(node: ast.expr, columns: Mapping[str, Numbers]) -> Numbers:
    import numpy as np

    if isinstance(node, ast.Name):
        return columns[node.id]
    if isinstance(node, ast.Constant):
        return np.asarray(node.value, dtype=np.float64)
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand, columns)
    if isinstance(node, ast.BinOp):
        return _OPERATIONS[type(node.op)](_value(node.left, columns), _value(node.right, columns))
    raise AssertionError(node)
