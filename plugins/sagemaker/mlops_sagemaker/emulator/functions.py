"""Evaluates the functions of a definition: ``Get``, ``Std:Join`` and ``Std:JsonGet``.

The functions are pure; the values of parameters, executions, steps and property files come from a `Scope`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Protocol

from mlops_core.runners import did_you_mean
from mlops_sagemaker.emulator.faults import FaultKind, StepFault

if TYPE_CHECKING:
    from collections.abc import Mapping

_SEGMENT = re.compile(r"""\.?([A-Za-z0-9_-]+)|\[(\d+)\]|\[(?:'([^']*)'|"([^"]*)")\]""")
_NAMES = ("OutputName", "InputName", "ChannelName", "MetricName", "Name", "Key")
"""The fields that identify the items of a list, for indexes such as ``Outputs['train']``."""


class Scope(Protocol):
    """The source of values for expressions."""

    def parameters(self) -> Mapping[str, Any]:
        """Return the parameter values by name."""

    def execution(self) -> Mapping[str, Any]:
        """Return the execution variables by name."""

    def properties(self, step: str) -> Mapping[str, Any]:
        """Return the properties of a step that succeeded."""

    def property_file(self, step: str, name: str) -> str:
        """Return the text of a property file."""

    def document(self, uri: str) -> str:
        """Return the text of an object in S3."""


def resolve(value: Any, scope: Scope) -> Any:
    """Return `value` with all functions replaced by their results.

    Raises:
        StepFault: a reference cannot be resolved.
    """
    if isinstance(value, list | tuple):
        return [resolve(inner, scope) for inner in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (function, argument), *_ = value.items()
        if function == "Get":
            return _get(argument, scope)
        if function == "Std:Join":
            return str(argument.get("On", "")).join(as_text(resolve(part, scope)) for part in argument["Values"])
        if function == "Std:JsonGet":
            return _json_get(argument, scope)
    return {name: resolve(inner, scope) for name, inner in value.items()}


def known_values(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Return `value` with the parameters in place; expressions that need more than parameters stay as they are."""
    if isinstance(value, list | tuple):
        return [known_values(inner, parameters) for inner in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (function, argument), *_ = value.items()
        if function == "Get":
            name = str(argument).removeprefix("Parameters.")
            return parameters[name] if name != argument and name in parameters else value
        if function == "Std:Join" and isinstance(argument, dict):
            parts = known_values(argument.get("Values") or [], parameters)
            is_known = isinstance(parts, list) and not any(isinstance(part, dict | list) for part in parts)
            return str(argument.get("On", "")).join(map(as_text, parts)) if is_known else value
        if function == "Std:JsonGet":
            return value
    return {name: known_values(inner, parameters) for name, inner in value.items()}


def as_text(value: object) -> str:
    """Return a value in the form that ``Std:Join`` inserts."""
    return value if isinstance(value, str) else json.dumps(value)


def _get(reference: str, scope: Scope) -> Any:
    kind, _, rest = reference.partition(".")
    if kind == "Parameters":
        return _named(rest, scope.parameters(), f"{reference}: parameter")
    if kind == "Execution":
        return _named(rest, scope.execution(), f"{reference}: execution variable")
    if kind != "Steps":
        raise StepFault(FaultKind.CLIENT, f"{reference}: expected Parameters., Execution. or Steps.")
    step, path = _split_step(rest)
    return walk(scope.properties(step), path, what=reference)


def _named(name: str, values: Mapping[str, Any], what: str) -> Any:
    if name not in values:
        raise StepFault(FaultKind.CLIENT, f"{what} '{name}' is unknown{did_you_mean(name, values)}")
    return values[name]


def _split_step(rest: str) -> tuple[str, str]:
    match = re.match(r"[A-Za-z0-9_-]+", rest)
    name = match[0] if match else ""
    return name, rest[len(name) :]


def _json_get(argument: Mapping[str, Any], scope: Scope) -> Any:
    path = argument["Path"]
    if "S3Uri" in argument:
        what = as_text(resolve(argument["S3Uri"], scope))
        text = scope.document(what)
    else:
        file = argument["PropertyFile"]
        reference = file["Get"] if isinstance(file, dict) else f"Steps.{argument['Step']}.PropertyFiles.{file}"
        step, rest = _split_step(reference.removeprefix("Steps."))
        what = f"property file '{rest.removeprefix('.PropertyFiles.')}' of step '{step}'"
        text = scope.property_file(step, rest.removeprefix(".PropertyFiles."))
    try:
        data = json.loads(text)
    except ValueError as error:
        raise StepFault(FaultKind.CLIENT, f"{what} is not JSON: {error}") from error
    return walk(data, path, what=f"{what}: Path '{path}'")


def walk(data: Any, path: str, *, what: str) -> Any:
    """Return the value at a path such as ``Outputs['train'].S3Output.S3Uri`` or ``metrics.acc.value``.

    Raises:
        StepFault: the path is invalid or does not exist.
    """
    position = 0
    while position < len(path):
        segment = _SEGMENT.match(path, position)
        if not segment:
            raise StepFault(FaultKind.CLIENT, f"{what}: cannot parse the path at '{path[position:]}'")
        data = _child(data, segment, what)
        position = segment.end()
    return data


def _child(data: Any, segment: re.Match[str], what: str) -> Any:
    plain, index, single, double = segment.groups()
    name = next((text for text in (plain, single, double) if text is not None), None)
    if isinstance(data, list):
        if index is not None and int(index) < len(data):
            return data[int(index)]
        for item in data:
            if name is not None and isinstance(item, dict) and any(item.get(field) == name for field in _NAMES):
                return item
    key = index if name is None else name
    if isinstance(data, dict) and key in data:
        return data[key]
    raise StepFault(FaultKind.CLIENT, f"{what}: '{key}' does not exist")
