"""Checks the conditions and the branches of Condition steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.runners import did_you_mean
from mlops_sagemaker.checking.document import BRANCHES
from mlops_sagemaker.checking.expressions import Kind
from mlops_sagemaker.checking.faults import below

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.checking.document import StepEntry
    from mlops_sagemaker.checking.expressions import ExpressionChecker
    from mlops_sagemaker.checking.faults import Faults

_ORDERED = ("GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo")
_ONLY_IN_THE_SCHEMA = ("NotEquals", "NotIn")
"""Conditions of the published schema that neither SDK writes; it also has other names for the keys of `In`."""
_KEYS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((*_ORDERED, "Equals", "NotEquals"), ("LeftValue", "RightValue")),
    **dict.fromkeys(("In", "NotIn"), ("QueryValue", "Values")),
    "Not": ("Condition",),
    "Or": ("Conditions",),
}
_DEPTH_LIMIT = 60


def check_condition_step(step: StepEntry, faults: Faults, *, expressions: ExpressionChecker) -> None:
    """Check the conditions and the branches of a Condition step."""
    arguments, path = step.arguments, step.arguments_path
    for key in arguments:
        if key not in ("Conditions", *BRANCHES):
            names = ("Conditions", *BRANCHES)
            faults.add(below(path, key), f"unknown argument{did_you_mean(key, names)}", f"expected: {', '.join(names)}")
    conditions = arguments.get("Conditions")
    if not isinstance(conditions, list) or not conditions:
        faults.add(f"{path}.Conditions", "has no condition", "add at least one condition")
    else:
        checker = _ConditionChecker(faults, expressions)
        for index, condition in enumerate(conditions):
            checker.check(condition, f"{path}.Conditions[{index}]")
    _check_branches(step, faults)
    if step.condition:
        fix = "move its conditions to the outer step, or move the step outside of the branch, to be safe"
        faults.warn(step.path, f"a Condition step is inside a branch of '{step.condition}'", fix)


def _check_branches(step: StepEntry, faults: Faults) -> None:
    for key in BRANCHES:
        branch = step.arguments.get(key)
        if branch is not None and not isinstance(branch, list):
            faults.add(f"{step.arguments_path}.{key}", "is not a list of steps", "use a list; [] for no steps")
    if not any(step.arguments.get(key) for key in BRANCHES):
        faults.warn(step.arguments_path, "both branches are empty", "add steps to IfSteps or ElseSteps")


class _ConditionChecker:
    def __init__(self, faults: Faults, expressions: ExpressionChecker) -> None:
        self._faults = faults
        self._expressions = expressions

    def check(self, condition: object, path: str, *, depth: int = 0) -> None:
        if not isinstance(condition, dict) or depth > _DEPTH_LIMIT:
            self._faults.add(path, "is not a condition", "use an object with Type")
            return
        kind = condition.get("Type")
        if not isinstance(kind, str) or kind not in _KEYS:
            hint = did_you_mean(kind, _KEYS) if isinstance(kind, str) else ""
            self._faults.add(below(path, "Type"), f"unknown condition {kind!r}{hint}", f"use one of {', '.join(_KEYS)}")
            return
        if kind in _ONLY_IN_THE_SCHEMA:
            fix = f"use Not with {kind.removeprefix('Not')}, to be safe"
            self._faults.warn(below(path, "Type"), f"'{kind}' is in the published schema, but not in the SDKs", fix)
        if kind in ("In", "NotIn") and {"Value", "In"} & condition.keys():
            problem = "has the keys Value and In of the published schema, which the SDKs call QueryValue and Values"
            self._faults.warn(path, problem, "use QueryValue and Values, to be safe")
            names = {"Value": "QueryValue", "In": "Values"}
            renamed: dict[str, object] = {names.get(str(key), str(key)): value for key, value in condition.items()}
            condition = renamed
        if not self._has_keys(condition, kind, path):
            return
        if kind == "Not":
            self.check(condition["Condition"], below(path, "Condition"), depth=depth + 1)
        elif kind == "Or":
            self._or(condition["Conditions"], below(path, "Conditions"), depth=depth)
        elif kind in ("In", "NotIn"):
            self._in(condition, path)
        else:
            self._binary(condition, kind, path)

    def _has_keys(self, condition: Mapping[str, object], kind: str, path: str) -> bool:
        expected = _KEYS[kind]
        for key in condition:
            if key not in ("Type", *expected):
                self._faults.add(
                    below(path, key),
                    f"unknown key of '{kind}'{did_you_mean(key, expected)}",
                    f"expected: {', '.join(expected)}",
                )
        missing = [key for key in expected if key not in condition]
        for key in missing:
            self._faults.add(below(path, key), f"is missing in '{kind}'", "add it")
        return not missing

    def _or(self, conditions: object, path: str, *, depth: int) -> None:
        if not isinstance(conditions, list) or not conditions:
            self._faults.add(path, "'Or' without conditions", "add at least one condition")
            return
        for index, inner in enumerate(conditions):
            self.check(inner, below(path, index), depth=depth + 1)

    def _in(self, condition: Mapping[str, object], path: str) -> None:
        self._expressions.scalar(condition["QueryValue"], below(path, "QueryValue"))
        values = condition["Values"]
        if not isinstance(values, list) or not values:
            self._faults.add(below(path, "Values"), "is empty", "add the values to compare with")
            return
        for index, value in enumerate(values):
            self._expressions.scalar(value, below(below(path, "Values"), index))

    def _binary(self, condition: Mapping[str, object], kind: str, path: str) -> None:
        sides = {key: condition[key] for key in ("LeftValue", "RightValue")}
        kinds = {key: self._expressions.scalar(value, below(path, key)) for key, value in sides.items()}
        if not any(isinstance(value, dict) for value in sides.values()):
            self._faults.warn(path, "compares two constants", "compare a Get or a Std:JsonGet with a value")
        if kind in _ORDERED:
            for key, operand in kinds.items():
                if operand in (Kind.STRING, Kind.BOOLEAN):
                    self._faults.add(
                        below(path, key),
                        f"'{kind}' with a {operand}",
                        "compare numbers: remove quotes, or use a Float parameter",
                    )
        elif Kind.UNKNOWN not in kinds.values() and not _comparable(kinds["LeftValue"], kinds["RightValue"]):
            types = f"{kinds['LeftValue']} with {kinds['RightValue']}"
            self._faults.add(path, f"compares {types}, which are never equal", "use the same type on both sides")


def _comparable(left: Kind, right: Kind) -> bool:
    numbers = (Kind.INTEGER, Kind.FLOAT)
    return left is right or (left in numbers and right in numbers)
