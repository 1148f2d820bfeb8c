"""Gradient boosting with LightGBM: settings, training, prediction, and files in the library's text format.

Each model is trained on one thread, so that it does not depend on the number of threads; models are trained in
parallel.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import lightgbm as lgb
import numpy as np

from mlops_core import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_tabular_regression.config import TrainingSection

    Numbers = NDArray[np.float64]
    T = TypeVar("T")
    R = TypeVar("R")

_DATASET_PARAMETERS = {"verbosity": -1, "num_threads": 1, "data_random_seed": 1}
"""What datasets and models must have in common, besides ``min_data_in_leaf``."""
_OBJECTIVES = {"squared": "regression", "gamma": "gamma", "poisson": "poisson", "quantile": "quantile"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The settings of one model.

    Attributes:
        objective: ``squared``, ``gamma``, ``poisson`` or ``quantile``.
        leaves: maximum number of leaves per tree.
        rounds: number of trees.
        seed: seed of the rows and columns that are drawn for each tree.
        quantile: quantile to predict, for the objective ``quantile``.
        training: settings that all models share.
    """

    objective: str
    leaves: int
    rounds: int
    seed: int
    quantile: float = 0.5
    training: TrainingSection

    def with_rounds(self, rounds: int) -> Setting:
        """Return the same setting with another number of trees."""
        return replace(self, rounds=rounds)

    def with_seed(self, seed: int) -> Setting:
        """Return the same setting with another seed."""
        return replace(self, seed=seed)

    @property
    def metric(self) -> str:
        """LightGBM's name of the loss by which models are compared: ``l2``, or ``quantile`` for that objective."""
        return "quantile" if self.objective == "quantile" else "l2"

    def _parameters(self) -> dict[str, object]:
        training = self.training
        return {
            **_dataset_parameters(training),
            "objective": _OBJECTIVES[self.objective],
            "metric": self.metric,
            "alpha": self.quantile,
            "num_leaves": self.leaves,
            "learning_rate": training.learning_rate,
            "bagging_fraction": training.row_share,
            "bagging_freq": 1,
            "feature_fraction": training.column_share,
            "lambda_l2": training.l2,
            "seed": self.seed,
            "deterministic": True,
            "force_col_wise": True,  # the same numbers as row-wise, and faster with one thread
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Input and target of a model.

    Attributes:
        values: (rows, columns); NaN where a value is missing.
        target: (rows,).
        categorical: positions of the columns with categories.
    """

    values: Numbers
    target: Numbers
    categorical: tuple[int, ...]

    def part(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Design:
        """Return the design of some of the rows."""
        return replace(self, values=self.values[rows], target=self.target[rows])

    def binned(self, training: TrainingSection, *, reference: lgb.Dataset | None = None) -> lgb.Dataset:
        """Return the values as bins of one byte, which any number of models can be trained on at the same time.

        Args:
            training: settings of these models.
            reference: the dataset whose bins are used, for held-out rows.
        """
        return lgb.Dataset(
            self.values,
            self.target,
            reference=reference,
            categorical_feature=list(self.categorical),
            params=_dataset_parameters(training),
        ).construct()


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A trained model with its loss after each round on the training rows and on held-out rows, each (rounds,)."""

    model: lgb.Booster
    training: Numbers
    held_out: Numbers


def fit(setting: Setting, rows: lgb.Dataset) -> lgb.Booster:
    """Return a model that is trained on `rows`, as `Design.binned` returned them.

    Raises:
        DatasetError: the objective does not support the values of the target.
    """
    try:
        return lgb.train(setting._parameters(), rows, setting.rounds)  # noqa: SLF001  of this module
    except lgb.basic.LightGBMError as error:
        raise DatasetError(f"objective '{setting.objective}': {' '.join(str(error).split())}") from error


def fit_with_curve(setting: Setting, rows: lgb.Dataset, held_out: lgb.Dataset) -> Curve:
    """Return a trained model with its losses after each round on `rows` and on `held_out`, which has their bins."""
    losses: dict[str, dict[str, list[float]]] = {}
    model = lgb.train(
        setting._parameters(),  # noqa: SLF001  of this module
        rows,
        setting.rounds,
        valid_sets=[rows, held_out],
        valid_names=["training", "held_out"],
        callbacks=[lgb.record_evaluation(losses)],
    )
    return Curve(
        model=model,
        training=np.asarray(losses["training"][setting.metric]),
        held_out=np.asarray(losses["held_out"][setting.metric]),
    )


def _dataset_parameters(training: TrainingSection) -> dict[str, object]:
    return {**_DATASET_PARAMETERS, "min_data_in_leaf": training.minimum_rows_in_leaf}


def predict(model: lgb.Booster, values: Numbers, *, rounds: int | None = None) -> Numbers:
    """Return the predictions, (rows,).

    Args:
        model: a trained model.
        values: (rows, columns), as in `Design`.
        rounds: number of trees to use; None for all.
    """
    return np.asarray(model.predict(values, num_iteration=rounds, num_threads=1), dtype=np.float64)


def predict_mean(models: Sequence[lgb.Booster], values: Numbers) -> Numbers:
    """Return the mean prediction of several models."""
    return np.asarray(np.mean([predict(model, values) for model in models], axis=0), dtype=np.float64)


def write_model(model: lgb.Booster, path: Path) -> None:
    """Write a model in LightGBM's text format."""
    path.write_text(model.model_to_string(), encoding="utf-8", newline="\n")


def read_model(path: Path) -> lgb.Booster:
    """Return the model that `write_model` wrote.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    try:
        return lgb.Booster(model_str=path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, lgb.basic.LightGBMError) as error:
        raise DatasetError(f"model file {path} cannot be used: {' '.join(str(error).split())}") from error


def each(function: Callable[[T], R], items: Iterable[T], *, threads: int) -> list[R]:
    """Return the results of `function` for the items, in order, computed in threads: LightGBM releases the GIL."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(function, items))
