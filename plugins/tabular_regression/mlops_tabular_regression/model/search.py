"""Choosing a setting by cross-validation within the training part; the test part is never seen here.

All candidates see the same folds. Their number of rounds is where the mean of the folds' losses is lowest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import ConfigError
from mlops_tabular_regression.model.boosting import Curve, Setting, each, fit_with_curve, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import lightgbm as lgb
    from numpy.typing import NDArray

    from mlops_tabular_regression.config import TrainingSection
    from mlops_tabular_regression.model.boosting import Design

    Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A setting with what cross-validation found.

    Attributes:
        setting: with the best number of rounds.
        loss: the mean of the folds' losses after these rounds.
        models: one a fold, of all rounds that were tried.
        training: mean loss after each round on the rows that the models saw.
        held_out: likewise on those that they did not see.
    """

    setting: Setting
    loss: float
    models: tuple[lgb.Booster, ...]
    training: Numbers
    held_out: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """Rows to cross-validate on; `fold` has one number a row, from 1."""

    design: Design
    fold: NDArray[np.int16]

    @property
    def numbers(self) -> range:
        """The numbers of the folds."""
        return range(1, int(self.fold.max()) + 1)

    def predictions(self, trial: Trial) -> Numbers:
        """Return for each row the prediction of the model that has not seen it."""
        found = np.empty(len(self.fold))
        for number, model in zip(self.numbers, trial.models, strict=True):
            rows = self.fold == number
            found[rows] = predict(model, self.design.values[rows], rounds=trial.setting.rounds)
        return found


def candidates(training: TrainingSection, target: Numbers, *, seed: int) -> tuple[Setting, ...]:
    """Return the settings to try: each objective that the target allows, with each number of leaves.

    Raises:
        ConfigError: the target allows none.
    """
    lowest = float(target.min())
    allowed = [
        objective
        for objective in dict.fromkeys(training.objectives)
        if objective == "squared" or lowest > 0 or (objective == "poisson" and lowest >= 0)
    ]
    if not allowed:
        raise ConfigError(
            f"training.objectives: {', '.join(training.objectives)} cannot be trained on a target of {lowest:g}; "
            "add squared"
        )
    return tuple(
        Setting(objective=objective, leaves=leaves, rounds=training.rounds, seed=seed, training=training)
        for objective in allowed
        for leaves in dict.fromkeys(training.leaves)
    )


def cross_validate(
    settings: Sequence[Setting], folds: Folds, *, threads: int, progress: Callable[[int, int], None]
) -> tuple[Trial, ...]:
    """Return a trial of each setting.

    Args:
        settings: what is tried.
        folds: the rows.
        threads: models that are trained at once.
        progress: is told how many of how many are trained.
    """
    work = [(setting, number) for setting in settings for number in folds.numbers]
    done: list[None] = []

    def trained(item: tuple[Setting, int]) -> Curve:
        setting, number = item
        is_held = folds.fold == number
        curve = fit_with_curve(setting, folds.design.part(~is_held), folds.design.part(is_held))
        done.append(None)
        progress(len(done), len(work))
        return curve

    curves = each(trained, work, threads=threads)
    count = len(folds.numbers)
    return tuple(
        _trial(setting, curves[index * count : (index + 1) * count], folds) for index, setting in enumerate(settings)
    )


def _trial(setting: Setting, curves: Sequence[Curve], folds: Folds) -> Trial:
    sizes = np.array([np.count_nonzero(folds.fold == number) for number in folds.numbers])
    # A model that found no further split stops early; its last loss holds from there on.
    held = np.average([_padded(curve.held_out, setting.rounds) for curve in curves], axis=0, weights=sizes)
    seen = np.mean([_padded(curve.training, setting.rounds) for curve in curves], axis=0)
    best = int(np.argmin(held)) + 1
    return Trial(
        setting=setting.with_rounds(best),
        loss=float(held[best - 1]),
        models=tuple(curve.model for curve in curves),
        training=seen,
        held_out=held,
    )


def _padded(losses: Numbers, length: int) -> Numbers:
    return np.pad(losses, (0, length - len(losses)), mode="edge")
