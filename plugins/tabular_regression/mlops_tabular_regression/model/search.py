"""Search for a setting by cross-validation within the training part; the test part is not used.

All candidates use the same folds. The number of rounds is the one with the lowest mean loss over the folds.
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
    """A setting with the result of its cross-validation.

    Attributes:
        setting: the setting, with the best number of rounds.
        loss: mean loss over the folds after these rounds.
        models: one model per fold, with all rounds that were tried.
        training: mean loss after each round on the training rows, (rounds,).
        held_out: mean loss after each round on the held-out rows, (rounds,).
    """

    setting: Setting
    loss: float
    models: tuple[lgb.Booster, ...]
    training: Numbers
    held_out: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """Rows for cross-validation; `fold` is the fold of each row, (rows,), from 1."""

    design: Design
    fold: NDArray[np.int16]

    @property
    def numbers(self) -> range:
        """The numbers of the folds."""
        return range(1, int(self.fold.max()) + 1)

    def binned(self, number: int, training: TrainingSection) -> tuple[lgb.Dataset, lgb.Dataset]:
        """Return the rows outside fold `number`, and its own rows, as bins."""
        is_held = self.fold == number
        rows = self.design.part(~is_held).binned(training)
        return rows, self.design.part(is_held).binned(training, reference=rows)

    def predictions(self, trial: Trial) -> Numbers:
        """Return the prediction for each row, (rows,), by the model that has not seen it."""
        predictions = np.empty(len(self.fold))
        for number, model in zip(self.numbers, trial.models, strict=True):
            rows = self.fold == number
            predictions[rows] = predict(model, self.design.values[rows], rounds=trial.setting.rounds)
        return predictions


def candidates(training: TrainingSection, target: Numbers, *, seed: int) -> tuple[Setting, ...]:
    """Return the settings to try: each objective that supports the target, with each number of leaves.

    Raises:
        ConfigError: no objective supports the target.
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
    """Return one trial per setting.

    Args:
        settings: settings to try.
        folds: the rows.
        threads: number of models to train in parallel.
        progress: called with the numbers of trained models and of all models.
    """
    work = [(setting, number) for setting in settings for number in folds.numbers]
    minima = {setting.training.minimum_rows_in_leaf: setting.training for setting in settings}
    binned = {
        (minimum, number): folds.binned(number, training)
        for minimum, training in minima.items()
        for number in folds.numbers
    }
    done: list[None] = []

    def trained(item: tuple[Setting, int]) -> Curve:
        setting, number = item
        curve = fit_with_curve(setting, *binned[setting.training.minimum_rows_in_leaf, number])
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
    # A model without further splits stops early; its last loss is repeated.
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
