"""Turns a compiled pipeline job into the bodies of requests: anonymous components, and the job that refers to them.

The service's own types end at the nodes of a job: within them keys are in snake case, a binding is a literal, and a
component is referred to by its id. Everything here follows what azure-ai-ml sends for the same YAML.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlops_azureml.values.addresses import WorkspaceId

Json = Any

ANONYMOUS_COMPONENT = "azureml_anonymous"
ANONYMOUS_ENVIRONMENT = "CliV2AnonymousEnvironment"
_SOURCE = {"_source": "YAML.JOB"}
_MODES = {
    "ro_mount": "ReadOnlyMount",
    "rw_mount": "ReadWriteMount",
    "download": "Download",
    "upload": "Upload",
    "direct": "Direct",
    "eval_mount": "EvalMount",
    "eval_download": "EvalDownload",
}
MODES = {wire: name for name, wire in _MODES.items()}
"""Mode on the wire -> mode in YAML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetBody:
    """A version of an asset that a job refers to.

    Attributes:
        kind: ``environments`` or ``components``.
        name: name of the asset.
        version: follows from the content.
        properties: of the request.
    """

    kind: str
    name: str
    version: str
    properties: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobBodies:
    """The requests that create a job.

    Attributes:
        assets: what must exist before, each once, environments first.
        properties: of the request for the job.
    """

    assets: tuple[AssetBody, ...]
    properties: Mapping[str, Json]


def job_bodies(data: Mapping[str, Json], workspace: WorkspaceId, *, latest: Callable[[str, str], str]) -> JobBodies:
    """Return the requests for a compiled job.

    Args:
        data: the job as JSON types, in the form of YAML.
        workspace: the workspace of the job.
        latest: returns the newest version of an asset by kind and name, for references that end with ``@latest``.

    Raises:
        RunnerError: `latest` does not find a version.
    """
    return _Writer(workspace=workspace, latest=latest).job(data)


