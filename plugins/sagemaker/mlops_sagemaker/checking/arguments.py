"""Checks the arguments of steps, including expressions, against the shapes of the service's Create operations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlops_core.runners import did_you_mean
from mlops_sagemaker.checking.conditions import check_condition_step
from mlops_sagemaker.checking.document import as_list
from mlops_sagemaker.checking.expressions import ExpressionChecker, Kind, is_expression
from mlops_sagemaker.checking.faults import below
from mlops_sagemaker.checking.jobs import check_job
from mlops_sagemaker.checking.loops import check_loop
from mlops_sagemaker.checking.model import OPTIONAL
from mlops_sagemaker.checking.outputs import check_outputs
from mlops_sagemaker.checking.structure import PARAMETER_TYPES, is_of_type

if TYPE_CHECKING:
    from mlops_sagemaker.checking.document import Document, StepEntry
    from mlops_sagemaker.checking.faults import Faults
    from mlops_sagemaker.checking.model import ServiceModel, Shape

_FITTING = {
    "string": (Kind.STRING,),
    "timestamp": (Kind.STRING,),
    "blob": (Kind.STRING,),
    "integer": (Kind.INTEGER,),
    "long": (Kind.INTEGER,),
    "float": (Kind.FLOAT, Kind.INTEGER),
    "double": (Kind.FLOAT, Kind.INTEGER),
    "boolean": (Kind.BOOLEAN,),
}
_PYTHON = {
    "string": (str,),
    "timestamp": (str, int, float),
    "blob": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
}
_WORDS = {
    "structure": "an object",
    "list": "a list",
    "map": "an object",
    "string": "a text",
    "boolean": "true or false",
}
_REFUSED = {"CertifyForMarketplace": "is not allowed in a pipeline"}
_SHOWN = 60


def check_arguments(document: Document, faults: Faults, *, model: ServiceModel | None) -> None:
    """Check the arguments of every step."""
    expressions = ExpressionChecker(document, faults, model=model)
    for step in document.steps:
        if step.type == "Condition":
            check_condition_step(step, faults, expressions=expressions)
            continue
        check_outputs(step, faults, expressions=expressions)
        if "Arguments" in step.data and not isinstance(step.data["Arguments"], dict):
            faults.add(step.arguments_path, "is not an object", "write the arguments as {'Name': value}")
            continue
        if step.type == "ForEach":
            check_loop(step, document, faults, expressions=expressions)
            continue
        shape = model.arguments(step.type) if model else None
        checker = _ShapeChecker(document, faults, expressions=expressions)
        if shape is None:
            checker.check_free(dict(step.arguments), step.arguments_path)
        else:
            checker.check_call(step, shape)
        check_job(step, faults)
    for key in ("PipelineExperimentConfig", "MlflowConfig"):
        _ShapeChecker(document, faults, expressions=expressions).check_free(document.data.get(key), below("$", key))


class _ShapeChecker:
    """Walks arguments and their shape in parallel."""

    def __init__(self, document: Document, faults: Faults, *, expressions: ExpressionChecker) -> None:
        self._document = document
        self._faults = faults
        self._expressions = expressions

    def check_call(self, step: StepEntry, shape: Shape) -> None:
        """Check the arguments of a step against the shape of its operation."""
        for name, reason in _REFUSED.items():
            if name in step.arguments:
                self._faults.add(below(step.arguments_path, name), reason, "remove it")
        self._structure(dict(step.arguments), shape, step.arguments_path, optional=OPTIONAL.get(shape.name, ()))

    def check_free(self, value: object, path: str) -> None:
        """Check the expressions in arguments whose shape is unknown."""
        if isinstance(value, dict):
            if is_expression(value):
                self._expressions.check(value, path)
                return
            for key, inner in value.items():
                self.check_free(inner, below(path, key))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                self.check_free(inner, below(path, index))

    def _check(self, value: Any, shape: Shape, path: str) -> None:
        if isinstance(value, dict) and is_expression(value) and shape.type_name != "map":
            self._expression(value, shape, path)
        elif shape.type_name == "structure":
            if self._is(value, dict, shape, path):
                self._structure(value, shape, path)
        elif shape.type_name == "list":
            if self._is(value, list, shape, path):
                self._list(value, shape, path)
        elif shape.type_name == "map":
            if self._is(value, dict, shape, path):
                self._map(value, shape, path)
        else:
            self._scalar(value, shape, path)

    def _is(self, value: object, expected: type, shape: Shape, path: str) -> bool:
        if isinstance(value, expected):
            return True
        self._faults.add(
            path, f"{_shown(value)} where {_WORDS[shape.type_name]} is expected", f"use {_WORDS[shape.type_name]}"
        )
        return False

    def _structure(self, value: dict[str, Any], shape: Shape, path: str, *, optional: tuple[str, ...] = ()) -> None:
        for name in shape.required_members:
            if name not in value and name not in optional:
                self._faults.add(below(path, name), "is required but missing", f"add it to {shape.name}")
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            self._faults.add(path, f"has {len(value)} members", f"use exactly one of {', '.join(shape.members)}")
        for name, inner in value.items():
            member = shape.members.get(name)
            if member is None:
                names = ", ".join(shape.members)
                expected = names if len(names) < 300 else f"see {shape.name} in the API reference"
                self._faults.add(
                    below(path, name), f"unknown argument{did_you_mean(name, shape.members)}", f"expected: {expected}"
                )
            elif inner is None:
                self._faults.add(below(path, name), "is null", "omit it, or set a value")
            else:
                self._check(inner, member, below(path, name))

    def _list(self, value: list[Any], shape: Shape, path: str) -> None:
        self._size(len(value), shape, path, unit="items")
        for index, inner in enumerate(value):
            self._check(inner, shape.member, below(path, index))

    def _map(self, value: dict[str, Any], shape: Shape, path: str) -> None:
        self._size(len(value), shape, path, unit="entries")
        for key, inner in value.items():
            self._text(key, shape.key, below(path, key))
            self._check(inner, shape.value, below(path, key))

    def _scalar(self, value: object, shape: Shape, path: str) -> None:
        kind = shape.type_name
        allowed = _PYTHON.get(kind)
        if allowed is None:
            return
        is_wrong_boolean = isinstance(value, bool) and kind != "boolean"
        if is_wrong_boolean or not isinstance(value, allowed):
            word = _WORDS.get(kind, "a number" if kind in ("float", "double") else "a whole number")
            fix = f"use {word}" + (", in quotes" if kind == "string" and isinstance(value, int | float) else "")
            self._faults.add(path, f"{_shown(value)} where {word} is expected", fix)
        elif isinstance(value, str):
            self._text(value, shape, path)
        elif not isinstance(value, bool):
            self._number(value, shape, path)

    def _text(self, value: str, shape: Shape, path: str) -> None:
        enumeration = getattr(shape, "enum", ())
        if enumeration:
            if value not in enumeration:
                listed = ", ".join(enumeration[:8]) + (", ..." if len(enumeration) > 8 else "")
                self._faults.add(
                    path, f"{value!r} is unknown{did_you_mean(value, enumeration)}", f"use one of {listed}"
                )
            return
        pattern = shape.metadata.get("pattern")
        if pattern and not _matches(pattern, value):
            self._faults.add(path, f"{_shown(value)} does not match {pattern}", f"use a valid {shape.name}")
        else:
            self._size(len(value), shape, path, unit="characters")

    def _number(self, value: Any, shape: Shape, path: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and value < low:
            self._faults.add(path, f"{value} is below {low}", f"the minimum is {low}")
        if high is not None and value > high:
            self._faults.add(path, f"{value} is above {high}", f"the maximum is {high}")

    def _size(self, size: int, shape: Shape, path: str, *, unit: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and size < low:
            self._faults.add(
                path, f"has {size} {unit}, fewer than the minimum of {low}", "add to it, or omit the argument"
            )
        if high is not None and size > high:
            self._faults.add(path, f"has {size} {unit}, more than the maximum of {high}", "shorten it")

    def _expression(self, value: dict[str, Any], shape: Shape, path: str) -> None:
        kind = self._expressions.check(value, path)
        fitting = _FITTING.get(shape.type_name)
        if fitting is None:
            word = _WORDS[shape.type_name]
            self._faults.add(
                path, f"an expression where {word} is expected", "expressions can only replace texts and numbers"
            )
        elif kind is not Kind.UNKNOWN and kind not in fitting:
            fix = (
                "join it: {'Std:Join': {'On': '', 'Values': [...]}}"
                if Kind.STRING in fitting
                else "use an expression of that type"
            )
            self._faults.add(path, f"a {kind} where {' or '.join(fitting)} is expected", fix)
        else:
            self._default(value, shape, path)

    def _default(self, value: dict[str, Any], shape: Shape, path: str) -> None:
        """Check the default of a parameter where it is used: executions with a wrong default would fail."""
        target = value.get("Get")
        if not isinstance(target, str) or not target.startswith("Parameters."):
            return
        declared = self._document.parameters.get(target.partition(".")[2], {})
        kind = declared.get("Type", "String")
        values = [declared["DefaultValue"]] if "DefaultValue" in declared else []
        values += as_list(declared.get("EnumValues"))
        for each in values:
            if each == "":
                continue  # a default that has to be replaced when an execution is started
            if isinstance(kind, str) and kind in PARAMETER_TYPES and is_of_type(each, kind):
                self._scalar(each, shape, path)


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    except re.error:  # a pattern of another dialect cannot be checked
        return True


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
