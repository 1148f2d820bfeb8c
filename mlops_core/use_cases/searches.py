"""The steps of a hyperparameter search: `expanded` makes them from a training step with a `Tuning`.

A step ``train`` becomes one step for each trial, ``train.trial-0``, ``train.trial-1``, ..., and the selection
``train``, which passes on the outputs of the best trial under the names that the other steps read. The trials are
ordinary steps: planned, cached and executed as any other. An engine with searches of its own finds the trials of a
pipeline with `find_searches`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core.errors import PipelineError
from mlops_core.pipeline import OBJECTIVE_OUTPUT, TRIAL_MARK, TRIALS_OUTPUT, Resources, Step, StepKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlops_core.pipeline import Pipeline
    from mlops_core.tuning.declaration import Tuning

SELECTION = "mlops_core.steps.tuned.selection:select"
_SELECTION_RESOURCES = Resources(cpus=1, memory_gb=2)
_EARLIER = "earlier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search of a pipeline.

    Attributes:
        name: of the tuned step, and of the step that selects.
        tuning: the declaration.
        trials: the steps of the trials, by index.
        selection: the step that selects the best trial.
    """

    name: str
    tuning: Tuning
    trials: tuple[Step, ...]
    selection: Step


def expanded(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield the steps of a pipeline, with those of its searches in place of each tuned step.

    Raises:
        PipelineError: a tuned step uses a name that a search needs.
    """
    for step in steps:
        if step.tuning is None or is_selection(step) or step.trial is not None:
            yield step
            continue
        yield from (trial_step(step, index) for index in range(step.tuning.trials))
        yield _selection(step, step.tuning)


def is_selection(step: Step) -> bool:
    """Tell whether a step selects the best trial of a search."""
    return step.tuning is not None and step.run == SELECTION


def draws_values(step: Step) -> bool:
    """Tell whether a step draws the values of its trial when it is executed, from the results of earlier trials."""
    return step.tuning is not None and step.trial is not None and not step.tuning.is_static


def trial_step(step: Step, index: int) -> Step:
    """Return the step that executes a trial of the tuned step `step`."""
    tuning = step.tuning
    assert tuning is not None  # noqa: S101  for mypy: the caller asks for it first
    if TRIALS_OUTPUT in step.outputs:
        raise PipelineError(f"step '{step.name}': the output '{TRIALS_OUTPUT}' of a search is core's own")
    first = tuning.generation(index) * tuning.concurrent
    earlier = {f"{_EARLIER}-{number}": f"{step.name}{TRIAL_MARK}{number}.{OBJECTIVE_OUTPUT}" for number in range(first)}
    if taken := earlier.keys() & step.inputs.keys():
        raise PipelineError(f"step '{step.name}': the input '{min(taken)}' of a search is core's own")
    return replace(
        step,
        name=f"{step.name}{TRIAL_MARK}{index}",
        inputs={**step.inputs, **earlier},
        results=(),
        packages=step.packages if tuning.is_static else (*step.packages, "optuna"),
        trial=index,
    )


def earlier_trials(step: Step) -> dict[str, int]:
    """Return input -> index of the trial whose result it holds, for a trial that is drawn from those before it."""
    return {
        name: int(reference.rpartition(".")[0].rpartition(TRIAL_MARK)[2])
        for name, reference in step.inputs.items()
        if TRIAL_MARK in reference
    }


def _selection(step: Step, tuning: Tuning) -> Step:
    outputs = (*step.outputs, OBJECTIVE_OUTPUT)
    inputs = {
        f"{output}-{index}": f"{step.name}{TRIAL_MARK}{index}.{output}"
        for index in range(tuning.trials)
        for output in outputs
    }
    return Step(
        name=step.name,
        kind=StepKind.PROCESSING,
        run=SELECTION,
        inputs=inputs,
        outputs=(*step.outputs, TRIALS_OUTPUT),
        results=(*step.results, TRIALS_OUTPUT),
        resources=_SELECTION_RESOURCES,
        tuning=tuning,
    )


def find_searches(pipeline: Pipeline) -> tuple[Search, ...]:
    """Return the searches of a pipeline, in the order of their steps."""
    found = []
    for step in pipeline.steps:
        if step.tuning is not None and is_selection(step):
            trials = sorted(
                (each for each in pipeline.steps if each.trial is not None and each.search == step.name),
                key=lambda each: each.trial or 0,
            )
            found.append(Search(name=step.name, tuning=step.tuning, trials=tuple(trials), selection=step))
    return tuple(found)