@dataclass(slots=True, kw_only=True)
class _Writer:
    workspace: WorkspaceId
    latest: Callable[[str, str], str]
    assets: dict[tuple[str, str], AssetBody] = field(default_factory=dict)

    def job(self, data: Mapping[str, Json]) -> JobBodies:
        jobs = {name: self._node(name, node) for name, node in data["jobs"].items()}
        properties = {
            "jobType": "Pipeline",
            "displayName": data.get("display_name", ""),
            "experimentName": data.get("experiment_name", ""),
            "description": data.get("description", ""),
            "tags": {str(key): str(value) for key, value in (data.get("tags") or {}).items()},
            "properties": {},
            "isArchived": False,
            "settings": self._settings(data.get("settings") or {}),
            "inputs": {name: self._input(value) for name, value in (data.get("inputs") or {}).items()},
            "outputs": {name: _output(value, key="jobOutputType") for name, value in _items(data.get("outputs"))},
            "jobs": jobs,
        }
        if data.get("identity"):
            properties["identity"] = _identity(data["identity"], key="identityType")
        ordered = sorted(self.assets.values(), key=lambda each: each.kind != "environments")
        return JobBodies(assets=tuple(ordered), properties=properties)

    def _settings(self, settings: Mapping[str, Json]) -> dict[str, Json]:
        wire: dict[str, Json] = dict(settings)
        if "default_compute" in wire:
            wire["default_compute"] = self._compute(wire["default_compute"])
        if "default_datastore" in wire:
            name = str(wire["default_datastore"]).removeprefix("azureml:")
            wire["default_datastore"] = f"{self.workspace}/datastores/{name}"
        return {**wire, **_SOURCE}

    # --- Nodes --------------------------------------------------------------------------------------------

    def _node(self, name: str, node: Mapping[str, Json]) -> dict[str, Json]:
        wire: dict[str, Json] = {"name": name, "type": node["type"], **_SOURCE}
        for key, value in node.items():
            if key in ("type", "component", "trial", "inputs", "outputs", "compute", "limits", "identity"):
                continue
            wire[key] = value
        if "component" in node:
            wire["componentId"] = self._component(node["component"])
        if "trial" in node:
            wire["trial"] = {"componentId": self._component(node["trial"])}
        if "compute" in node:
            wire["computeId"] = self._compute(node["compute"])
        if "limits" in node:
            wire["limits"] = _limits(node["limits"], node["type"])
        if "identity" in node:
            wire["identity"] = _identity(node["identity"], key="type")
        wire["inputs"] = {port: self._node_input(value) for port, value in _items(node.get("inputs"))}
        wire["outputs"] = {port: _output(value, key="job_output_type") for port, value in _items(node.get("outputs"))}
        return wire

    def _component(self, component: Json) -> str:
        """Return the id of a component; one that is part of the job becomes an anonymous one, by its content."""
        if isinstance(component, str):
            return self._asset_id("components", component)
        spec = {key: value for key, value in component.items() if key not in ("$schema", "name", "version")}
        spec |= {"name": ANONYMOUS_COMPONENT, "version": "1", **_SOURCE}
        if "environment" in spec:
            spec["environment"] = f"azureml:{self._environment(spec['environment'])}"
        text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
        version = str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=5))
        description = str(component.get("description") or "")
        properties = {"componentSpec": spec, "description": description, "isAnonymous": True, "isArchived": False}
        return self._keep("components", ANONYMOUS_COMPONENT, version, {**properties, "properties": {}, "tags": {}})

    def _environment(self, environment: Json) -> str:
        if isinstance(environment, str):
            return self._asset_id("environments", environment)
        properties = {"image": environment["image"], "isAnonymous": True, "isArchived": False}
        version = hashlib.sha256(str(environment["image"]).encode()).hexdigest()
        return self._keep("environments", ANONYMOUS_ENVIRONMENT, version, properties)

    def _keep(self, kind: str, name: str, version: str, properties: Mapping[str, Json]) -> str:
        self.assets[kind, version] = AssetBody(kind=kind, name=name, version=version, properties=properties)
        return f"{self.workspace}/{kind}/{name}/versions/{version}"

    # --- References ---------------------------------------------------------------------------------------

    def _compute(self, reference: str) -> str:
        name = reference.removeprefix("azureml:")
        return name if name == "serverless" or name.startswith("/") else f"{self.workspace}/computes/{name}"

    def _asset_id(self, kind: str, reference: str) -> str:
        """Return the id for ``azureml:NAME:VERSION``, ``azureml:NAME@latest`` or an id."""
        text = reference.removeprefix("azureml:")
        if text.startswith("/"):
            return text
        name, separator, label = text.partition("@")
        if separator:
            if label != "latest":
                raise UsageError(f"{reference!r}: unknown label '{label}'; expected azureml:NAME@latest")
            return f"{self.workspace}/{kind}/{name}/versions/{self.latest(kind, name)}"
        name, _, version = text.partition(":")
        return f"{self.workspace}/{kind}/{name}/versions/{version}"

    def _address(self, path: str) -> str:
        """Return the address of data: an asset of the workspace by its id, anything else as it is."""
        if path.startswith("azureml:") and not path.startswith("azureml://"):
            return self._asset_id("data", path)
        return path

    # --- Inputs -------------------------------------------------------------------------------------------

    def _input(self, value: Json) -> dict[str, Json]:
        if not isinstance(value, dict):
            return {"jobInputType": "literal", "value": _literal(value)}
        wire = {"jobInputType": value["type"], "uri": self._address(str(value["path"]))}
        return wire | ({"mode": _MODES[value["mode"]]} if "mode" in value else {})

    def _node_input(self, value: Json) -> dict[str, Json]:
        if not isinstance(value, dict):
            return {"job_input_type": "literal", "value": _literal(value)}
        mode = {"mode": _MODES[value["mode"]]} if "mode" in value else {}
        path = str(value["path"])
        if path.startswith("${{"):
            return {"job_input_type": "literal", "value": path, **mode}
        return {"job_input_type": value.get("type", "uri_folder"), "uri": self._address(path), **mode}


def _items(values: Mapping[str, Json] | None) -> Iterator[tuple[str, Json]]:
    yield from (values or {}).items()


def _output(value: Json, *, key: str) -> dict[str, Json]:
    """Return an output of a node or a job; a name and a version make it an asset at the end."""
    if not isinstance(value, dict):
        return {key: "literal", "value": _literal(value)}
    wire: dict[str, Json] = {key: value.get("type", "uri_folder")}
    if "mode" in value:
        wire["mode"] = _MODES[value["mode"]]
    if "path" in value:
        wire["uri"] = value["path"]
    for name in ("name", "version"):
        if name in value:
            wire[name] = value[name]
    return wire


def _identity(identity: Mapping[str, Json], *, key: str) -> dict[str, Json]:
    kinds = {"managed": "Managed", "user_identity": "UserIdentity"}
    kind = str(identity["type"])
    return {key: kinds.get(kind, kind) if key == "identityType" else kind}


def _limits(limits: Mapping[str, Json], kind: str) -> dict[str, Json]:
    if kind != "command":
        return dict(limits)
    wire: dict[str, Json] = {**limits, "job_limits_type": "Command"}
    if "timeout" in wire:
        wire["timeout"] = iso_duration(int(wire["timeout"]))
    return wire


def iso_duration(seconds: int) -> str:
    """Return a number of seconds as an ISO 8601 duration.

    Example:
        >>> iso_duration(87300), iso_duration(60), iso_duration(0)
        ('P1DT15M', 'PT1M', 'PT0S')
    """
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    time = "".join(f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if number)
    date = f"{days}D" if days else ""
    return f"P{date}{f'T{time}' if time else ''}" if date or time else "PT0S"


def _literal(value: Json) -> str:
    """Return a value as the text that azure-ai-ml sends: texts as they are, booleans as Python writes them."""
    return str(value)
