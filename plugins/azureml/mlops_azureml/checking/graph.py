"""Checks what nodes are bound to: names on both sides, types, required inputs, cycles, where each node runs."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_azureml.checking.faults import below
from mlops_azureml.checking.tables import DATA, LITERALS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_azureml.checking.faults import Faults

_EXPRESSION = re.compile(r"\$\{\{\s*([^{}$]*?)\s*\}\}")
_WHOLE = re.compile(r"\s*\$\{\{\s*([^}]*?)\s*\}\}\s*\Z")
_SERVER = ("default_datastore", "name", "output_name")
_MODELS = ("mlflow_model", "custom_model", "triton_model")


def check_graph(faults: Faults, data: Mapping[str, Any]) -> None:
    """Check the bindings between the nodes, inputs and outputs of a job."""
    jobs = {str(name): node for name, node in _mapping(data.get("jobs")).items() if isinstance(node, Mapping)}
    graph = _Graph(faults, data, jobs)
    graph.check()


class _Graph:
    def __init__(self, faults: Faults, data: Mapping[str, Any], jobs: Mapping[str, Mapping[str, Any]]) -> None:
        self._faults = faults
        self._inputs = _mapping(data.get("inputs"))
        self._outputs = _mapping(data.get("outputs"))
        self._settings = _mapping(data.get("settings"))
        self._data = data
        self._jobs = jobs
        self._needs: dict[str, set[str]] = {name: set() for name in jobs}
        self._read: set[str] = set()
        self._bound_outputs: set[str] = set()

    def check(self) -> None:
        for name, node in self._jobs.items():
            self._check_inputs(name, node)
            self._check_outputs(name, node)
            self._check_compute(name, node)
        for name, value in self._outputs.items():
            self._check_job_output(str(name), value)
        self._check_cycles()
        unread = [name for name in self._inputs.keys() - self._read if _type_of(self._inputs[name]) in DATA]
        for name in sorted(unread):
            self._faults.warn(below("inputs", str(name)), "no node reads this input", "remove it, or bind a node to it")

    # --- Inputs ---------------------------------------------------------------------------------------------

    def _check_inputs(self, name: str, node: Mapping[str, Any]) -> None:
        path = below("jobs", name)
        component = component_of(node)
        declared = ports_of(node, "inputs")
        for port, value in _mapping(node.get("inputs")).items():
            where = below(below(path, "inputs"), str(port))
            if component is not None and port not in declared:
                self._faults.unknown(where, "input", str(port), declared)
            self._check_value(name, where, value, _mapping(declared.get(port)))
        if component is None:
            return
        swept = _mapping(node.get("search_space")) if node.get("type") == "sweep" else {}
        for port, declaration in declared.items():
            wanted = _mapping(declaration)
            is_free = wanted.get("optional") is True or wanted.get("default") is not None or port in swept
            if not is_free and port not in _mapping(node.get("inputs")):
                self._faults.add(
                    below(path, "inputs"), f"lacks the required input '{port}'", f"set {path}.inputs.{port}"
                )

    def _check_value(self, name: str, where: str, value: object, declared: Mapping[str, Any]) -> None:
        text = value.get("path", value.get("value")) if isinstance(value, Mapping) else value
        match = _WHOLE.match(text) if isinstance(text, str) else None
        if match is not None:
            self._check_binding(name, where, match[1], declared)
            return
        if isinstance(text, str) and (inside := _EXPRESSION.search(text)):
            self._faults.add(
                where, f"{inside[0]} is only a part of the value", "bind the input to the expression alone"
            )
            return
        wanted = declared.get("type")
        if wanted in LITERALS:
            self._check_literal(where, text, declared)
        elif wanted in DATA and text is not None and not isinstance(text, str):
            self._faults.add(where, f"is {text!r}, a value", f"expected data of type {wanted}")

    def _check_binding(self, name: str, where: str, inside: str, declared: Mapping[str, Any]) -> None:
        parts = inside.split(".")
        kind = None
        if parts[:2] == ["parent", "inputs"] and len(parts) == 3:
            kind = self._job_input(where, parts[2])
        elif parts[:2] == ["parent", "jobs"] and len(parts) == 5 and parts[3] in ("inputs", "outputs"):
            kind = self._node_port(name, where, parts)
        else:
            self._faults.add(
                where,
                f"'${{{{{inside}}}}}' is not a binding",
                "expected ${{parent.inputs.NAME}} or ${{parent.jobs.NODE.outputs.NAME}}",
            )
        wanted = declared.get("type")
        if kind and wanted and not _fits(kind, str(wanted)):
            self._faults.add(where, f"a {kind} is bound to an input of type {wanted}", "bind data of the same type")

    def _job_input(self, where: str, name: str) -> str | None:
        self._read.add(name)
        if name not in self._inputs:
            self._faults.unknown(where, "input of the job", name, map(str, self._inputs))
            return None
        return _type_of(self._inputs[name])

    def _node_port(self, name: str, where: str, parts: list[str]) -> str | None:
        _, _, other, side, port = parts
        if other not in self._jobs:
            self._faults.unknown(where, "node", other, self._jobs)
            return None
        self._needs[name].add(other)
        if other == name:
            self._faults.add(where, "the node is bound to itself", "bind it to another node")
        ports = ports_of(self._jobs[other], side)
        if component_of(self._jobs[other]) is None and port not in ports:
            return None
        if port not in ports:
            self._faults.unknown(where, f"{side.removesuffix('s')} of node '{other}'", port, ports)
            return None
        return str(_mapping(ports[port]).get("type") or "") or None

    def _check_literal(self, where: str, value: object, declared: Mapping[str, Any]) -> None:
        kind = str(declared["type"])
        if not _is_literal(value, kind):
            self._faults.add(where, f"is {value!r}", f"expected a value of type {kind}")
            return
        number = _number(value)
        low, high, choices = declared.get("min"), declared.get("max"), declared.get("enum")
        if number is not None and isinstance(low, int | float) and number < low:
            self._faults.add(where, f"{value} is below min: {low}", f"expected {low} or more")
        if number is not None and isinstance(high, int | float) and number > high:
            self._faults.add(where, f"{value} is above max: {high}", f"expected {high} or less")
        if isinstance(choices, list) and value not in choices:
            self._faults.add(where, f"{value!r} is not in enum", f"expected one of {', '.join(map(str, choices))}")

    # --- Outputs and compute --------------------------------------------------------------------------------

    def _check_outputs(self, name: str, node: Mapping[str, Any]) -> None:
        declared = ports_of(node, "outputs")
        for port, value in _mapping(node.get("outputs")).items():
            where = below(below(below("jobs", name), "outputs"), str(port))
            if component_of(node) is not None and port not in declared:
                self._faults.unknown(where, "output", str(port), declared)
            own = _mapping(value).get("type")
            wanted = _mapping(declared.get(port)).get("type")
            if own and wanted and own != wanted:
                self._faults.add(where, f"has type {own}, the component {wanted}", "set the same type")
            text = value if isinstance(value, str) else _mapping(value).get("path")
            if isinstance(text, str):
                self._check_output_text(where, text, is_binding=isinstance(value, str))

    def _check_output_text(self, where: str, text: str, *, is_binding: bool) -> None:
        if is_binding:
            match = _WHOLE.match(text)
            parts = match[1].split(".") if match else []
            if parts[:2] != ["parent", "outputs"] or len(parts) != 3:
                self._faults.add(where, f"{text!r} is not a binding of an output", "expected ${{parent.outputs.NAME}}")
            elif parts[2] not in self._outputs:
                self._faults.unknown(where, "output of the job", parts[2], map(str, self._outputs))
            else:
                self._bound_outputs.add(parts[2])
            return
        for inside in _EXPRESSION.findall(text):
            if inside not in _SERVER:
                self._faults.unknown(below(where, "path"), "expression of an output's path", inside, _SERVER)

    def _check_job_output(self, name: str, value: object) -> None:
        del value
        if name not in self._bound_outputs:
            self._faults.warn(below("outputs", name), "no node writes this output", "bind an output of a node to it")

    def _check_compute(self, name: str, node: Mapping[str, Any]) -> None:
        has_default = self._settings.get("default_compute") or self._data.get("compute")
        if node.get("type", "command") in ("command", "sweep") and not (node.get("compute") or has_default):
            resources = _mapping(node.get("resources"))
            if not resources.get("instance_type"):
                self._faults.add(
                    below("jobs", name), "has no compute", "set compute, or settings.default_compute: azureml:NAME"
                )

    def _check_cycles(self) -> None:
        try:
            graphlib.TopologicalSorter(self._needs).prepare()
        except graphlib.CycleError as error:
            cycle = list(reversed(error.args[1]))
            if len(set(cycle)) > 1:
                self._faults.add("jobs", f"the nodes form a cycle: {' -> '.join(cycle)}", "remove one of the bindings")


def component_of(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what declares the ports of a node: its inline component, or a command itself; None if it is elsewhere."""
    kind = node.get("type", "command")
    component = node.get("trial" if kind == "sweep" else "component")
    if isinstance(component, Mapping):
        return component
    return None


