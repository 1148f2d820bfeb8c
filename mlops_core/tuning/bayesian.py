"""A Bayesian search by Optuna (extra ``tune``), in generations: each is drawn from the results of those before it.

What a trial tries is a pure function of (space, seed, index, results of the earlier generations): every process makes
the same study in memory from these results, asks for the trials of its generation in the order of their index, and
takes its own. So it does not matter which of them finishes first, and nothing is stored beside the records of runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.errors import PluginError
from mlops_core.tuning.declaration import STARTUP_TRIALS
from mlops_core.tuning.sampling import RANDOM, draw, fitted
from mlops_core.tuning.space import RangeKind, SearchRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlops_core.tuning.declaration import Tuning
    from mlops_core.tuning.space import TunedValue


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierTrial:
    """A trial of an earlier generation that has a result.

    Attributes:
        index: from 0.
        values: that it tried.
        value: of the objective.
    """

    index: int
    value: float
    values: Mapping[str, TunedValue] = field(default_factory=dict)


def ask(
    tuning: Tuning, index: int, *, earlier: Iterable[EarlierTrial], is_higher_better: bool
) -> dict[str, TunedValue]:
    """Return the values of a trial; empty for trial 0.

    Args:
        tuning: the search.
        index: of the trial.
        earlier: trials of earlier generations with a result, in any order.
        is_higher_better: direction of the objective.

    Raises:
        PluginError: Optuna is not installed.
    """
    if index < STARTUP_TRIALS:
        return draw(tuning.space, sampler=RANDOM, seed=tuning.seed, index=index)
    try:
        import optuna
    except ImportError as error:
        raise PluginError(
            "a search with the sampler bayesian needs optuna, which is not installed; expected it: "
            "pip install 'mlops-usecases[tune]', or another sampler"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    count = len(tuning.space.subspaces)
    turn = (index - 1) % count
    subspace = tuning.space.subspaces[turn]
    distributions = {name: _distribution(found) for name, found in subspace.items()}
    study = optuna.create_study(
        direction="maximize" if is_higher_better else "minimize",
        sampler=optuna.samplers.TPESampler(seed=tuning.seed + index // tuning.concurrent, n_startup_trials=1),
    )
    for trial in sorted(earlier, key=lambda each: each.index):
        if trial.index and (trial.index - 1) % count != turn:
            continue
        params = {name: _number(found, trial.values.get(name)) for name, found in subspace.items()}
        if None not in params.values():  # trial 0 may be elsewhere
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=trial.value))
    first = tuning.generation(index) * tuning.concurrent
    asked: dict[str, Any] = {}
    for number in range(max(first, STARTUP_TRIALS), index + 1):
        if (number - 1) % count == turn:
            asked = study.ask(distributions).params
    return {name: fitted(_placed(subspace[name], value), tuning.space.parameter(name)) for name, value in asked.items()}


def _distribution(found: SearchRange) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if found.kind is RangeKind.CHOICE:
        return CategoricalDistribution(found.values)
    if found.kind is RangeKind.RANDINT:
        return IntDistribution(0, int(found.maximum) - 1)
    if found.kind is RangeKind.QUNIFORM:  # the multiples by their number
        return IntDistribution(0, len(found.points() or ()) - 1)
    return FloatDistribution(found.minimum, found.maximum, log=found.kind.is_logarithmic)


def _placed(found: SearchRange, value: Any) -> TunedValue:
    """Return the value that the library's number stands for."""
    if found.kind is RangeKind.QUNIFORM:
        return (found.points() or ())[int(value)]
    if found.kind is RangeKind.QLOG_UNIFORM:
        return found.nearest(float(value))
    placed: TunedValue = float(f"{value:.12g}") if isinstance(value, float) else value
    return placed


def _number(found: SearchRange, value: TunedValue | None) -> TunedValue | None:
    """Return what stands for a value in the study; None where the range does not hold it."""
    points = found.points()
    if points is not None:
        place = next((place for place, point in enumerate(points) if point == value), None)
        return value if place is not None and found.kind is not RangeKind.QUNIFORM else place
    is_inside = isinstance(value, int | float) and found.minimum <= value <= found.maximum
    return float(value) if is_inside and value is not None else None
