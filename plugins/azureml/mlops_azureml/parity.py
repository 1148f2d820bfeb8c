"""The parts of an executed job that `mlops parity` compares: its parameters and the order of its steps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_azureml.layout import JOB_INPUTS, OWN_NODES, SEED, node_name, shard_node
from mlops_core.runners import ExecutedDefinition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core import Pipeline

_NODE_OUTPUT = re.compile(r"\$\{\{\s*parent\.jobs\.(\w+)\.outputs\.\w+\s*\}\}")


def executed_definition(job: Mapping[str, object], pipeline: Pipeline) -> ExecutedDefinition:
    """Return the parameters, seed and step order of a job.

    Args:
        job: the document.
        pipeline: that was compiled; it says which nodes a step has become.
    """
    inputs = job["inputs"]
    assert isinstance(inputs, dict)  # noqa: S101  for mypy: the document was executed
    own = {name: value for name, value in inputs.items() if name not in JOB_INPUTS}
    return ExecutedDefinition(parameters=own, seed=inputs.get(SEED), order=contracted_order(job, pipeline))


def contracted_order(job: Mapping[str, object], pipeline: Pipeline) -> dict[str, frozenset[str]]:
    """Return the dependencies of each pipeline step; shards and their merge count as one step."""
    owners = step_of_node(pipeline)
    nodes = job["jobs"]
    assert isinstance(nodes, dict)  # noqa: S101  for mypy: the document was executed
    order: dict[str, set[str]] = {}
    for name, node in nodes.items():
        if name in OWN_NODES:
            continue
        own = owners.get(str(name), str(name))
        texts = [value["path"] if isinstance(value, dict) else str(value) for value in node.get("inputs", {}).values()]
        needed = {owners.get(match[1], match[1]) for text in texts if (match := _NODE_OUTPUT.match(str(text)))}
        order.setdefault(own, set()).update(needed - {own})
    return {name: frozenset(needed) for name, needed in order.items()}


def step_of_node(pipeline: Pipeline) -> dict[str, str]:
    """Return the name of each node -> the step that it executes, or a part of which."""
    owners = {}
    for step in pipeline.steps:
        owners[node_name(step.name)] = step.name
        if step.shards > 1:
            owners |= {shard_node(step.name, index): step.name for index in range(step.shards)}
    return owners
