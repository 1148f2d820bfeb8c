"""Checks the parts of a job one by one: the job, its inputs and outputs, nodes, components, environments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_azureml.checking import tables
from mlops_azureml.checking.faults import below
from mlops_azureml.checking.values import (
    check_asset_name,
    check_component_name,
    check_keys,
    check_node_name,
    check_port_name,
    has_kind,
    one_of,
    require,
    shown,
)

if TYPE_CHECKING:
    from mlops_azureml.checking.faults import Faults

_SHM = re.compile(r"\d+[bkmg]\Z", re.IGNORECASE)
_REFERENCE = re.compile(r"azureml:(//.+|/subscriptions/.+|[A-Za-z0-9][\w.-]*(:[\w.-]+|@[\w.-]+))\Z")
_PRIVATE = ("if_else", "do_while", "parallel_for")


def check_job(faults: Faults, data: Mapping[str, Any]) -> None:
    """Check everything of a job that can be seen without its graph."""
    check_keys(faults, "", data, tables.JOB)
    if data.get("type") != "pipeline":
        faults.add("type", f"is {shown(data.get('type'))}", "expected pipeline")
    for key in ("name", "experiment_name"):
        check_asset_name(faults, key, data.get(key))
    settings = data.get("settings")
    if settings is not None and check_keys(faults, "settings", settings, tables.SETTINGS):
        _check_datastore(faults, settings)
    _check_identity(faults, "identity", data.get("identity"))
    for name, value in _members(data.get("inputs")):
        check_job_input(faults, below("inputs", name), name, value)
    for name, value in _members(data.get("outputs")):
        check_output(faults, below("outputs", name), name, value)
    jobs = data.get("jobs")
    if not isinstance(jobs, Mapping) or not jobs:
        faults.add("jobs", f"is {shown(jobs)}", "expected at least one node")
        return
    lowered: dict[str, str] = {}
    for name, node in _members(jobs):
        path = below("jobs", name)
        check_node_name(faults, path, name)
        if name.lower() in lowered:
            faults.add(path, f"differs from '{lowered[name.lower()]}' by case only", "rename one of them")
        lowered[name.lower()] = name
        check_node(faults, path, node)


def check_job_input(faults: Faults, path: str, name: str, value: object) -> None:
    """Check an input of the job: a value, or a mapping with a type."""
    check_port_name(faults, path, name)
    if isinstance(value, Mapping):
        check_keys(faults, path, value, tables.JOB_INPUT)
        kind = value.get("type")
        if kind is None and "value" in value:
            return
        if kind is not None and one_of(faults, below(path, "type"), "type", kind, (*tables.LITERALS, *tables.DATA)):
            _check_typed_input(faults, path, str(kind), value)
        elif kind is None:
            require(faults, path, value, "type")
    elif value is None or isinstance(value, list):
        faults.add(path, f"is {shown(value)}", "expected a value, or a mapping with type and path")


def check_node(faults: Faults, path: str, node: object) -> None:
    """Check a node by its type."""
    if not isinstance(node, Mapping):
        faults.add(path, f"is {shown(node)}", "expected a mapping with type: command, sweep, ...")
        return
    kind = node.get("type", "command")
    if kind in _PRIVATE:
        faults.add(
            below(path, "type"),
            f"'{kind}' is not public: the service refuses it unless private features are enabled",
            "let a command node fail instead, and bind what depends on it to its output",
        )
        return
    if not one_of(faults, below(path, "type"), "type of a node", kind, tables.NODE_TYPES):
        return
    if kind == "command":
        _check_command(faults, path, node)
    elif kind == "sweep":
        _check_sweep(faults, path, node)
    _check_shared(faults, path, node)


def check_output(faults: Faults, path: str, name: str, value: object) -> None:
    """Check an output of the job or of a node."""
    check_port_name(faults, path, name)
    if isinstance(value, str):
        return
    if value is None or not check_keys(faults, path, value, tables.OUTPUT) or not isinstance(value, Mapping):
        return
    kind = value.get("type")
    if kind in tables.LITERALS:
        faults.add(
            below(path, "type"), f"an output of type '{kind}' is not supported", "write a file: uri_file or uri_folder"
        )
        return
    if kind is not None:
        one_of(faults, below(path, "type"), "type", kind, tables.DATA)
    if value.get("mode") is not None:
        legal = tables.TABLE_OUTPUT_MODES if kind == "mltable" else tables.OUTPUT_MODES
        one_of(faults, below(path, "mode"), "mode", value["mode"], legal)
    if value.get("version") is not None and value.get("name") is None:
        faults.add(below(path, "version"), "is set without 'name'", "set the name of the asset, too, or remove it")
    check_asset_name(faults, below(path, "name"), value.get("name"))


def check_component(faults: Faults, path: str, component: object) -> None:
    """Check an inline command component; a reference or a file is only read as a text."""
    if isinstance(component, str):
        if component.startswith("azureml:") and not _REFERENCE.match(component):
            faults.add(path, f"'{component}' is not a reference", "expected azureml:NAME:VERSION or azureml:NAME@LABEL")
        return
    if not check_keys(faults, path, component, tables.COMPONENT) or not isinstance(component, Mapping):
        return
    if component.get("type", "command") != "command":
        faults.add(below(path, "type"), f"is {shown(component.get('type'))}", "expected command")
    require(faults, path, component, "command", "environment")
    if isinstance(component.get("command"), str) and not component["command"].strip():
        faults.add(below(path, "command"), "is empty", "write what the node executes")
    check_component_name(faults, below(path, "name"), component.get("name"))
    _check_environment(faults, below(path, "environment"), component.get("environment"))
    _check_resources(faults, below(path, "resources"), component.get("resources"))
    _check_distribution(faults, below(path, "distribution"), component.get("distribution"))
    for name, port in _members(component.get("inputs")):
        _check_component_input(faults, below(below(path, "inputs"), name), name, port)
    for name, port in _members(component.get("outputs")):
        where = below(below(path, "outputs"), name)
        check_port_name(faults, where, name)
        if check_keys(faults, where, port, tables.COMPONENT_OUTPUT):
            _check_component_output(faults, where, port)
    shared = _lowered(component.get("inputs")) & _lowered(component.get("outputs"))
    for name in sorted(shared):
        faults.warn(below(path, "outputs"), f"'{name}' is an input, too", "give the output another name")


# --- Nodes -----------------------------------------------------------------------------------------------------


def _check_command(faults: Faults, path: str, node: Mapping[str, Any]) -> None:
    check_keys(faults, path, node, tables.COMMAND_NODE)
    if "component" in node:
        check_component(faults, below(path, "component"), node["component"])
        for key in ("command", "environment", "code"):
            if key in node and key == "command":
                faults.add(below(path, key), "is set beside 'component'", "set it in the component only")
    else:
        require(faults, path, node, "command", "environment")
        _check_environment(faults, below(path, "environment"), node.get("environment"))
    if node.get("limits") is not None:
        check_keys(faults, below(path, "limits"), node["limits"], tables.COMMAND_LIMITS)
    _check_distribution(faults, below(path, "distribution"), node.get("distribution"))
    if "is_deterministic" in node:
        faults.add(below(path, "is_deterministic"), "belongs to the component", "move it to component.is_deterministic")


def _check_sweep(faults: Faults, path: str, node: Mapping[str, Any]) -> None:
    check_keys(faults, path, node, tables.SWEEP_NODE)
    require(faults, path, node, "trial", "search_space", "objective", "limits", "sampling_algorithm")
    if node.get("trial") is not None:
        check_component(faults, below(path, "trial"), node["trial"])
    if node.get("limits") is not None and check_keys(
        faults, below(path, "limits"), node["limits"], tables.SWEEP_LIMITS
    ):
        require(faults, below(path, "limits"), node["limits"], "max_total_trials")


def _check_shared(faults: Faults, path: str, node: Mapping[str, Any]) -> None:
    if not has_kind(node.get("compute", "azureml:x"), tables.Kind.COMPUTE):
        compute = node.get("compute")
        faults.add(below(path, "compute"), f"is {shown(compute)}", f"expected azureml:NAME, such as azureml:{compute}")
    _check_resources(faults, below(path, "resources"), node.get("resources"))
    _check_identity(faults, below(path, "identity"), node.get("identity"))
    for name, value in _members(node.get("inputs")):
        where = below(below(path, "inputs"), name)
        check_port_name(faults, where, name)
        if isinstance(value, Mapping):
            check_keys(faults, where, value, tables.NODE_INPUT)
            if value.get("mode") is not None:
                one_of(faults, below(where, "mode"), "mode", value["mode"], tables.TABLE_INPUT_MODES)
    for name, value in _members(node.get("outputs")):
        check_output(faults, below(below(path, "outputs"), name), name, value)


# --- Parts -----------------------------------------------------------------------------------------------------


def _check_typed_input(faults: Faults, path: str, kind: str, value: Mapping[str, Any]) -> None:
    if kind in tables.LITERALS:
        for key in ("path", "mode"):
            if key in value:
                faults.add(below(path, key), f"an input of type '{kind}' has no {key}", "set value, or a type of data")
        return
    require(faults, path, value, "path")
    if value.get("mode") is not None:
        legal = tables.TABLE_INPUT_MODES if kind == "mltable" else tables.INPUT_MODES
        one_of(faults, below(path, "mode"), "mode", value["mode"], legal)
    _check_address(faults, below(path, "path"), value.get("path"))


def _check_address(faults: Faults, path: str, value: object) -> None:
    if not isinstance(value, str) or not value.startswith("azureml:") or _REFERENCE.match(value):
        return
    faults.add(
        path,
        f"'{value}' is not an address of data",
        "expected azureml:NAME:VERSION, azureml:NAME@latest or azureml://datastores/NAME/paths/PATH",
    )


def _check_component_input(faults: Faults, path: str, name: str, port: object) -> None:
    check_port_name(faults, path, name)
    if not check_keys(faults, path, port, tables.COMPONENT_INPUT) or not isinstance(port, Mapping):
        return
    require(faults, path, port, "type")
    kind = port.get("type")
    if kind is None or not one_of(faults, below(path, "type"), "type", kind, (*tables.LITERALS, *tables.DATA)):
        return
    for key in ("min", "max"):
        if key in port and kind not in ("number", "integer"):
            faults.add(below(path, key), f"an input of type '{kind}' has no limits", "remove it")
    default = port.get("default")
    legal = {
        "string": isinstance(default, str),
        "number": isinstance(default, int | float) and not isinstance(default, bool),
        "integer": isinstance(default, int) and not isinstance(default, bool),
        "boolean": isinstance(default, bool),
    }
    if default is not None and not legal.get(str(kind), False):
        faults.add(below(path, "default"), f"is {shown(default)}", f"expected a value of type {kind}")
    if port.get("optional") is True and default is not None:
        faults.warn(
            below(path, "optional"), "an optional input with a default always has a value", "remove one of them"
        )


def _check_component_output(faults: Faults, path: str, port: Mapping[str, Any]) -> None:
    require(faults, path, port, "type")
    kind = port.get("type")
    if kind in tables.LITERALS:
        faults.add(
            below(path, "type"), f"an output of type '{kind}' is not supported", "write a file: uri_file or uri_folder"
        )
    elif kind is not None:
        one_of(faults, below(path, "type"), "type", kind, tables.DATA)


def _check_environment(faults: Faults, path: str, value: object) -> None:
    if value is None or (isinstance(value, str) and (not value.startswith("azureml:") or _REFERENCE.match(value))):
        return
    if isinstance(value, str):
        faults.add(path, f"'{value}' has no version", "expected azureml:NAME:VERSION or azureml:NAME@latest")
        return
    if check_keys(faults, path, value, tables.ENVIRONMENT) and isinstance(value, Mapping):
        if not value.get("image") and not value.get("build"):
            faults.add(path, "has neither an image nor a build", "set image")
        if value.get("image") and value.get("build"):
            faults.add(path, "has an image and a build", "remove one of them")


def _check_resources(faults: Faults, path: str, value: object) -> None:
    if value is None or not check_keys(faults, path, value, tables.RESOURCES) or not isinstance(value, Mapping):
        return
    size = value.get("shm_size")
    if isinstance(size, str) and not _SHM.match(size):
        faults.add(
            below(path, "shm_size"), f"'{size}' is not a size", "expected a number with b, k, m or g, such as 16g"
        )


def _check_identity(faults: Faults, path: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        faults.add(path, f"is {shown(value)}", "expected a mapping with type")
        return
    one_of(faults, below(path, "type"), "type of identity", value.get("type"), tables.IDENTITY_TYPES)


def _check_distribution(faults: Faults, path: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        faults.add(path, f"is {shown(value)}", "expected a mapping with type")
        return
    kind = str(value.get("type", "")).lower()
    if one_of(faults, below(path, "type"), "type of distribution", kind, tuple(tables.DISTRIBUTIONS)) and kind != "ray":
        check_keys(faults, path, value, tables.DISTRIBUTIONS[kind])


def _check_datastore(faults: Faults, settings: Mapping[str, Any]) -> None:
    store = settings.get("default_datastore")
    if isinstance(store, str) and not re.match(r"azureml:(//.+|/subscriptions/.+|[a-z0-9_]+)\Z", store):
        faults.add("settings.default_datastore", f"'{store}' is not a reference", "expected azureml:NAME, lower case")


def _members(value: object) -> list[tuple[str, Any]]:
    return [(str(key), inner) for key, inner in value.items()] if isinstance(value, Mapping) else []


def _lowered(value: object) -> set[str]:
    return {name.lower() for name, _ in _members(value)}
