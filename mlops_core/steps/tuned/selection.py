"""Selecting the best trial: its outputs become those of the tuned step, and ``trials.json`` lists all trials.

Which is better says the declared direction of the objective; of equal ones, the lower index. Failed trials have no
result here; what became of them is in the record of the run.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from mlops_core.errors import StepError
from mlops_core.evaluation.metrics import Direction, Metric
from mlops_core.pipeline import OBJECTIVE_OUTPUT, TRIALS_OUTPUT
from mlops_core.reading import replace_text
from mlops_core.steps.context import StepContext
from mlops_core.steps.tuned.trials import read_objective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.steps.context import StepRequest
    from mlops_core.steps.tuned.trials import Objective

TRIALS_FILE = "trials.json"
TRIALS_FORMAT = "mlops-trials/1"


def best_of(objectives: Mapping[int, Objective], *, is_higher_better: bool) -> int:
    """Return the index of the trial with the best result; of equal ones, the lowest.

    Raises:
        StepError: there is none.
    """
    if not objectives:
        raise StepError("no trial of the search has a result")
    sign = -1 if is_higher_better else 1
    return min(objectives, key=lambda index: (sign * objectives[index].value, index))


def select(request: StepRequest) -> None:
    """Copy the outputs of the best trial to those of the tuned step, and write ``trials.json``.

    Raises:
        StepError: no trial has a result, or one is damaged.
    """
    step, tuning = request.step, request.step.tuning
    assert tuning is not None  # noqa: S101  for mypy
    metric = next(Metric.from_json(each) for each in request.metrics if each["name"] == tuning.objective)
    given = {index: request.inputs.get(f"{OBJECTIVE_OUTPUT}-{index}") for index in range(tuning.trials)}
    found = {index: read_objective(folder) for index, folder in given.items() if folder is not None}
    best = best_of(found, is_higher_better=metric.direction is Direction.HIGHER)
    for output in step.outputs:
        if output != TRIALS_OUTPUT:
            source = request.inputs[f"{output}-{best}"]
            shutil.copytree(source, request.outputs[output], dirs_exist_ok=True, copy_function=shutil.copyfile)
    record: dict[str, Any] = {
        "format": TRIALS_FORMAT,
        "objective": tuning.objective,
        "direction": str(metric.direction),
        "sampler": tuning.sampler,
        "seed": tuning.seed,
        "best": best,
        "trials": [
            {"trial": index, **_entry(found[index])}
            if index in found
            else {"trial": index, "values": tuning.values(index), "value": None}
            for index in range(tuning.trials)
        ],
    }
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_text(request.outputs[TRIALS_OUTPUT] / TRIALS_FILE, text)
    StepContext(request).log.info(
        "trial %d of %d is best: %s %r", best, tuning.trials, tuning.objective, found[best].value
    )


def _entry(objective: Objective) -> dict[str, Any]:
    return {name: value for name, value in objective.to_json().items() if name not in ("format", "metric")}