def ports_of(node: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    """Return the declared ports of a node; of one without an inline component, those that it sets itself."""
    component = component_of(node)
    source = node if component is None else component
    return {str(name): value for name, value in _mapping(source.get(side)).items()}


def iter_expressions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each expression in a text, with its braces, and its inside."""
    for match in _EXPRESSION.finditer(text):
        yield match[0], match[1]


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _fits(kind: str, wanted: str) -> bool:
    """Return whether data of a type may be bound to an input; an mltable is a folder, numbers are numbers."""
    if kind == wanted or (kind in _MODELS and wanted in (*_MODELS, "uri_folder")):
        return True
    if kind == "integer":
        return wanted in ("number", "string")
    if kind in LITERALS and wanted == "string":
        return True
    return (kind, wanted) in (("uri_folder", "mltable"), ("mltable", "uri_folder"), ("uri_folder", "custom_model"))


def _type_of(value: object) -> str | None:
    if isinstance(value, Mapping):
        return str(value["type"]) if "type" in value else None
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else None  # a text may be any of them


def _is_literal(value: object, kind: str) -> bool:
    if kind == "string":
        return isinstance(value, str | int | float | bool)
    if kind == "boolean":
        return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false"))
    number = _number(value)
    return number is not None and (kind == "number" or number == int(number))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
