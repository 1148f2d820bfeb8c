"""Evaluates the conditions of Condition steps: resolves all operands first, then compares them.

An operand that is missing, null or not finite fails the step, whatever ``Or`` and ``Not`` surround it, so a missing
value can never satisfy a condition.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.functions import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlops_sagemaker.emulator.functions import Scope

_ORDERS = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}


def holds_all(conditions: Iterable[Mapping[str, Any]], scope: Scope) -> bool:
    """Return whether all conditions hold; the conditions of a step are joined by "and".

    Raises:
        StepFault: an operand cannot be resolved or compared.
    """
    return all(_each(resolve(list(conditions), scope)))


def _each(conditions: Iterable[Mapping[str, Any]]) -> list[bool]:
    """Evaluate all conditions without short-circuiting, so that faults do not depend on the order."""
    return [_holds(condition) for condition in conditions]


def _holds(condition: Mapping[str, Any]) -> bool:
    kind = condition.get("Type")
    try:
        if kind == "Not":
            return not _holds(condition["Condition"])
        if kind == "Or":
            return any(_each(condition["Conditions"]))
        if kind in ("In", "NotIn"):
            query = condition["QueryValue"] if "QueryValue" in condition else condition["Value"]
            values = condition["Values"] if "Values" in condition else condition["In"]
            results = [_equal(query, value) for value in values]
            return any(results) is (kind == "In")
        left, right = condition["LeftValue"], condition["RightValue"]
    except (KeyError, TypeError) as error:
        raise StepFault(FaultKind.CLIENT, f"condition of type '{kind}' is not well formed: {error}") from error
    if kind in ("Equals", "NotEquals"):
        return _equal(left, right) is (kind == "Equals")
    if kind in _ORDERS:
        _require_comparable(left, right)
        return bool(_ORDERS[kind](left, right))
    raise StepFault(FaultKind.CLIENT, f"unknown condition type '{kind}'")


def _equal(left: object, right: object) -> bool:
    _require_comparable(left, right)
    return left == right


def _require_comparable(left: object, right: object) -> None:
    kinds = {_kind(left), _kind(right)}
    if len(kinds) > 1 or "" in kinds:
        raise StepFault(FaultKind.CLIENT, f"{left!r} and {right!r} cannot be compared")


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number" if math.isfinite(value) else ""
    return "text" if isinstance(value, str) else ""
