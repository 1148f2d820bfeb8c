"""Writes the nodes of a job: command nodes with their component inline, and the sweep of a search.

``is_deterministic``, by which the service reuses results, belongs to components, so every node has one. The service
compares commands, environments and the addresses of inputs, never the bytes behind an address; so code, seed and the
digest of the data set are in the command, and a node that reads data without a digest is not reused.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_azureml.compiler.commands import (
    command_text,
    input_expression,
    job_input,
    output_expression,
    request_argument,
)
from mlops_azureml.layout import LAYOUT, SEED, TRIAL, asset_name, node_name, parameter_port, shard_node
from mlops_azureml.machines import compute_of, instance_type
from mlops_azureml.settings import SERVERLESS
from mlops_core import DATASET, ConfigError, Direction, ParameterType, StepKind
from mlops_core.runners import OBJECTIVE_OUTPUT, PipelineError
from mlops_core.runners.container.request import ContainerRequest, GateRequest, Part

if TYPE_CHECKING:
    from mlops_azureml.compiler.job_graph import JobContext, Node
    from mlops_azureml.settings import CompileSettings
    from mlops_core import Parameter, Pipeline, Step
    from mlops_core.runners import Search

TYPES = {
    ParameterType.FLOAT: "number",
    ParameterType.INTEGER: "integer",
    ParameterType.STRING: "string",
    ParameterType.BOOLEAN: "boolean",
}
_MARGIN_S = 900
"""Time for transfers and for waits between attempts; the limit of a node must not end a step before its own timeout."""
_LONGEST_S = 2_592_000


def command_node(node: Node, context: JobContext, *, version: str = "") -> dict[str, Any]:
    """Return the command node that executes a step, one shard of it or the merge.

    Args:
        node: the node.
        context: shared by all nodes.
        version: of the data assets that its outputs become, if the settings name any.

    Raises:
        PipelineError: two inputs have one name for the service, or the configuration is too large for a command.
    """
    inputs, literals = _inputs(node, context), _literals(node, context)
    component = component_of(
        name=f"{context.pipeline.name}_{node.name}",
        title=node.name,
        description=_description(node),
        inputs=_declared(inputs, literals),
        outputs={node.output_port(output): {"type": "uri_folder"} for output in node.outputs},
        command=command_text("", _arguments(node, context), step=node.step.name),
        is_deterministic=is_reusable(node, context),
        context=context,
    )
    result: dict[str, Any] = {
        "type": "command",
        "component": component,
        "inputs": inputs | {port: binding for port, (_, binding) in literals.items()},
        "outputs": _node_outputs(node, context, version=version),
        **machine(node.step, context),
        "limits": {"timeout": longest_s(node.step, context)},
    }
    overrides = context.settings_of(node.step)
    if overrides.environment:
        result["environment_variables"] = dict(overrides.environment)
    return result


def sweep_node(search: Search, node: Node, context: JobContext) -> dict[str, Any]:
    """Return the sweep of a search: a grid over the *index* of the trial.

    The container draws the values itself from (space, seed, index), so the service tries the same trials as a local
    run, conditional sub-spaces work, and the service's own limits, parallelism and pages remain.

    Args:
        search: the search.
        node: the node of which the trials are executions.
        context: shared by all nodes.

    Raises:
        ConfigError: the trials follow from each other.
        PipelineError: the configuration is too large for a command, or an input has the name of the trial's index.
    """
    tuning = search.tuning
    if not tuning.is_static:
        raise ConfigError(
            f"step '{search.name}': a search with the sampler {tuning.sampler} cannot be compiled, because its trials "
            "follow from each other; expected random, sobol or grid"
        )
    metric = next(each for each in context.pipeline.metrics if each.name == tuning.objective)
    step = command_node(node, context)
    component = step.pop("component")
    if TRIAL in component["inputs"]:
        raise PipelineError(f"step '{search.name}': the input '{TRIAL}' of a search is the engine's own; rename it")
    component["inputs"][TRIAL] = {"type": "integer"}
    component["command"] += f' "--trial={input_expression(TRIAL)}"'
    component["is_deterministic"] = False  # a reused trial has no metrics, and the sweep could not compare it
    timeout_s = max(1, round(tuning.timeout_s))
    limits = {
        "max_total_trials": tuning.trials,
        "max_concurrent_trials": min(tuning.concurrent, tuning.trials),
        "timeout": timeout_s,
        "trial_timeout": min(timeout_s, step.pop("limits")["timeout"]),
    }
    return {
        "type": "sweep",
        "trial": component,
        "inputs": step["inputs"],
        "outputs": step["outputs"],
        "sampling_algorithm": "grid",
        "search_space": {TRIAL: {"type": "choice", "values": list(range(tuning.trials))}},
        "objective": {
            "primary_metric": metric.name,
            "goal": "maximize" if metric.direction is Direction.HIGHER else "minimize",
        },
        "limits": limits,
        **{key: step[key] for key in ("compute", "resources") if key in step},
    }


def search_node_outputs(search: Search) -> tuple[str, ...]:
    """Return the outputs of a sweep, which are those of its best trial."""
    return (*search.trials[0].outputs, OBJECTIVE_OUTPUT)


def search_template(search: Search) -> Step:
    """Return the step of which the trials are executions."""
    return replace(search.trials[0], name=search.name, trial=None)


# --- Parts of nodes ----------------------------------------------------------------------------------------


def component_of(  # noqa: PLR0913  everything that a component has
    *,
    name: str,
    title: str,
    description: str,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    command: str,
    is_deterministic: bool,
    context: JobContext,
) -> dict[str, Any]:
    """Return a command component."""
    return {
        "type": "command",
        "name": asset_name(name).lower().replace("-", "_").replace(".", "_")[:255],
        "display_name": title,
        "description": description,
        "is_deterministic": is_deterministic,
        "inputs": inputs,
        "outputs": outputs,
        "environment": environment_of(context),
        "command": command,
    }


def environment_of(context: JobContext) -> dict[str, str] | str:
    """Return the environment of all nodes: the step image, or an environment of the workspace.

    Without either, it is the environment by which an image of ``mlops package`` is known in a workspace.
    """
    workspace = context.settings.workspace
    if workspace.image is not None:
        return {"image": workspace.image}
    return workspace.environment or f"azureml:{default_environment(context.use_case)}@latest"


def default_environment(use_case: str) -> str:
    """Return the name of the environment for a use case's step image."""
    return f"mlops-{asset_name(use_case).lower()}"


