"""The parts of an executed definition that `mlops parity` compares: its parameters and the order of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.runners import ExecutedDefinition
from mlops_sagemaker.compiler.definition import RESERVED_PARAMETERS
from mlops_sagemaker.compiler.job_graph import BUCKET, IMAGE, MERGE_SUFFIX, ROLE, SEED

if TYPE_CHECKING:
    from mlops_sagemaker.emulator.definition import Definition


def executed_definition(definition: Definition) -> ExecutedDefinition:
    """Return the parameters, seed and step order of a definition."""
    values = definition.values({ROLE: "", BUCKET: "", IMAGE: ""})
    own = {name: value for name, value in values.items() if name not in RESERVED_PARAMETERS}
    return ExecutedDefinition(parameters=own, seed=values.get(SEED), order=contracted_order(definition))


def contracted_order(definition: Definition) -> dict[str, frozenset[str]]:
    """Return the dependencies of each pipeline step; a sharded job and its merge count as one step."""
    order: dict[str, set[str]] = {}
    for name in definition.steps:
        own = name.removesuffix(MERGE_SUFFIX)
        needed = {other.removesuffix(MERGE_SUFFIX) for other in definition.needs(name)}
        order.setdefault(own, set()).update(needed - {own})
    return {name: frozenset(needed) for name, needed in order.items()}
