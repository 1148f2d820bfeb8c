"""Selective executions: some steps are executed, the others are replaced by their results in an earlier execution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core.runners import DefinitionError, did_you_mean
from mlops_sagemaker.service.executions import ExecutionStepStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_sagemaker.emulator.definition import Definition
    from mlops_sagemaker.service.executions import ExecutionRecord, ExecutionStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The steps of a selective execution.

    Attributes:
        steps: names of the steps to execute.
        results: results of steps that are not executed and to which the others refer.
    """

    steps: frozenset[str]
    results: tuple[ExecutionStep, ...] = ()


def select_steps(definition: Definition, names: Sequence[str], *, source: ExecutionRecord | None) -> Selection:
    """Return the selection of these steps.

    Args:
        definition: definition to execute.
        names: names of the steps to execute.
        source: earlier execution with the results of the other steps; None if it is not given.

    Raises:
        DefinitionError: a name is unknown or occurs twice, or a step refers to a result that the earlier execution
            does not have.
    """
    for name in names:
        if name not in definition.steps:
            hint = did_you_mean(name, definition.steps)
            raise DefinitionError(f"SelectedSteps: the pipeline has no step '{name}'{hint}")
    selected = frozenset(names)
    if len(selected) < len(names):
        raise DefinitionError("SelectedSteps: a step is selected twice")
    needed = dict.fromkeys(
        other for name in names for other in sorted(definition.steps[name].references()) if other not in selected
    )
    return Selection(steps=selected, results=tuple(_result(name, source) for name in needed))


def _result(name: str, source: ExecutionRecord | None) -> ExecutionStep:
    if source is None:
        raise DefinitionError(
            f"SourcePipelineExecutionArn is required, because a selected step refers to step '{name}'"
        )
    step = source.step(name)
    if step is None or step.status is not ExecutionStepStatus.SUCCEEDED:
        raise DefinitionError(f"a selected step refers to step '{name}', which has not succeeded in {source.arn}")
    return replace(step, selected_from=step.selected_from or source.arn, cache_source="")
