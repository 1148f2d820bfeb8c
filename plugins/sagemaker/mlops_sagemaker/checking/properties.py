"""Checks references ``Steps.<name>.<path>`` against the shapes of the service's Describe operations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_core.runners import did_you_mean
from mlops_sagemaker.checking.document import declared_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlops_sagemaker.checking.document import StepEntry
    from mlops_sagemaker.checking.faults import Faults
    from mlops_sagemaker.checking.model import ServiceModel, Shape

_SEGMENT = re.compile(r"\.([A-Za-z_]\w*)|\['([^']*)'\]|\[\"([^\"]*)\"\]|\[(\d+)\]")
_KINDS = {
    "string": "String",
    "character": "String",
    "timestamp": "String",
    "integer": "Integer",
    "long": "Integer",
    "float": "Float",
    "double": "Float",
    "boolean": "Boolean",
}
_WITHOUT = {"Fail": "a Fail step has no properties"}
_OWN = {"Condition": ("Outcome",)}
_LOOP_COUNTS = ("InputItemCount", "TotalStepCount", "SucceededStepCount", "FailedStepCount", "StoppedStepCount")
_LOOP_OUTPUTS = ("IterationOutputs", "ChildOutputs")
_LOOP = re.compile(r"\.(\w+)(?:\[(\d+)\])?(.*)\Z", re.DOTALL)
"""A property of a ForEach step; what follows an index depends on the steps of the body and on their names."""


def property_kind(step: StepEntry, text: str, *, path: str, faults: Faults, model: ServiceModel | None) -> str:
    """Return the type of a property; empty if it is unknown or invalid.

    Args:
        step: step that has the property.
        text: path of the property, for example ``.ModelArtifacts.S3ModelArtifacts``.
        path: JSON path of the reference.
        faults: collection to which faults are added.
        model: service model; None if botocore is missing.
    """
    if step.type in _WITHOUT:
        faults.add(path, f"step '{step.name}': {_WITHOUT[step.type]}", "refer to another step")
        return ""
    if step.type == "ForEach":
        return _loop_kind(step, text, path=path, faults=faults)
    return _member_kind(step, text, path=path, faults=faults, model=model)


def _member_kind(step: StepEntry, text: str, *, path: str, faults: Faults, model: ServiceModel | None) -> str:
    segments = _segments(text)
    if not segments:
        fix = "write for example 'Steps.train.ModelArtifacts.S3ModelArtifacts'"
        faults.add(path, f"{text!r} is not a property of step '{step.name}'", fix)
        return ""
    if step.type in _OWN:
        _check_name(str(segments[0]), _OWN[step.type], step, path=path, faults=faults)
        return "String"
    if step.type in ("Lambda", "Callback"):
        return _output_kind(step, segments, path=path, faults=faults)
    shapes = model.properties(step.type) if model else ()
    if not shapes:
        return ""
    return _Walk(step, path=path, faults=faults).kind(shapes, segments)


def _loop_kind(step: StepEntry, text: str, *, path: str, faults: Faults) -> str:
    """Return the type of a property of a ForEach step, as the class ``ForEachStep`` of the SDK has them."""
    match = _LOOP.match(text)
    name, index, rest = match.groups() if match else ("", None, "")
    names = ("Status", *_LOOP_COUNTS, *_LOOP_OUTPUTS, "Selected")
    if not _check_name(name, names, step, path=path, faults=faults):
        return ""
    if name in _LOOP_OUTPUTS and (index is None or not rest):
        faults.add(path, f"'{name}' is a list of outputs", f"write '{name}[0].<step>.<member>'")
    if name == "Selected" and not rest:
        faults.add(path, "'Selected' is an output, not a value", "refer to one of its members")
    if name == "Selected" and "Selector" not in step.arguments:
        faults.add(path, f"step '{step.name}' has no Selector", "add Selector to its arguments")
    return "String" if name == "Status" else "Integer" if name in _LOOP_COUNTS else ""


def _output_kind(step: StepEntry, segments: list[str | int], *, path: str, faults: Faults) -> str:
    """Return the declared type of an output of a Lambda or Callback step."""
    if not _check_name(str(segments[0]), ("OutputParameters",), step, path=path, faults=faults):
        return ""
    outputs = declared_outputs(step)
    if len(segments) != 2 or str(segments[1]) not in outputs:
        name = str(segments[1]) if len(segments) == 2 else ""
        hint = did_you_mean(name, outputs) if name else ""
        faults.add(
            path,
            f"step '{step.name}' ({step.type}) declares no output '{name}'{hint}",
            f"declare it in OutputParameters; declared: {', '.join(outputs) or 'none'}",
        )
        return ""
    kind = outputs[str(segments[1])]
    return kind if kind in _KINDS.values() else ""


def _segments(text: str) -> list[str | int]:
    segments: list[str | int] = []
    position = 0
    while position < len(text):
        match = _SEGMENT.match(text, position)
        if not match:
            return []
        member, single, double, index = match.groups()
        segments.append(
            int(index) if index is not None else next(part for part in (member, single, double) if part is not None)
        )
        position = match.end()
    return segments


def _check_name(name: str, expected: Iterable[str], step: StepEntry, *, path: str, faults: Faults) -> bool:
    names = list(expected)
    if name in names:
        return True
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    faults.add(
        path,
        f"step '{step.name}' ({step.type}) has no property '{name}'{did_you_mean(name, names)}",
        f"expected: {listed}",
    )
    return False


class _Walk:
    def __init__(self, step: StepEntry, *, path: str, faults: Faults) -> None:
        self._step = step
        self._path = path
        self._faults = faults

    def kind(self, shapes: tuple[Shape, ...], segments: list[str | int]) -> str:
        first, rest = segments[0], segments[1:]
        members = {name: shape for structure in shapes for name, shape in structure.members.items()}
        if not _check_name(str(first), members, self._step, path=self._path, faults=self._faults):
            return ""
        shape = members[str(first)]
        for segment in rest:
            shape = self._next(shape, segment)
            if shape is None:
                return ""
        if shape.type_name not in _KINDS:
            self._add(f"the property is a {shape.type_name}, not a value", "refer to one of its members")
            return ""
        return _KINDS[shape.type_name]

    def _next(self, shape: Shape, segment: str | int) -> Shape | None:
        if shape.type_name == "structure":
            if not _check_name(str(segment), shape.members, self._step, path=self._path, faults=self._faults):
                return None
            return shape.members[segment]
        if shape.type_name == "map":
            return shape.value
        if shape.type_name == "list":
            if isinstance(segment, str):
                self._check_item(segment)
            return shape.member
        self._add(f"{segment!r} follows a {shape.type_name}, which has no members", "remove it")
        return None

    def _check_item(self, name: str) -> None:
        """Check the name that indexes a list of inputs or outputs of the step."""
        arguments = self._step.arguments
        outputs = arguments.get("ProcessingOutputConfig")
        groups = (
            (arguments.get("ProcessingInputs"), "InputName"),
            (outputs.get("Outputs") if isinstance(outputs, dict) else None, "OutputName"),
        )
        names = [
            item[key]
            for items, key in groups
            for item in (items if isinstance(items, list) else ())
            if isinstance(item, dict) and isinstance(item.get(key), str)
        ]
        if self._step.type == "Processing" and name not in names:
            hint = did_you_mean(name, names)
            self._add(
                f"step '{self._step.name}' has no input or output '{name}'{hint}",
                f"expected: {', '.join(names) or 'none'}",
            )

    def _add(self, problem: str, fix: str) -> None:
        self._faults.add(self._path, problem, fix)
