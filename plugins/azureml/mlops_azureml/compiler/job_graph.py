"""The nodes that steps become, and the outputs that each node reads: `Node`, `JobContext`, `nodes_of`.

`mlops_azureml.compiler.nodes` writes a node into a job.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_azureml.compiler.commands import job_input, node_output
from mlops_azureml.layout import (
    CHAMPION,
    DATASET_INPUT,
    IMAGES_INPUT,
    LABELS_INPUT,
    node_name,
    part_port,
    port_name,
    shard_node,
)
from mlops_azureml.settings import StepSettings
from mlops_core import DATASET, StepKind
from mlops_core.runners.container.execution import PARTS_SUFFIX, part_folder
from mlops_core.runners.container.request import CHAMPION_INPUT, GATE_OUTPUT, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_azureml.settings import CompileSettings
    from mlops_core import Pipeline, Step

IMAGES_FOLDER, LABELS_FOLDER = "images", "labels"
"""Folders of a data set that is put together from data in the datastore."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """The data that all nodes of a job share.

    Attributes:
        use_case: name of the use case.
        pipeline: the pipeline.
        sections: configuration sections by name.
        code: digest of the code of each step, by step name.
        settings: settings of the workspace and the steps.
        dataset_digest: digest of the data set; empty if it is not known.
    """

    use_case: str
    pipeline: Pipeline
    sections: Mapping[str, Any]
    code: Mapping[str, str]
    settings: CompileSettings
    dataset_digest: str = ""

    def settings_of(self, step: Step) -> StepSettings:
        """Return the overrides of a step; those of a tuned step hold for its trials."""
        return self.settings.steps.get(step.search or step.name) or StepSettings()

    @property
    def prefix(self) -> str:
        """The path of everything that is kept below the datastore."""
        return self.settings.workspace.prefix or self.pipeline.name

    @property
    def mounts_data(self) -> bool:
        """Whether the data set is put together from data that are already in a datastore."""
        return self.settings.data.images is not None

    def evaluation_outputs(self) -> tuple[str, ...]:
        """Return the outputs of the node that computes the metrics."""
        return (*self.pipeline.evaluation_step.all_outputs, GATE_OUTPUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInput:
    """An input of a node.

    Attributes:
        port: its name in the job.
        binding: what it is bound to.
        target: the name of the step's input, or ``NAME/FOLDER`` for a part of it.
        folder: folder within the bound one; empty for all of it.
    """

    port: str
    binding: str
    target: str
    folder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that executes a step, or a part of it.

    Attributes:
        name: of the node.
        step: step of the pipeline.
        part: the part of the step that the node executes.
        inputs: what it reads.
        outputs: names of the outputs.
        shard: index of the shard.
    """

    name: str
    step: Step
    part: Part
    inputs: tuple[NodeInput, ...] = field(default=())
    outputs: tuple[str, ...] = ()
    shard: int = 0

    @property
    def has_verdict(self) -> bool:
        """Whether the node computes the metrics and the verdict."""
        return self.step.kind is StepKind.EVALUATION and self.part is not Part.SHARD

    def output_port(self, output: str) -> str:
        """Return the name of an output in the job."""
        return port_name(output)


def nodes_of(step: Step, context: JobContext) -> tuple[Node, ...]:
    """Return the nodes of a step, in the order of execution."""
    inputs = tuple(each for name, reference in step.inputs.items() for each in inputs_of(name, reference, context))
    verdict = (GATE_OUTPUT,) if step.kind is StepKind.EVALUATION else ()
    champion = _champion(step, context)
    outputs = (*step.all_outputs, *verdict)
    if step.shards == 1:
        name = node_name(step.name)
        return (Node(name=name, step=step, part=Part.WHOLE, inputs=inputs + champion, outputs=outputs),)
    shards = tuple(
        Node(
            name=shard_node(step.name, index),
            step=step,
            part=Part.SHARD,
            inputs=inputs,
            outputs=step.outputs,
            shard=index,
        )
        for index in range(step.shards)
    )
    parts = tuple(
        NodeInput(
            port=part_port(output, index),
            binding=node_output(shard.name, shard.output_port(output)),
            target=f"{output}{PARTS_SUFFIX}/{part_folder(index)}",
            folder=part_folder(index),
        )
        for output in step.outputs
        for index, shard in enumerate(shards)
    )
    merge = Node(
        name=node_name(step.name), step=step, part=Part.MERGE, inputs=inputs + parts + champion, outputs=outputs
    )
    return (*shards, merge)


def inputs_of(name: str, reference: str, context: JobContext) -> tuple[NodeInput, ...]:
    """Return the inputs of a node for an input of its step, which reads the output `reference` or the data set."""
    if reference != DATASET:
        step, _, output = reference.rpartition(".")
        binding = node_output(node_name(step), port_name(output))
        return (NodeInput(port=port_name(name), binding=binding, target=name),)
    if not context.mounts_data:
        return (NodeInput(port=port_name(name), binding=job_input(DATASET_INPUT), target=name),)
    return (
        NodeInput(port=f"{port_name(name)}_images", binding=job_input(IMAGES_INPUT), target=f"{name}/{IMAGES_FOLDER}"),
        NodeInput(port=f"{port_name(name)}_labels", binding=job_input(LABELS_INPUT), target=f"{name}/{LABELS_FOLDER}"),
    )


def _champion(step: Step, context: JobContext) -> tuple[NodeInput, ...]:
    """Return the input with the best version's predictions, of the node that computes the verdict."""
    if step.kind is not StepKind.EVALUATION or not context.pipeline.gate.needs_champion:
        return ()
    return (NodeInput(port=CHAMPION, binding=job_input(CHAMPION), target=CHAMPION_INPUT),)
