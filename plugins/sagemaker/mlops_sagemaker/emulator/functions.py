"""The functions of a definition: ``Get``, ``Std:Join`` and ``Std:JsonGet``, and the paths that they read.

Pure: what parameters, executions, steps and property files hold is asked from a `Scope`.
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
"""The fields by which a list of the service is indexed with a text."""


class Scope(Protocol):
    """Where the values come from."""

    def parameters(self) -> Mapping[str, Any]:
        """Return the value of each parameter."""

    def execution(self) -> Mapping[str, Any]:
        """Return the execution variables."""

    def properties(self, step: str) -> Mapping[str, Any]:
        """Return what the service would describe of a step that succeeded."""

    def property_file(self, step: str, name: str) -> str:
        """Return the text of a property file."""

    def document(self, uri: str) -> str:
        """Return the text of an object in S3."""


def resolve(value: Any, scope: Scope) -> Any:
    """Return `value` with every function in it replaced by what it stands for.

    Raises:
        StepFault: something that is referred to is not there.
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
            return str(argument["On"]).join(as_text(resolve(part, scope)) for part in argument["Values"])
        if function == "Std:JsonGet":
            return _json_get(argument, scope)
    return {name: resolve(inner, scope) for name, inner in value.items()}


def as_text(value: object) -> str:
    """Return a value as `Std:Join` puts it into a text."""
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


def _named(name: str, known: Mapping[str, Any], what: str) -> Any:
    if name not in known:
        raise StepFault(FaultKind.CLIENT, f"{what} '{name}' is not known{did_you_mean(name, known)}")
    return known[name]


def _split_step(rest: str) -> tuple[str, str]:
    found = re.match(r"[A-Za-z0-9_-]+", rest)
    name = found[0] if found else ""
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
    """Follow a path such as ``Outputs['train'].S3Output.S3Uri`` or ``metrics.acc.value`` through JSON types.

    Raises:
        StepFault: it leads nowhere.
    """
    position = 0
    while position < len(path):
        found = _SEGMENT.match(path, position)
        if not found:
            raise StepFault(FaultKind.CLIENT, f"{what}: cannot read the path at '{path[position:]}'")
        data = _child(data, found, what)
        position = found.end()
    return data


def _child(data: Any, found: re.Match[str], what: str) -> Any:
    plain, index, single, double = found.groups()
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
    raise StepFault(FaultKind.CLIENT, f"{what}: there is no '{key}'")
