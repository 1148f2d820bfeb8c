"""Writes what follows the evaluation: the gate, which fails for a rejected model, the registration and the tag.

The service has no public conditional node. The node ``gate`` ends with exit code 3 for a rejected model, and with
``continue_on_step_failure: false`` the job fails: it is never green. Only for an accepted model it writes its output
``accepted``, which the registration reads, so nothing can be registered behind a rejection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_azureml.compiler.commands import (
    command_text,
    encoded,
    input_expression,
    job_input,
    node_output,
    output_expression,
    request_argument,
)
from mlops_azureml.compiler.nodes import (
    TYPES,
    bound_folder,
    component_of,
    folder_output,
    gate_parameters,
    longest_s,
    machine,
    parameter_arguments,
)
from mlops_azureml.layout import (
    ACCEPTED,
    BEST_METADATA,
    BUILD_ID,
    BUILD_SOURCE,
    GATE_NODE,
    LAYOUT,
    METADATA,
    MODEL_INPUT,
    MODEL_NAME,
    REGISTER_NODE,
    TAG_NODE,
    VERDICT,
    node_name,
    parameter_port,
    port_name,
)
from mlops_core import Direction, Resources, Step
from mlops_core.runners import EVALUATION_OUTPUT
from mlops_core.runners.container.request import GATE_OUTPUT, ContainerRequest, GateRequest, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_azureml.compiler.job_graph import JobContext
    from mlops_core.runners import RunRequest

_RUN = "mlops_azureml.container:main"
_SMALL = Resources(cpus=1, memory_gb=2, timeout_s=3600.0)


def acceptance_nodes(request: RunRequest, context: JobContext) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and the nodes that follow the evaluation."""
    yield GATE_NODE, gate_node(context)
    if context.settings.workspace.registration == "pipeline":
        yield REGISTER_NODE, register_node(request, context)
        yield TAG_NODE, tag_node(context)


def gate_node(context: JobContext) -> dict[str, Any]:
    """Return the node that succeeds for an accepted model only, and passes it on."""
    pipeline = context.pipeline
    evaluation = node_name(pipeline.evaluation_step.name)
    model_step, _, model = pipeline.model.rpartition(".")
    parameters = gate_parameters(pipeline)
    folders = {
        "evaluation": node_output(evaluation, port_name(EVALUATION_OUTPUT)),
        VERDICT: node_output(evaluation, port_name(GATE_OUTPUT)),
        "model": node_output(node_name(model_step), port_name(model)),
    }
    for batch in unread_batches(context):  # as in a local run, whose verdict comes after all steps
        folders[f"after_{node_name(batch)}"] = node_output(node_name(batch), port_name("predictions"))
    inputs: dict[str, Any] = {port: {"type": "uri_folder"} for port in folders}
    inputs |= {parameter_port(each.name): {"type": TYPES[each.type]} for each in parameters}
    arguments = [
        *parameter_arguments("gate-parameter", parameters),
        *(f"--input={port}={input_expression(port)}" for port in folders),
        f"--output={ACCEPTED}={output_expression(ACCEPTED)}",
        request_argument(gate_request(context)),
    ]
    bound: dict[str, Any] = {port: bound_folder(binding, context) for port, binding in folders.items()}
    bound |= {parameter_port(each.name): job_input(each.name) for each in parameters}
    return _node(
        GATE_NODE,
        f"fails unless the model is accepted: {pipeline.gate.condition}"[:1000],
        ports=(inputs, {ACCEPTED: {"type": "uri_folder"}}),
        bound=(bound, {ACCEPTED: folder_output()}),
        command=command_text("gate", arguments, step=GATE_NODE),
        context=context,
    )


def gate_request(context: JobContext) -> ContainerRequest:
    """Return the request of the gate's container: the gate, the metrics and the parameters, no configuration."""
    pipeline = context.pipeline
    return ContainerRequest(
        use_case=context.use_case,
        layout=LAYOUT,
        part=Part.WHOLE,
        step=_own_step(),
        metrics=pipeline.metrics,
        gate=GateRequest(gate=pipeline.gate, parameters=gate_parameters(pipeline), licences=pipeline.licences),
    )


