"""Checks the expressions in a definition: whether their references exist, and the types of their results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.runners import did_you_mean
from mlops_sagemaker.checking.document import as_list
from mlops_sagemaker.checking.faults import below
from mlops_sagemaker.checking.properties import property_kind
from mlops_sagemaker.checking.structure import PARAMETER_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_sagemaker.checking.document import Document, StepEntry
    from mlops_sagemaker.checking.faults import Faults
    from mlops_sagemaker.checking.model import ServiceModel

EXECUTION_VARIABLES = (
    "PipelineName",
    "PipelineArn",
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "StartDateTime",
    "CurrentDateTime",
    "TrainingJobName",
    "ProcessingJobName",
)
FUNCTIONS = ("Std:Join", "Std:JsonGet")
LOOP_SCOPES = ("ForEach", "ChildOutput", "IterationOutput")
_CURRENT_ITEM = re.compile(r"ForEach\.CurrentItem(?:[.\[].+)?\Z", re.DOTALL)
_STEP_REFERENCE = re.compile(r"Steps\.([A-Za-z0-9_-]+)(.*)\Z", re.DOTALL)
_JSON_PATH_START = re.compile(r"[A-Za-z_$\[\"']")


class Kind(StrEnum):
    """The type of an expression's result."""

    STRING = "String"
    INTEGER = "Integer"
    FLOAT = "Float"
    BOOLEAN = "Boolean"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A step that an expression reads."""

    path: str
    step: str


def is_expression(value: object) -> bool:
    """Return whether a value is an expression, whose result is only known at run time."""
    return isinstance(value, dict) and any(key == "Get" or key.startswith("Std:") for key in value)


def references(value: object, path: str) -> Iterator[Reference]:
    """Yield all references to steps within a value."""
    if isinstance(value, dict):
        target = value.get("Get")
        match = _STEP_REFERENCE.match(target) if isinstance(target, str) else None
        if match:
            yield Reference(path=path, step=match[1])
        for key, inner in value.items():
            yield from references(inner, below(path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from references(inner, below(path, index))


class ExpressionChecker:
    """Checks the expressions of a definition."""

    def __init__(self, document: Document, faults: Faults, *, model: ServiceModel | None) -> None:
        """Check against the parameters and steps of `document`, and properties against `model` if it is not None."""
        self._document = document
        self._faults = faults
        self._model = model

    def check(self, value: dict[str, Any], path: str) -> Kind:
        """Check an expression and return the type of its result."""
        if len(value) != 1:
            keys = ", ".join(value)
            self._faults.add(
                path, f"an expression must have one key, not {keys}", "separate the expression from the rest"
            )
            return Kind.UNKNOWN
        ((key, inner),) = value.items()
        if key == "Get":
            return self._get(inner, path)
        if key == "Std:Join":
            return self._join(inner, below(path, key))
        if key == "Std:JsonGet":
            return self._json_get(inner, below(path, key))
        hint = did_you_mean(key, FUNCTIONS)
        self._faults.add(path, f"unknown function '{key}'{hint}", f"use Get, {' or '.join(FUNCTIONS)}")
        return Kind.UNKNOWN

    def scalar(self, value: object, path: str) -> Kind:
        """Check a text, number, boolean or expression and return its type."""
        if isinstance(value, dict):
            return self.check(value, path)
        if isinstance(value, bool):
            return Kind.BOOLEAN
        if isinstance(value, int):
            return Kind.INTEGER
        if isinstance(value, float):
            return Kind.FLOAT
        if isinstance(value, str):
            return Kind.STRING
        self._faults.add(
            path,
            f"{type(value).__name__} where a value is expected",
            "use a text, a number, a boolean or an expression",
        )
        return Kind.UNKNOWN

    def text(self, value: dict[str, Any], path: str) -> None:
        """Check an expression whose result must be a text."""
        kind = self.check(value, path)
        if kind not in (Kind.STRING, Kind.UNKNOWN):
            self._faults.add(path, f"a {kind} where {Kind.STRING} is expected", "use an expression of that type")

    # --- Get ----------------------------------------------------------------------------------------------

    def _get(self, target: object, path: str) -> Kind:
        place = below(path, "Get")
        if not isinstance(target, str):
            self._faults.add(place, "is not a text", "write 'Parameters.x', 'Steps.x.y' or 'Execution.x'")
            return Kind.UNKNOWN
        scope, _, rest = target.partition(".")
        if scope == "Parameters":
            return self._parameter(rest, place)
        if scope == "Execution":
            return self._variable(rest, place)
        if scope == "Steps":
            return self._property(target, place)
        if scope in LOOP_SCOPES:
            self._loop_reference(scope, target, place)
            return Kind.UNKNOWN
        hint = did_you_mean(scope, ("Parameters", "Execution", "Steps", *LOOP_SCOPES))
        self._faults.add(
            place, f"{target!r} is not a reference{hint}", "start it with 'Parameters.', 'Steps.' or 'Execution.'"
        )
        return Kind.UNKNOWN

    def _loop_reference(self, scope: str, target: str, path: str) -> None:
        """Check where a reference that only ForEach steps have is used."""
        step = self._document.step_at(path)
        if step is None:
            return
        if scope == "ForEach":
            if not _CURRENT_ITEM.match(target):
                fix = "write 'ForEach.CurrentItem' or 'ForEach.CurrentItem.<field>'"
                self._faults.add(path, f"{target!r} is not a reference", fix)
            elif not step.loop:
                self._faults.add(path, "there is no current item", "use it in the ForEachBody of a ForEach step")
        elif step.type != "ForEach" or not path.startswith(f"{step.arguments_path}.Selector.Field"):
            self._faults.add(path, f"{target!r} is outside of a Selector", "use it as Selector.Field of a ForEach step")

    def _parameter(self, name: str, path: str) -> Kind:
        declared = self._document.parameters.get(name)
        if declared is None:
            names = self._document.parameters
            fix = f"declare it; declared: {', '.join(names) or 'none'}"
            self._faults.add(path, f"unknown parameter '{name}'{did_you_mean(name, names)}", fix)
            return Kind.UNKNOWN
        kind = declared.get("Type", "String")
        return Kind(kind) if isinstance(kind, str) and kind in PARAMETER_TYPES else Kind.UNKNOWN

    def _variable(self, name: str, path: str) -> Kind:
        if name not in EXECUTION_VARIABLES:
            hint = did_you_mean(name, EXECUTION_VARIABLES)
            self._faults.add(
                path, f"unknown execution variable '{name}'{hint}", f"use one of {', '.join(EXECUTION_VARIABLES)}"
            )
            return Kind.UNKNOWN
        return Kind.STRING

    def _property(self, target: str, path: str) -> Kind:
        match = _STEP_REFERENCE.match(target)
        if not match:
            self._faults.add(path, f"{target!r} names no step", "write 'Steps.<name>.<property>'")
            return Kind.UNKNOWN
        step = self._find_step(match[1], path)
        if step is None:
            return Kind.UNKNOWN
        if match[2].startswith(".PropertyFiles."):
            fix = "read a value from it with Std:JsonGet"
            self._faults.add(path, f"{target!r} is a property file, not a value", fix)
            return Kind.UNKNOWN
        name = property_kind(step, match[2], path=path, faults=self._faults, model=self._model)
        return Kind(name) if name else Kind.UNKNOWN

    def _find_step(self, name: str, path: str) -> StepEntry | None:
        step = self._document.step(name)
        if step is None:
            names = self._document.step_names
            self._faults.add(path, f"unknown step '{name}'{did_you_mean(name, names)}", f"steps: {', '.join(names)}")
        return step

    # --- Functions ----------------------------------------------------------------------------------------

    def _join(self, data: object, path: str) -> Kind:
        if not isinstance(data, dict) or not {"Values"} <= data.keys() <= {"On", "Values"}:
            self._faults.add(path, "must have the keys On and Values", "write {'On': '', 'Values': [...]}")
            return Kind.STRING
        if not isinstance(data.get("On", ""), str):
            self._faults.add(below(path, "On"), "is not a text", "use a text; '' joins without a separator")
        if not isinstance(data["Values"], list) or not data["Values"]:
            self._faults.add(below(path, "Values"), "has no values to join", "use a list of values")
            return Kind.STRING
        for index, value in enumerate(data["Values"]):
            self.scalar(value, below(below(path, "Values"), index))
        return Kind.STRING

    def _json_get(self, data: object, path: str) -> Kind:
        if not isinstance(data, dict) or not data.keys() <= {"PropertyFile", "Path", "S3Uri"} or "Path" not in data:
            self._faults.add(path, "needs PropertyFile (or S3Uri) and Path", "write {'PropertyFile': ..., 'Path': ...}")
            return Kind.UNKNOWN
        if ("PropertyFile" in data) == ("S3Uri" in data):
            self._faults.add(path, "needs either PropertyFile or S3Uri", "use exactly one of them")
        self._json_path(data["Path"], below(path, "Path"))
        if "PropertyFile" in data:
            self._property_file(data["PropertyFile"], below(path, "PropertyFile"))
        else:
            self.scalar(data["S3Uri"], below(path, "S3Uri"))
        return Kind.UNKNOWN

    def _json_path(self, value: object, path: str) -> None:
        if not isinstance(value, str):
            self._faults.add(
                path, "is not a literal text", "write the path as a text; the service accepts no expression here"
            )
        elif not _JSON_PATH_START.match(value) or value.endswith("."):
            self._faults.add(
                path, f"{value!r} is not a path within a file", "write for example 'metrics.accuracy.value'"
            )

    def _property_file(self, value: object, path: str) -> None:
        target = value.get("Get") if isinstance(value, dict) else None
        parts = target.split(".") if isinstance(target, str) else []
        if len(parts) < 4 or parts[0] != "Steps" or parts[2] != "PropertyFiles":
            self._faults.add(path, "names no property file", "write {'Get': 'Steps.<step>.PropertyFiles.<name>'}")
            return
        step = self._find_step(parts[1], below(path, "Get"))
        if step is None:
            return
        files = [
            item.get("PropertyFileName") for item in as_list(step.data.get("PropertyFiles")) if isinstance(item, dict)
        ]
        name = ".".join(parts[3:])
        if name not in files:
            declared = [str(each) for each in files]
            self._faults.add(
                below(path, "Get"),
                f"step '{step.name}' has no property file '{name}'{did_you_mean(name, declared)}",
                f"declare it in the step's PropertyFiles; declared: {', '.join(declared) or 'none'}",
            )
