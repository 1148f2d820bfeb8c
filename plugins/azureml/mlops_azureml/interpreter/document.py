"""A pipeline job as the interpreter reads it: nodes, their bindings and the order between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_core.runners import DefinitionError, did_you_mean

BINDING = re.compile(r"\$\{\{\s*(?P<inside>[^}]*?)\s*\}\}\Z")
_NODE_OUTPUT = re.compile(r"parent\.jobs\.(?P<node>\w+)\.outputs\.(?P<port>\w+)\Z")
_JOB_INPUT = re.compile(r"parent\.inputs\.(?P<name>\w+)\Z")
_TYPES = ("command", "sweep")
_LITERALS = ("string", "number", "integer", "boolean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What an input of a node is bound to: an output of a node, an input of the job, or a value.

    Attributes:
        node: the node; empty for none.
        port: the output of that node.
        job_input: the input of the job; empty for none.
        value: the value or address where it is bound to neither.
        mode: how a folder arrives; empty for the default.
    """

    node: str = ""
    port: str = ""
    job_input: str = ""
    value: Any = None
    mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDefinition:
    """A node of a job.

    Attributes:
        name: of the node.
        component: the command component that it executes.
        inputs: port -> what it is bound to.
        outputs: names of the outputs.
        timeout_s: limit of one execution.
        environment: environment variables.
        assets: output -> (name, version) of the data asset that it becomes; the version may be empty.
        sweep: the node itself, for a sweep; None for a command.
    """

    name: str
    component: Mapping[str, Any]
    inputs: Mapping[str, Binding]
    outputs: tuple[str, ...]
    timeout_s: float
    environment: Mapping[str, str] = field(default_factory=dict)
    assets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    sweep: Mapping[str, Any] | None = None

    @property
    def needs(self) -> frozenset[str]:
        """The nodes whose outputs it reads."""
        return frozenset(binding.node for binding in self.inputs.values() if binding.node)

    @property
    def is_deterministic(self) -> bool:
        """Whether an earlier result may be reused."""
        return bool(self.component.get("is_deterministic", True))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDocument:
    """A pipeline job.

    Attributes:
        inputs: name -> value, or a mapping with ``path``.
        nodes: name -> node, in the order of the document.
        datastore: the default datastore.
        is_forced: no result is reused.
        continues: independent nodes start after a failure.
    """

    inputs: Mapping[str, Any]
    nodes: Mapping[str, NodeDefinition]
    datastore: str
    is_forced: bool = False
    continues: bool = True

    def needs(self, name: str) -> frozenset[str]:
        """Return the nodes for which a node waits."""
        return self.nodes[name].needs


_TIMEOUT_S = 604_800.0


def parse_job(data: object) -> JobDocument:
    """Return the job of a document, as `mlops_azureml.compiler.job` or a person wrote it.

    Raises:
        DefinitionError: it is not a pipeline job, or uses what is not executed here; the first fault is named.
    """
    if not isinstance(data, Mapping) or data.get("type") != "pipeline" or not isinstance(data.get("jobs"), Mapping):
        raise DefinitionError("not a pipeline job; expected a mapping with type: pipeline and jobs")
    settings = data.get("settings") or {}
    inputs = data.get("inputs") or {}
    document = JobDocument(
        inputs=inputs,
        nodes={str(name): _node(str(name), node) for name, node in data["jobs"].items()},
        datastore=str(settings.get("default_datastore") or "workspaceblobstore").removeprefix("azureml:"),
        is_forced=bool(settings.get("force_rerun", False)),
        continues=bool(settings.get("continue_on_step_failure", True)),
    )
    _check(document)
    return document


def _node(name: str, node: object) -> NodeDefinition:
    if not isinstance(node, Mapping) or node.get("type", "command") not in _TYPES:
        kind = node.get("type") if isinstance(node, Mapping) else type(node).__name__
        raise DefinitionError(f"jobs.{name}: type {kind!r} is not executed here; expected {' or '.join(_TYPES)}")
    is_sweep = node.get("type") == "sweep"
    component = node.get("trial" if is_sweep else "component")
    if not isinstance(component, Mapping) or component.get("type", "command") != "command":
        raise DefinitionError(f"jobs.{name}: expected an inline command component; a reference is not executed here")
    limits = node.get("limits") or {}
    timeout = limits.get("trial_timeout" if is_sweep else "timeout")
    return NodeDefinition(
        name=name,
        component=component,
        inputs={
            port: _binding(f"jobs.{name}.inputs.{port}", value) for port, value in (node.get("inputs") or {}).items()
        },
        outputs=tuple(component.get("outputs") or {}),
        timeout_s=float(timeout or _TIMEOUT_S),
        environment={str(key): str(value) for key, value in (node.get("environment_variables") or {}).items()},
        assets={
            str(port): (str(value["name"]), str(value.get("version") or ""))
            for port, value in (node.get("outputs") or {}).items()
            if isinstance(value, Mapping) and value.get("name")
        },
        sweep=node if is_sweep else None,
    )


def _binding(where: str, value: object) -> Binding:
    mode = ""
    if isinstance(value, Mapping):
        mode, value = str(value.get("mode", "")), value.get("path")
    match = BINDING.match(value) if isinstance(value, str) else None
    if match is None:
        return Binding(value=value, mode=mode)
    if output := _NODE_OUTPUT.match(match["inside"]):
        return Binding(node=output["node"], port=output["port"], mode=mode)
    if job_input := _JOB_INPUT.match(match["inside"]):
        return Binding(job_input=job_input["name"], mode=mode)
    raise DefinitionError(f"{where}: {value} is not executed here; expected an input of the job or an output of a node")


def _check(document: JobDocument) -> None:
    for node in document.nodes.values():
        for port, binding in node.inputs.items():
            where = f"jobs.{node.name}.inputs.{port}"
            if binding.node and binding.node not in document.nodes:
                raise DefinitionError(f"{where}: no node '{binding.node}'{did_you_mean(binding.node, document.nodes)}")
            if binding.node and binding.port not in document.nodes[binding.node].outputs:
                known = document.nodes[binding.node].outputs
                raise DefinitionError(
                    f"{where}: node '{binding.node}' has no output '{binding.port}'{did_you_mean(binding.port, known)}"
                )
            if binding.job_input and binding.job_input not in document.inputs:
                raise DefinitionError(
                    f"{where}: the job has no input '{binding.job_input}'"
                    f"{did_you_mean(binding.job_input, document.inputs)}"
                )


def is_literal(component: Mapping[str, Any], port: str) -> bool:
    """Return whether an input of a component is a value, not a folder."""
    declared = (component.get("inputs") or {}).get(port) or {}
    return declared.get("type") in _LITERALS if isinstance(declared, Mapping) else True
