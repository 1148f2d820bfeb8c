"""The end of a search that an engine carried out: the trials are compared again, by the same code as in a local run.

The engine chooses by a number that it read from a log; here the best trial is the one with the best recorded objective.
If the two do not agree, nothing is registered.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mlops_core.errors import RunnerError
from mlops_core.evaluation.metrics import Direction
from mlops_core.pipeline import OBJECTIVE_OUTPUT
from mlops_core.steps.context import StepRequest
from mlops_core.steps.tuned.selection import best_of, select
from mlops_core.steps.tuned.trials import read_objective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.runners.request import RunRequest
    from mlops_core.use_cases.searches import Search
    from mlops_core.workspace.store import Store


def select_again(
    search: Search, request: RunRequest, *, store: Store, trials: Mapping[int, Mapping[str, str]], chosen: int
) -> dict[str, str]:
    """Return the outputs of a search: output -> digest of the artifact.

    Args:
        search: the search.
        request: of the run.
        store: the workspace, which holds the outputs of the trials.
        trials: index -> output -> digest, of the trials that have a result.
        chosen: index of the trial that the engine chose.

    Raises:
        RunnerError: the engine chose another trial, whose objective is not as good.
        StepError: a result is damaged.
    """
    step, tuning = search.selection, search.tuning
    metric = next(each for each in request.pipeline.metrics if each.name == tuning.objective)
    folders = {index: store.artifacts.path(outputs[OBJECTIVE_OUTPUT]) for index, outputs in trials.items()}
    found = {index: read_objective(folder) for index, folder in folders.items()}
    best = best_of(found, is_higher_better=metric.direction is Direction.HIGHER)
    if chosen not in found or found[chosen].value != found[best].value:
        theirs = f"{found[chosen].value!r}" if chosen in found else "no result"
        raise RunnerError(
            f"step '{search.name}': the engine chose trial {chosen} ({metric.name} {theirs}), and trial {best} "
            f"({found[best].value!r}) is better; expected the same choice, so nothing was registered"
        )
    folder = store.work_folder(f"{search.name}-selection")
    outputs = {name: folder / "outputs" / name for name in step.outputs}
    for path in (folder / "scratch", *outputs.values()):
        path.mkdir(parents=True)
    inputs = {
        f"{output}-{index}": store.artifacts.path(digest)
        for index, written in trials.items()
        for output, digest in written.items()
    }
    try:
        select(
            StepRequest(
                use_case=request.use_case.name,
                step=step,
                config={},
                parameters={},
                seed=request.seed,
                inputs=inputs,
                outputs=outputs,
                scratch=folder / "scratch",
                metrics=tuple(each.to_json() for each in request.pipeline.metrics),
            )
        )
        return {name: store.artifacts.add(path) for name, path in outputs.items()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
