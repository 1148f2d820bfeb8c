"""`Tuning`, the search that a training step declares; `mlops_core.use_cases.searches` makes the steps of its trials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import ConfigError, PipelineError, did_you_mean
from mlops_core.tuning.sampling import BAYESIAN, GRID, RANDOM, SAMPLERS, draw, grid_size
from mlops_core.tuning.space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.tuning.space import TunedValue

STARTUP_TRIALS = 10
"""So many trials of a Bayesian search are drawn at random before its model of the objective is used."""
MAX_TRIALS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """A hyperparameter search on a training step, as data.

    The step is executed once for each trial, with the drawn values in its configuration. Trials are compared by a
    declared metric, which core computes from the predictions that the trial made for the validation part; the best
    one's outputs become those of the step. The test part plays no role in it.

    Attributes:
        space: what is varied; parameters that are not varied are left out.
        objective: name of the metric by which trials are compared; its direction says which is better.
        trials: how many, trial 0 included, which has the configuration's own values.
        concurrent: how many run at a time.
        timeout_s: after so many seconds from the first start no trial is started, and those that run are ended.
        sampler: ``random``, ``sobol``, ``grid``, or ``bayesian`` (extra ``tune``).
        seed: of the drawn values; not the run's.
        predictions: the output of the step with the predictions for the validation part.

    Example:
        >>> from mlops_core import RangeKind, SearchRange, SearchSpace, TunedParameter
        >>> rate = TunedParameter(name="rate", key="training.rate", minimum=0, maximum=1)
        >>> rates = SearchRange(kind=RangeKind.LOG_UNIFORM, minimum=1e-4, maximum=1e-1)
        >>> space = SearchSpace(parameters=(rate,), subspaces=({"rate": rates},))
        >>> Tuning(space=space, objective="acc", trials=3, seed=1).values(2)
        {'rate': 0.000371113442154}
    """

    space: SearchSpace
    objective: str
    trials: int = 8
    concurrent: int = 4
    timeout_s: float = 10_800.0
    sampler: str = RANDOM
    seed: int = 0
    predictions: str = "validation"

    def __post_init__(self) -> None:
        """Keep the parameters that are varied; refuse a search that could not be carried out."""
        object.__setattr__(self, "space", self.space.reduced())
        if self.sampler not in SAMPLERS:
            raise PipelineError(
                f"search: sampler {self.sampler!r}{did_you_mean(self.sampler, SAMPLERS) or ';'} "
                f"samplers: {', '.join(SAMPLERS)}"
            )
        for name, count, most in (("trials", self.trials, MAX_TRIALS), ("concurrent", self.concurrent, MAX_TRIALS)):
            if not 1 <= count <= most:
                raise PipelineError(f"search: {name}={count!r} is not a whole number from 1 to {most}")
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise PipelineError(f"search: timeout_s={self.timeout_s!r} is not a positive number")
        if self.sampler == BAYESIAN and self.trials < 2 * STARTUP_TRIALS:
            raise ConfigError(
                f"search: {self.trials} trials are too few for the sampler bayesian, whose first {STARTUP_TRIALS} are "
                f"drawn at random; expected {2 * STARTUP_TRIALS} or more, or the sampler random"
            )
        unbounded = [name for each in self.space.subspaces for name, found in each.items() if not found.kind.is_bounded]
        if self.sampler == BAYESIAN and unbounded:
            raise ConfigError(
                f"search: {unbounded[0]} has a normal distribution, which the sampler bayesian does not draw from; "
                "expected a range with limits, or the sampler random"
            )
        if self.sampler == GRID and self.trials > grid_size(self.space):
            size = grid_size(self.space)
            raise ConfigError(f"search: the grid has {size} trials, not {self.trials}; expected at most {size}")

    @property
    def is_static(self) -> bool:
        """Whether the values of every trial are known before anything runs."""
        return self.sampler != BAYESIAN

    def values(self, index: int) -> dict[str, TunedValue]:
        """Return the drawn values of a trial; empty for trial 0, and for a trial of a search that is not static."""
        if not self.is_static:
            return {}
        return draw(self.space, sampler=self.sampler, seed=self.seed, index=index)

    def configured(self, sections: Mapping[str, Any]) -> dict[str, TunedValue]:
        """Return the values that a configuration itself has, of the parameters that are varied."""
        found: dict[str, TunedValue] = {}
        for parameter in self.space.used():
            value: Any = sections
            for folder in parameter.key.split("."):
                value = value.get(folder) if isinstance(value, dict) else None
            if isinstance(value, str | int | float):
                found[parameter.name] = value
        return found

    def generation(self, index: int) -> int:
        """Return the generation of a trial: those of one generation are drawn from the results of the ones before."""
        return 0 if self.is_static else index // self.concurrent

    def overlay(self, sections: Mapping[str, Any], values: Mapping[str, TunedValue]) -> dict[str, Any]:
        """Return configuration sections with drawn values in place of the configured ones."""
        changed = dict(sections)
        for name, value in values.items():
            *folders, leaf = self.space.parameter(name).key.split(".")
            place = changed
            for folder in folders:
                inner = place.get(folder)
                place[folder] = dict(inner) if isinstance(inner, dict) else {}
                place = place[folder]
            place[leaf] = value
        return changed

    def to_json(self) -> dict[str, Any]:
        """Return the search as JSON types only."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "space": self.space.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tuning:
        """Return the search that `to_json` wrote."""
        return cls(**{**data, "space": SearchSpace.from_json(data["space"])})
