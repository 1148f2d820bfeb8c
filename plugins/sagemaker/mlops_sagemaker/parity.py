"""The parts of an executed definition that `mlops parity` compares: its parameters and the order of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.runners import ExecutedDefinition
from mlops_sagemaker.compiler.definition import RESERVED_PARAMETERS
from mlops_sagemaker.compiler.job_graph import BUCKET, IMAGE, MERGE_SUFFIX, MODEL_SUFFIX, ROLE, SEED, SERVING_IMAGE

if TYPE_CHECKING:
    from mlops_sagemaker.emulator.definition import Definition


def executed_definition(definition: Definition) -> ExecutedDefinition:
    """Return the parameters, seed and step order of a definition."""
    declared = {each.name for each in definition.parameters}
    values = definition.values(dict.fromkeys({ROLE, BUCKET, IMAGE, SERVING_IMAGE} & declared, ""))
    own = {name: value for name, value in values.items() if name not in RESERVED_PARAMETERS}
    return ExecutedDefinition(parameters=own, seed=values.get(SEED), order=contracted_order(definition))


def contracted_order(definition: Definition) -> dict[str, frozenset[str]]:
    """Return the dependencies of each pipeline step.

    A sharded job and its merge count as one step, and so do a batch prediction and its model.
    """
    order: dict[str, set[str]] = {}
    for name in definition.steps:
        own = _step_of(name, definition)
        needed = {_step_of(other, definition) for other in definition.needs(name)}
        order.setdefault(own, set()).update(needed - {own})
    return {name: frozenset(needed) for name, needed in order.items()}


def _step_of(name: str, definition: Definition) -> str:
    batch = name.removesuffix(MODEL_SUFFIX)
    if definition.steps[name].type == "Model" and batch in definition.steps:
        return batch
    return name.removesuffix(MERGE_SUFFIX)