def register_node(request: RunRequest, context: JobContext) -> dict[str, Any]:
    """Return the node that registers the accepted model, with its metrics and origin as tags."""
    evaluation = node_name(context.pipeline.evaluation_step.name)
    facts = {
        "use_case": context.use_case,
        "plugin": f"{request.use_case.installed.distribution} {request.use_case.installed.version}",
        "dataset": context.pipeline.dataset,
        "dataset_digest": context.dataset_digest,
    }
    request_metrics = ContainerRequest(
        use_case=context.use_case,
        layout=LAYOUT,
        part=Part.WHOLE,
        step=_own_step(),
        metrics=context.pipeline.metrics,
    )
    arguments = [
        f"--input={MODEL_INPUT}={input_expression(MODEL_INPUT)}",
        f"--input=evaluation={input_expression('evaluation')}",
        f"--output={METADATA}={output_expression(METADATA)}",
        f"--name={input_expression(MODEL_NAME)}",
        f"--build-source={input_expression(BUILD_SOURCE)}",
        f"--build-id={input_expression(BUILD_ID)}",
        f"--facts64={encoded(facts)}",
        request_argument(request_metrics),
    ]
    names = (MODEL_NAME, BUILD_SOURCE, BUILD_ID)
    return _node(
        REGISTER_NODE,
        "registers the accepted model",
        ports=(
            {MODEL_INPUT: {"type": "uri_folder"}, "evaluation": {"type": "uri_folder"}}
            | {name: {"type": "string"} for name in names},
            {METADATA: {"type": "uri_folder"}},
        ),
        bound=(
            {
                # The address, not the bytes: a model is registered where it is.
                MODEL_INPUT: {"path": node_output(GATE_NODE, ACCEPTED), "mode": "direct"},
                "evaluation": bound_folder(node_output(evaluation, port_name(EVALUATION_OUTPUT)), context),
            }
            | {name: job_input(name) for name in names},
            {METADATA: folder_output()},
        ),
        command=command_text("register", arguments, step=REGISTER_NODE),
        context=context,
    )


def tag_node(context: JobContext) -> dict[str, Any]:
    """Return the node that marks the best version of the model."""
    first = context.pipeline.metrics[0]
    arguments = [
        f"--input={METADATA}={input_expression(METADATA)}",
        f"--output={BEST_METADATA}={output_expression(BEST_METADATA)}",
        f"--compared-by={first.name}",
        f"--goal={'maximize' if first.direction is Direction.HIGHER else 'minimize'}",
    ]
    return _node(
        TAG_NODE,
        f"marks the best version by {first.name}",
        ports=({METADATA: {"type": "uri_folder"}}, {BEST_METADATA: {"type": "uri_folder"}}),
        bound=(
            {METADATA: bound_folder(node_output(REGISTER_NODE, METADATA), context)},
            {BEST_METADATA: folder_output()},
        ),
        command=command_text("tag", arguments, step=TAG_NODE),
        context=context,
    )


def unread_batches(context: JobContext) -> list[str]:
    """Return the batch predictions that the evaluation does not read."""
    pipeline = context.pipeline
    read = pipeline.ancestors(pipeline.evaluation_step.name)
    return [step.name for step in pipeline.ordered() if step.batch and step.name not in read]


def _own_step() -> Step:
    return Step(name="acceptance", run=_RUN, outputs=(ACCEPTED,), resources=_SMALL)


def _node(
    name: str,
    description: str,
    *,
    ports: tuple[dict[str, Any], dict[str, Any]],
    bound: tuple[dict[str, Any], dict[str, Any]],
    command: str,
    context: JobContext,
) -> dict[str, Any]:
    step = _own_step()
    node: dict[str, Any] = {
        "type": "command",
        "component": component_of(
            name=f"{context.pipeline.name}_{name}",
            title=name,
            description=description,
            inputs=ports[0],
            outputs=ports[1],
            command=command,
            is_deterministic=False,  # a reused node would neither judge nor register anything
            context=context,
        ),
        "inputs": bound[0],
        "outputs": bound[1],
        **machine(step, context),
        "limits": {"timeout": longest_s(step, context)},
    }
    if name != GATE_NODE and context.settings.workspace.identity:
        node["identity"] = {"type": context.settings.workspace.identity}
    return node
