"""Turns the body of a request for a pipeline job back into the job as YAML has it, which the interpreter executes.

Components and data assets are taken from the workspace. What a body refers to must exist, as in the service.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlops_azureml.emulator.web.errors import InvalidError, UnsupportedError
from mlops_azureml.service.bodies import MODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_azureml.emulator.state import WorkspaceState

Json = Any

_ASSET = re.compile(
    r"(?:azureml:)?/subscriptions/.*/workspaces/[^/]+/(?P<kind>\w+)/(?P<name>[^/]+)/versions/(?P<v>[^/]+)\Z"
)
_PART = re.compile(r"(?:azureml:)?/subscriptions/.*/workspaces/[^/]+/(?P<kind>\w+)/(?P<name>[^/]+)\Z")
_DURATION = re.compile(r"P(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+)(?:\.\d+)?S)?)?\Z")
_KEPT = ("search_space", "objective", "sampling_algorithm", "early_termination", "environment_variables", "resources")
_BINDING = "${{"


def document_of(properties: Mapping[str, Json], state: WorkspaceState) -> dict[str, Json]:
    """Return the job of a request.

    Raises:
        InvalidError: it refers to something that the workspace does not have, or is damaged.
        UnsupportedError: it has a node that is not executed here.
    """
    settings = dict(properties.get("settings") or {})
    settings.pop("_source", None)
    for key, kind in (("default_compute", "computes"), ("default_datastore", "datastores")):
        if settings.get(key):
            settings[key] = f"azureml:{_part(str(settings[key]), kind, state)}"
    jobs = properties.get("jobs")
    if not isinstance(jobs, dict) or not jobs:
        raise InvalidError("a pipeline job needs jobs", code="ValidationError")
    inputs = properties.get("inputs") or {}
    return {
        "type": "pipeline",
        "display_name": str(properties.get("displayName") or ""),
        "experiment_name": str(properties.get("experimentName") or "Default"),
        "settings": settings,
        "inputs": {name: _input(value, "jobInputType", state) for name, value in inputs.items()},
        "jobs": {name: _node(str(name), node, state) for name, node in jobs.items()},
    }


def _node(name: str, node: Json, state: WorkspaceState) -> dict[str, Json]:
    kind = node.get("type") if isinstance(node, dict) else None
    if kind not in ("command", "sweep"):
        raise UnsupportedError(f"jobs.{name}: a node of type {kind!r}")
    document: dict[str, Json] = {"type": kind}
    if kind == "command":
        document["component"] = _component(name, node.get("componentId"), state)
    else:
        document["trial"] = _component(name, (node.get("trial") or {}).get("componentId"), state)
    document["inputs"] = {
        port: _input(value, "job_input_type", state) for port, value in (node.get("inputs") or {}).items()
    }
    document["outputs"] = {port: _output(value) for port, value in (node.get("outputs") or {}).items()}
    if node.get("computeId"):
        document["compute"] = f"azureml:{_part(str(node['computeId']), 'computes', state)}"
    limits = {key: value for key, value in (node.get("limits") or {}).items() if key != "job_limits_type"}
    if isinstance(limits.get("timeout"), str):
        limits["timeout"] = _seconds(limits["timeout"])
    if limits:
        document["limits"] = limits
    return document | {key: node[key] for key in _KEPT if key in node}


def _output(value: Json) -> dict[str, Json]:
    """Return an output; with a name, it becomes a data asset when its node ends."""
    asset = {key: value[key] for key in ("name", "version") if value.get(key)}
    return {"type": value.get("job_output_type", "uri_folder"), "mode": MODES.get(value.get("mode"), "upload"), **asset}


def _component(name: str, identifier: Json, state: WorkspaceState) -> Json:
    match = _ASSET.match(str(identifier or ""))
    if match is None or match["kind"] != "components":
        raise InvalidError(f"jobs.{name}: {identifier!r} is not the id of a component", code="ValidationError")
    spec = dict(state.version("components", match["name"], match["v"])["properties"]["componentSpec"])
    if environment := _ASSET.match(str(spec.get("environment") or "")):
        state.version("environments", environment["name"], environment["v"])
    return {key: value for key, value in spec.items() if key not in ("_source", "version")}


def _input(value: Json, key: str, state: WorkspaceState) -> Json:
    """Return an input: a value, a binding, or a folder with its address."""
    if not isinstance(value, dict) or key not in value:
        raise InvalidError(f"{value!r} is not an input of a job", code="ValidationError")
    mode = {"mode": MODES[value["mode"]]} if value.get("mode") in MODES else {}
    if value[key] == "literal":
        text = value.get("value")
        return {"path": text, **mode} if mode and str(text).startswith(_BINDING) else text
    return {"type": value[key], "path": _address(str(value.get("uri") or ""), state), **mode}


def _address(uri: str, state: WorkspaceState) -> str:
    match = _ASSET.match(uri)
    if match is None:
        return uri
    return str(state.version(match["kind"], match["name"], match["v"])["properties"]["dataUri"])


def _part(identifier: str, kind: str, state: WorkspaceState) -> str:
    """Return the name of a compute or a datastore, which must exist."""
    if identifier == "serverless":
        return identifier
    match = _PART.match(identifier)
    if match is None or match["kind"].lower() != kind:
        raise InvalidError(f"{identifier!r} is not the id of one of the {kind}", code="ValidationError")
    known = state.computes if kind == "computes" else {state.names.datastore: None}
    if match["name"] not in known:
        what = kind.removesuffix("s").capitalize()
        raise InvalidError(f"{what} with name {match['name']} not found in workspace {state.names.workspace}")
    return match["name"]


def _seconds(text: str) -> int:
    match = _DURATION.match(text)
    if match is None:
        raise InvalidError(f"{text!r} is not a duration", code="ValidationError")
    return sum(int(match[unit] or 0) * size for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)))