def folder_output() -> dict[str, str]:
    """Return an output of a node; it is uploaded at the end, because mounts are slow for many small files."""
    return {"type": "uri_folder", "mode": "upload"}


def bound_folder(binding: str, context: JobContext) -> dict[str, str]:
    """Return an input of a node that is a folder."""
    return {"path": binding, "mode": context.settings.workspace.input_mode}


def machine(step: Step, context: JobContext) -> dict[str, Any]:
    """Return compute and resources of a node."""
    settings: CompileSettings = context.settings
    compute = compute_of(step, settings)
    resources: dict[str, Any] = {}
    if compute == SERVERLESS:
        resources["instance_type"] = instance_type(step, settings)
        resources["instance_count"] = 1
    if settings.computes.shm_gb:
        resources["shm_size"] = f"{settings.computes.shm_gb}g"
    return {"compute": f"azureml:{compute}", **({"resources": resources} if resources else {})}


def longest_s(step: Step, context: JobContext) -> int:
    """Return the limit of a node in seconds, which covers all attempts of its step."""
    resources = _timed(step, context).resources
    return min(_LONGEST_S, math.ceil(resources.timeout_s * (resources.retries + 1)) + _MARGIN_S)


def is_reusable(node: Node, context: JobContext) -> bool:
    """Return whether the service may reuse results; data sets are only reused by digest."""
    if not (context.settings.workspace.reuse and context.settings_of(node.step).reuse):
        return False
    return DATASET not in node.step.inputs.values() or bool(context.dataset_digest and not context.mounts_data)


def request_of(node: Node, context: JobContext) -> ContainerRequest:
    """Return the request of a node's container."""
    pipeline, step = context.pipeline, node.step
    parameters = {each.name: each for each in pipeline.parameters}
    gate = None
    if node.has_verdict:
        gate = GateRequest(gate=pipeline.gate, parameters=gate_parameters(pipeline), licences=pipeline.licences)
    return ContainerRequest(
        use_case=context.use_case,
        layout=LAYOUT,
        part=node.part,
        step=_timed(step, context),
        config={name: context.sections[name] for name in step.config},
        parameters=tuple(parameters[name] for name in step.parameters),
        is_trained=pipeline.is_trained,
        metrics=pipeline.metrics if step.kind is StepKind.EVALUATION or step.tuning else (),
        gate=gate,
    )


