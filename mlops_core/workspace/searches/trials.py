"""The trials of a run's searches, read from its record and from the results that the trials left as artifacts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError
from mlops_core.evaluation.metrics import Direction
from mlops_core.pipeline import OBJECTIVE_OUTPUT, Pipeline
from mlops_core.steps.tuned.selection import TRIALS_FORMAT, best_of
from mlops_core.steps.tuned.trials import read_objective
from mlops_core.use_cases.searches import find_searches
from mlops_core.workspace.records import StepRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlops_core.pipeline import Step
    from mlops_core.steps.tuned.trials import Objective
    from mlops_core.tuning.space import TunedValue
    from mlops_core.use_cases.searches import Search
    from mlops_core.workspace.records import RunRecord, StepStatus

_FEWEST_FOR_IMPORTANCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """A trial of a search.

    Attributes:
        index: from 0.
        step: name of its step.
        state: status of the step.
        values: of the parameters that it varied.
        value: of the objective; None without a result.
        low: lower end of its interval; None where it has none.
        high: upper end.
        duration_s: of the run that did the work.
        key: of the step.
        model: digest of the output that is registered if the trial is the best; empty without a result.
        error: one line, when it failed.
    """

    index: int
    step: str
    state: StepStatus
    values: Mapping[str, TunedValue] = field(default_factory=dict)
    value: float | None = None
    low: float | None = None
    high: float | None = None
    duration_s: float = 0.0
    key: str = ""
    model: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRecord:
    """A search of a run.

    Attributes:
        name: of the tuned step.
        objective: name of the metric.
        is_higher_better: its direction.
        sampler: how values were drawn.
        seed: of the draws.
        parameters: those that are varied, in the order of the space.
        trials: by index.
        best: index of the best trial; None if none has a result.
        note: what is missing; empty when every trial has a result.
    """

    name: str
    objective: str
    is_higher_better: bool
    sampler: str
    seed: int
    parameters: tuple[str, ...]
    trials: tuple[TrialRecord, ...]
    best: int | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``trials.json``."""
        return {
            "format": TRIALS_FORMAT,
            "step": self.name,
            "objective": self.objective,
            "direction": str(Direction.HIGHER if self.is_higher_better else Direction.LOWER),
            "sampler": self.sampler,
            "seed": self.seed,
            "best": self.best,
            "note": self.note,
            "importance": self.importance(),
            "trials": [
                {name: getattr(trial, name) for name in TrialRecord.__slots__} | {"values": dict(trial.values)}
                for trial in self.trials
            ],
        }

    def importance(self) -> dict[str, float]:
        """Return the share of the objective's variation that each parameter alone explains, 0 to 1.

        For numbers it is the square of Spearman's rank correlation; for other values, the correlation ratio of the
        ranks (variance between the values over the whole variance). Parameters that fewer than 8 finished trials vary
        are left out: with few trials, chance explains much. The parameters' shares need not add up to 1.
        Source: M. G. Kendall and A. Stuart, The Advanced Theory of Statistics, vol. 2 (4th ed., 1979), 26.21 and 31.19.
        """
        done = [trial for trial in self.trials if trial.value is not None]
        found = {}
        for name in self.parameters:
            pairs = [(trial.values[name], trial.value or 0.0) for trial in done if name in trial.values]
            if len(pairs) >= _FEWEST_FOR_IMPORTANCE and len({value for value, _ in pairs}) > 1:
                found[name] = _explained([value for value, _ in pairs], _ranks([value for _, value in pairs]))
        return found


def read_searches(record: RunRecord, artifact: Callable[[str], Path]) -> tuple[SearchRecord, ...]:
    """Return the searches of a run, finished or not; none for a record of another version that cannot be read.

    Args:
        record: of the run.
        artifact: returns the folder of an artifact, whether or not it exists.
    """
    try:
        pipeline = Pipeline.from_json(record.pipeline)
    except (MlopsError, AttributeError, KeyError, TypeError, ValueError):
        return ()
    return tuple(_search(search, pipeline, record, artifact) for search in find_searches(pipeline))


def _search(search: Search, pipeline: Pipeline, record: RunRecord, artifact: Callable[[str], Path]) -> SearchRecord:
    tuning = search.tuning
    metric = next(each for each in pipeline.metrics if each.name == tuning.objective)
    is_higher = metric.direction is Direction.HIGHER
    model = pipeline.model.rpartition(".")
    output = model[2] if model[0] == search.name else search.selection.outputs[0]
    results = {step.trial or 0: _result(record.step(step.name), artifact) for step in search.trials}
    finished = {index: result for index, result in results.items() if result is not None}
    selected = record.step(search.name)
    return SearchRecord(
        name=search.name,
        objective=tuning.objective,
        is_higher_better=is_higher,
        sampler=tuning.sampler,
        seed=tuning.seed,
        parameters=tuning.space.names,
        trials=tuple(_trial(step, record.step(step.name), results[step.trial or 0], output) for step in search.trials),
        best=best_of(finished, is_higher_better=is_higher) if finished else None,
        note=(selected.warning or selected.error) if selected else "",
    )


def _result(step: StepRecord | None, artifact: Callable[[str], Path]) -> Objective | None:
    if step is None or OBJECTIVE_OUTPUT not in step.outputs:
        return None
    try:
        return read_objective(artifact(step.outputs[OBJECTIVE_OUTPUT]))
    except MlopsError:
        return None


def _trial(step: Step, record: StepRecord | None, result: Objective | None, output: str) -> TrialRecord:
    index, tuning = step.trial or 0, step.tuning
    assert tuning is not None  # noqa: S101  for mypy: it is a trial
    values = result.values if result else tuning.values(index)
    record = record or StepRecord(name=step.name)
    return TrialRecord(
        index=index,
        step=step.name,
        state=record.status,
        values=values,
        value=result.value if result else None,
        low=_known(result.low) if result else None,
        high=_known(result.high) if result else None,
        duration_s=record.duration_s,
        key=record.key,
        model=record.outputs.get(output, ""),
        error=record.error,
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _explained(values: Sequence[TunedValue], ranks: Sequence[float]) -> float:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _correlation(_ranks([float(value) for value in values]), ranks) ** 2
    mean = sum(ranks) / len(ranks)
    total = sum((rank - mean) ** 2 for rank in ranks)
    groups: dict[TunedValue, list[float]] = {}
    for value, rank in zip(values, ranks, strict=True):
        groups.setdefault(value, []).append(rank)
    between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups.values())
    return between / total if total else 0.0


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, from 0; equal ones share the mean of their ranks."""
    order = sorted(values)
    return [(order.index(value) + len(order) - 1 - order[::-1].index(value)) / 2 for value in values]


def _correlation(first: Sequence[float], second: Sequence[float]) -> float:
    means = sum(first) / len(first), sum(second) / len(second)
    products = sum((a - means[0]) * (b - means[1]) for a, b in zip(first, second, strict=True))
    squares = math.sqrt(sum((a - means[0]) ** 2 for a in first) * sum((b - means[1]) ** 2 for b in second))
    return products / squares if squares else 0.0
