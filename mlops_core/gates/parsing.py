"""Reads gate conditions from text. The grammar is a part of Python's expressions; nothing is executed.

::

    condition   comparison, no_regression(...), licence, and / or / not and parentheses around them
    comparison  QUANTITY >= THRESHOLD, with >, <= or < as well, or the other way around
    QUANTITY    METRIC, METRIC.lower, METRIC.upper           a metric, or an end of its confidence interval
                METRIC[LABEL], METRIC[COLUMN == VALUE]       the metric on a slice of the test set, ``.lower`` as well
                worst(METRIC), worst(METRIC, by=COLUMN)      its worst slice, ``.lower`` as well
    THRESHOLD   a number, a numeric parameter, best.METRIC, best.METRIC - NUMBER
    no_regression(METRIC, by=COLUMN, margin=NUMBER)          no slice is worse than the champion's by more than that
    licence     dataset_licence in (SPDX, ...)               the licence of the data, ``not in`` as well
                base_model_licence in (SPDX, ...)            the licence of every base model, ``not in`` as well
    SPDX        an identifier such as CC-BY-4.0; an expression of several in quotes
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import PipelineError
from mlops_core.gates.clauses import (
    LABEL,
    LICENCE_NAME,
    Bound,
    Champion,
    Comparison,
    LicenceClause,
    LicenceSubject,
    NoRegression,
    Operator,
    Slice,
)
from mlops_core.gates.conditions import DEPTH_LIMIT, AllOf, AnyOf, Condition, Not

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT_LIMIT = 10_000
_SHOWN = 200
_BEST = "best"
_WORST = "worst"
_NO_REGRESSION = "no_regression"
_SUBJECTS = "|".join(LicenceSubject)
_LICENCES = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""  # a string is passed over as a whole
    rf"|\b(?:{_SUBJECTS})\s+(?:not\s+)?in\s*(?P<list>[(\[](?:'[^']*'|\"[^\"]*\"|[^()\[\]'\"])*[)\]])"
)
_NAMES_OF_LIST = re.compile(rf"'[^']*'|\"[^\"]*\"|{LICENCE_NAME.pattern}")
_SIGNS = {ast.GtE: Operator.AT_LEAST, ast.Gt: Operator.ABOVE, ast.LtE: Operator.AT_MOST, ast.Lt: Operator.BELOW}


def parse_condition(
    text: str, *, messages: Mapping[str, str] | None = None, names: Mapping[str, Condition] | None = None
) -> Condition:
    """Parse a condition, for example ``"clip_acc.lower >= q_clip and not (loss > 2)"``.

    Names on the left are metrics; a number on the left exchanges the sides. Only what `mlops_core.gates.parsing`
    describes is understood; nothing is executed.

    Args:
        text: the expression.
        messages: metric -> beginning of the sentence that is shown when its comparison fails.
        names: conditions that the text may mention by name.

    Raises:
        PipelineError: anything else; the column is named.

    Example:
        >>> print(parse_condition("0.9 <= acc and not (loss > 2 or loss < 0)"))
        acc >= 0.9 and not (loss > 2 or loss < 0)
        >>> print(parse_condition("acc.lower >= 0.9 and worst(recall) >= 0.6 and acc >= best.acc - 0.01"))
        acc.lower >= 0.9 and worst(recall) >= 0.6 and acc >= best.acc - 0.01
    """
    if len(text) > _TEXT_LIMIT:
        raise PipelineError(f"gate: {len(text)} characters; at most {_TEXT_LIMIT} are read")
    source = text.strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python warns of 0.5and and of "\\d", which later versions refuse
            tree = ast.parse(_LICENCES.sub(_with_names, source), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise PipelineError(f"gate: {_shown(text)} is not an expression: {reason}") from error
    return _Parser(source, messages or {}, names or {}).condition(tree.body, depth=0)


def _with_names(match: re.Match[str]) -> str:
    """Return a list of licences as Python names of the same length, since ``GPL-3.0-or-later`` is not an expression."""
    if match["list"] is None:
        return match[0]
    names = _NAMES_OF_LIST.sub(lambda name: name[0] if name[0][0] in "'\"" else "_" * len(name[0]), match["list"])
    return match[0].removesuffix(match["list"]) + names


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantity:
    metric: str
    bound: Bound | None = None
    slice: Slice | None = None


class _Parser:
    """Turns a syntax tree into a condition, by whitelist."""

    def __init__(self, text: str, messages: Mapping[str, str], names: Mapping[str, Condition]) -> None:
        self._text = text
        self._messages = messages
        self._names = names

    def condition(self, node: ast.expr, *, depth: int) -> Condition:
        if depth > DEPTH_LIMIT:
            raise PipelineError(f"gate: nested more than {DEPTH_LIMIT} deep")
        match node:
            case ast.BoolOp(op=ast.And()):
                return AllOf(tuple(self.condition(value, depth=depth + 1) for value in node.values))
            case ast.BoolOp():
                return AnyOf(tuple(self.condition(value, depth=depth + 1) for value in node.values))
            case ast.UnaryOp(op=ast.Not()):
                return Not(self.condition(node.operand, depth=depth + 1))
            case ast.Compare():
                return self._comparison(node)
            case ast.Call(func=ast.Name(id=name)) if name == _NO_REGRESSION:
                return self._no_regression(node)
            case ast.Name(id=name) if name in self._names:
                return self._names[name]
        raise self._refused(node, "expected a comparison")

    # --- Clauses ------------------------------------------------------------------------------------------

    def _comparison(self, node: ast.Compare) -> Condition:
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn):
            return self._licence(node, is_excluded=isinstance(node.ops[0], ast.NotIn))
        sides = (node.left, *node.comparators)
        parts = tuple(
            self._pair(left, sign, right) for left, sign, right in zip(sides, node.ops, sides[1:], strict=False)
        )
        return parts[0] if len(parts) == 1 else AllOf(parts)

    def _pair(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Comparison:
        if type(sign) not in _SIGNS:
            raise self._refused(left, "expected >=, >, <= or < after this")
        compare = _SIGNS[type(sign)]
        if not self._is_quantity(left):
            left, right, compare = right, left, compare.mirrored
        quantity = self._quantity(left)
        return Comparison(
            metric=quantity.metric,
            operator=compare,
            threshold=self._threshold(right, quantity),
            message=self._messages.get(quantity.metric, "") if quantity == _Quantity(metric=quantity.metric) else "",
            bound=quantity.bound,
            slice=quantity.slice,
        )

    def _no_regression(self, node: ast.Call) -> NoRegression:
        options = {each.arg: each.value for each in node.keywords}
        match node.args:
            case [ast.Name(id=metric)] if options.keys() <= {"by", "margin"}:
                margin = self._number(options["margin"]) if "margin" in options else 0.0
                return NoRegression(metric=metric, column=self._column(options.get("by")), margin=margin)
        raise self._refused(node, f"expected {_NO_REGRESSION}(METRIC, by=COLUMN, margin=NUMBER)")

    def _licence(self, node: ast.Compare, *, is_excluded: bool) -> LicenceClause:
        match node:
            case ast.Compare(left=ast.Name(id=name), comparators=[right]) if name in list(LicenceSubject):
                listed = right.elts if isinstance(right, ast.Tuple | ast.List) else [right]
                return LicenceClause(
                    subject=LicenceSubject(name),
                    licences=tuple(map(self._licence_name, listed)),
                    is_excluded=is_excluded,
                )
        raise self._refused(node, f"expected {' or '.join(LicenceSubject)} before 'in'")

    def _licence_name(self, node: ast.expr) -> str:
        match node:
            case ast.Name():
                return ast.get_source_segment(self._text, node) or node.id
            case ast.Constant(value=str() as name):
                return name
        raise self._refused(node, "expected an SPDX identifier, in quotes where it has spaces")

    # --- The left side ------------------------------------------------------------------------------------

    @staticmethod
    def _is_quantity(node: ast.expr) -> bool:
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == _BEST):
            node = node.value
        return isinstance(node, ast.Name | ast.Call) or (
            isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
        )

    def _quantity(self, node: ast.expr) -> _Quantity:
        match node:
            case ast.Name(id=metric):
                return _Quantity(metric=metric)
            case ast.Attribute(value=ast.Name() | ast.Subscript() | ast.Call() as inner, attr=end):
                quantity = self._quantity(inner)
                if end not in list(Bound):
                    raise self._refused(node, f"expected .lower or .upper, not .{end}")
                return _Quantity(metric=quantity.metric, slice=quantity.slice, bound=Bound(end))
            case ast.Subscript(value=ast.Name(id=metric)):
                return _Quantity(metric=metric, slice=self._slice(node.slice))
            case ast.Call(func=ast.Name(id=name), args=[ast.Name(id=metric)], keywords=options) if name == _WORST:
                if [each.arg for each in options] in ([], ["by"]):
                    column = self._column(options[0].value if options else None)
                    return _Quantity(metric=metric, slice=Slice(column=column))
        raise self._refused(node, "expected a metric's name")

    def _slice(self, node: ast.expr) -> Slice:
        match node:
            case ast.Compare(left=ast.Name() | ast.Constant() as column, ops=[ast.Eq()], comparators=[value]):
                return Slice(column=self._column(column), value=self._value(value))
        return Slice(value=self._value(node))

    def _column(self, node: ast.expr | None) -> str:
        match node:
            case None:
                return LABEL
            case ast.Name(id=name):
                return name
            case ast.Constant(value=str() as name):
                return name
        raise self._refused(node, "expected a column's name")

    def _value(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Constant(value=str() | int() | float() as value) if not isinstance(value, bool):
                return str(value)
        raise self._refused(node, "expected a class or a value, in quotes where it is not a name")

    # --- The right side -----------------------------------------------------------------------------------

    def _threshold(self, node: ast.expr, quantity: _Quantity) -> float | str | Champion:
        match node:
            case ast.Name():
                return node.id
            case ast.BinOp(op=ast.Sub() | ast.Add() as sign, left=left, right=right) if self._is_champion(left):
                offset = self._number(right)
                return self._champion(left, quantity, offset=offset if isinstance(sign, ast.Add) else -offset)
            case _ if self._is_champion(node):
                return self._champion(node, quantity, offset=0.0)
        return self._number(node)

    @staticmethod
    def _is_champion(node: ast.expr) -> bool:
        if isinstance(node, ast.Subscript):
            node = node.value
        return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == _BEST

    def _champion(self, node: ast.expr, quantity: _Quantity, *, offset: float) -> Champion:
        part = self._slice(node.slice) if isinstance(node, ast.Subscript) else None
        attribute = node.value if isinstance(node, ast.Subscript) else node
        assert isinstance(attribute, ast.Attribute)  # noqa: S101  for mypy: see _is_champion
        is_worst = quantity.slice is not None and quantity.slice.value is None  # refused by the comparison itself
        if attribute.attr != quantity.metric or (part != quantity.slice and not is_worst):
            of = quantity.slice.of(quantity.metric) if quantity.slice else quantity.metric
            raise self._refused(node, f"expected {_BEST}.{of}, the champion's value of the left side")
        return Champion(offset=offset)

    def _number(self, node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if not isinstance(
                value, bool
            ):
                return -value
        raise self._refused(node, "expected a number or a parameter's name")

    def _refused(self, node: ast.expr | None, expected: str) -> PipelineError:
        column = f", column {node.col_offset + 1}" if node is not None else ""
        return PipelineError(f"gate: {_shown(self._text)}{column}: {expected}")


def _shown(text: str) -> str:
    """Return a text for messages: without its middle where it is long."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} ... {text[-_SHOWN // 2 :]}")