def gate_parameters(pipeline: Pipeline) -> tuple[Parameter, ...]:
    """Return the parameters that the gate uses, in the order of their declaration."""
    mentioned = pipeline.gate.parameters()
    return tuple(each for each in pipeline.parameters if each.name in mentioned)


def parameter_arguments(flag: str, parameters: tuple[Parameter, ...]) -> list[str]:
    """Return the arguments that pass the values of parameters."""
    return [f"--{flag}={each.name}={input_expression(parameter_port(each.name))}" for each in parameters]


def _arguments(node: Node, context: JobContext) -> list[str]:
    request = request_of(node, context)
    arguments = [f"--code={context.code[node.step.name]}", f"--seed={input_expression(SEED)}"]
    if context.dataset_digest and DATASET in node.step.inputs.values():
        arguments.append(f"--dataset-digest={context.dataset_digest}")
    if node.part is Part.SHARD:
        arguments.append(f"--shard={node.shard}/{node.step.shards}")
    arguments += parameter_arguments("parameter", request.parameters)
    arguments += parameter_arguments("gate-parameter", request.gate.parameters if request.gate else ())
    for each in node.inputs:
        folder = f"/{each.folder}" if each.folder else ""
        arguments.append(f"--input={each.target}={input_expression(each.port)}{folder}")
    arguments += [f"--output={output}={output_expression(node.output_port(output))}" for output in node.outputs]
    arguments.append(request_argument(request))
    return arguments


def _inputs(node: Node, context: JobContext) -> dict[str, Any]:
    bound: dict[str, Any] = {}
    for each in node.inputs:
        if each.port in bound:
            raise PipelineError(
                f"step '{node.step.name}': two inputs have the name '{each.port}' in a job, where '-' becomes '_'; "
                "rename one"
            )
        bound[each.port] = bound_folder(each.binding, context)
    outputs = [node.output_port(output) for output in node.outputs]
    for port in outputs:
        if port in bound or outputs.count(port) > 1:
            raise PipelineError(
                f"step '{node.step.name}': the output '{port}' has the name of another input or output in a job, where "
                "'-' becomes '_'; rename one"
            )
    return bound


def _literals(node: Node, context: JobContext) -> dict[str, tuple[str, str]]:
    """Return port -> (type, binding) of the inputs of a node that are values."""
    request = request_of(node, context)
    needed = {each.name: each for each in (*request.parameters, *(request.gate.parameters if request.gate else ()))}
    literals = {SEED: ("integer", job_input(SEED))}
    literals |= {parameter_port(name): (TYPES[each.type], job_input(name)) for name, each in needed.items()}
    for each in node.inputs:
        if each.port in literals:
            raise PipelineError(f"step '{node.step.name}': the input name '{each.port}' is the engine's own; rename it")
    return literals


def _node_outputs(node: Node, context: JobContext, *, version: str) -> dict[str, Any]:
    assets = context.settings_of(node.step).assets if node.part is not Part.SHARD else {}
    return {
        node.output_port(output): folder_output() | _asset(assets.get(output, ""), version) for output in node.outputs
    }


def _asset(name: str, version: str) -> dict[str, str]:
    """Return what makes an output a data asset; without a version the service takes the next number."""
    if not name:
        return {}
    return {"name": name, "version": version} if version else {"name": name}


def _declared(inputs: dict[str, Any], literals: dict[str, tuple[str, str]]) -> dict[str, Any]:
    return {port: {"type": "uri_folder"} for port in inputs} | {
        port: {"type": kind} for port, (kind, _) in literals.items()
    }


def _description(node: Node) -> str:
    what = {Part.WHOLE: "", Part.SHARD: f", shard {node.shard} of {node.step.shards}", Part.MERGE: ", merge"}
    return f"step {node.step.name}{what[node.part]}: {node.step.run}"


def _timed(step: Step, context: JobContext) -> Step:
    """Return the step with the timeout of the settings, which the container enforces and the node's limit includes."""
    timeout_s = context.settings_of(step).timeout_s
    return replace(step, resources=replace(step.resources, timeout_s=float(timeout_s))) if timeout_s else step


def node_names(step: Step) -> tuple[str, ...]:
    """Return the names of all nodes of a step."""
    shards = tuple(shard_node(step.name, index) for index in range(step.shards)) if step.shards > 1 else ()
    return (*shards, node_name(step.name))
