"""Select a setting within the training part, train it on that part, and calibrate intervals on held-out rows."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import HistoryRow, Interval, Prediction, write_history, write_left_out, write_predictions
from mlops_tabular_regression.config import (
    FeaturesSection,
    IntervalsSection,
    RulesSection,
    TableSection,
    TrainingSection,
)
from mlops_tabular_regression.model import boosting, search
from mlops_tabular_regression.model.boosting import Design, Setting
from mlops_tabular_regression.model.design import categorical_positions, design_names, design_values
from mlops_tabular_regression.model.importance import Importance, gain_shares, permutation_losses, write_importance
from mlops_tabular_regression.model.intervals import conformal_widening, quantiles, widened
from mlops_tabular_regression.model.search import Folds, Trial
from mlops_tabular_regression.model.storage import TrainedModel, write_trained
from mlops_tabular_regression.tables.splitting import TRAIN, assign_folds, rows_of_part
from mlops_tabular_regression.tables.storage import read_features, read_table

if TYPE_CHECKING:
    from pathlib import Path

    import lightgbm as lgb
    from numpy.typing import NDArray

    from mlops_core import StepContext

    Numbers = NDArray[np.float64]

VALIDATION = "validation"
"""The output by which the trials of a search are compared; declared where there is a search."""
_SEARCH_SEED = 1
_SAMPLE_SEED = 2
_SHUFFLE_SEED = 3
_BAG_SEED = 4
_QUANTILE_SEED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The training part and its settings.

    Attributes:
        folder: folder of the whole table.
        rows: positions of the training part in it, (rows,).
        target: target of the training part, (rows,).
        groups: groups of the training part, (rows,).
    """

    table: TableSection
    rules: RulesSection
    derived: FeaturesSection
    training: TrainingSection
    level: float
    seed: int
    threads: int
    folder: Path
    rows: NDArray[np.intp]
    target: Numbers
    groups: NDArray[np.int64]

    def features(self, chosen: NDArray[np.intp]) -> Numbers:
        """Return the features of some rows of the training part."""
        return read_features(self.folder, self.rows[chosen])

    def design(self, chosen: NDArray[np.intp]) -> Design:
        """Return the design of some rows of the training part; that of all of a large table would take much memory."""
        return Design(
            values=design_values(self.features(chosen), self.table.features, self.derived),
            target=self.target[chosen],
            categorical=categorical_positions(self.table.features),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SearchResult:
    """The result of the cross-validation within the training part."""

    rows: NDArray[np.intp]
    folds: Folds
    trials: tuple[Trial, ...]
    best: Trial
    low: Trial
    high: Trial


def train(context: StepContext) -> None:
    """Write the models, ``feature_importance.csv``, ``history.csv`` and ``search.csv``."""
    work = _read_work(context)
    result = _search(context, work)
    means = _means(context, work, result.best.setting)
    low, high, widening = _intervals(work, result)
    context.log.info("the interval between the quantile models is widened by %.4g at either end", widening)
    model = TrainedModel(
        table=work.table,
        rules=work.rules,
        features=work.derived,
        means=tuple(means),
        low=low,
        high=high,
        widening=widening,
        level=work.level,
    )
    folder = context.output("model")
    write_trained(folder, model, facts=_facts(work, result))
    if context.has_output(VALIDATION):
        _write_validation(context, work, result, widening)
    _write_search(folder / "search.csv", result.trials)
    _write_history(folder, result.best)
    importance = _importance(work, result, model)
    write_importance(folder, importance)
    top = sorted(importance, key=lambda item: -item.gain)[:5]
    context.log.info("most important: %s", ", ".join(f"{item.feature} {item.gain:.2f}" for item in top))


def _read_work(context: StepContext) -> _Work:
    stored = read_table(context.input("table"))
    rows = rows_of_part(context.input("split"), TRAIN)
    table = context.section("table", TableSection)
    derived = context.section("features", FeaturesSection)
    return _Work(
        table=table,
        rules=context.section("rules", RulesSection),
        derived=derived,
        training=context.section("training", TrainingSection),
        level=context.section("intervals", IntervalsSection).level,
        seed=context.seed,
        threads=os.cpu_count() or 1,
        folder=context.input("table"),
        rows=rows,
        target=np.asarray(stored.target[rows]),
        groups=np.asarray(stored.groups[rows]),
    )


def _search(context: StepContext, work: _Work) -> _SearchResult:
    """Cross-validate all settings, then the quantiles with the leaves of the best."""
    rows = _searched_rows(context, work)
    design = work.design(rows)
    count = min(work.training.search_folds, len(np.unique(work.groups[rows])))
    fold = assign_folds(design.target, work.groups[rows], folds=count, seed=[work.seed, _SEARCH_SEED])
    folds = Folds(design=design, fold=fold)
    settings = search.candidates(work.training, work.target, seed=work.seed)
    cross_validate = partial(search.cross_validate, folds=folds, threads=work.threads)
    trials = cross_validate(settings, progress=lambda done, total: context.progress("model", done, total))
    for trial in trials:
        context.log.info(
            "%s, %d leaves: %d rounds, cross-validated mean squared error %.4f",
            trial.setting.objective,
            trial.setting.leaves,
            trial.setting.rounds,
            trial.loss,
        )
    best = min(trials, key=lambda trial: trial.loss)
    low, high = cross_validate(
        [_quantile(best, quantile, work.training) for quantile in quantiles(work.level)],
        progress=lambda done, total: context.progress("quantile model", done, total),
    )
    return _SearchResult(rows=rows, folds=folds, trials=trials, best=best, low=low, high=high)


def _searched_rows(context: StepContext, work: _Work) -> NDArray[np.intp]:
    total = len(work.groups)
    if total <= work.training.search_rows:
        return np.arange(total)
    context.log.info("the settings are searched on %d of %d rows", work.training.search_rows, total)
    draw = np.random.default_rng([work.seed, _SAMPLE_SEED])
    return np.sort(draw.choice(total, work.training.search_rows, replace=False))


def _means(context: StepContext, work: _Work, setting: Setting) -> list[lgb.Booster]:
    """Return the models whose mean is the prediction.

    If the training part has more than ``model_rows`` rows, each model has that many rows of its own, so that together
    they have seen as many as possible.
    """
    total, count, bags = len(work.target), work.training.model_rows, range(work.training.bags)
    if total <= count:
        shared = work.design(np.arange(total)).binned(work.training)
        return boosting.each(
            lambda bag: boosting.fit(setting.with_seed(work.seed + bag), shared), bags, threads=work.threads
        )
    context.log.info("each model is trained on %d of %d rows", count, total)
    shuffled = np.random.default_rng([work.seed, _BAG_SEED]).permutation(total)
    # Binning takes much more memory than the bins, so it is not done in parallel.
    binned = [
        work.design(np.sort(shuffled.take(range(bag * count, (bag + 1) * count), mode="wrap"))).binned(work.training)
        for bag in bags
    ]
    return boosting.each(
        lambda bag: boosting.fit(setting.with_seed(work.seed + bag), binned[bag]), bags, threads=work.threads
    )


def _quantile(best: Trial, quantile: float, training: TrainingSection) -> Setting:
    setting = best.setting
    return Setting(
        objective="quantile",
        quantile=quantile,
        leaves=setting.leaves,
        rounds=training.rounds,
        seed=setting.seed,
        training=training,
    )


def _intervals(work: _Work, result: _SearchResult) -> tuple[lgb.Booster, lgb.Booster, float]:
    """Return the quantile models and the widening of the interval between them.

    If the search used all rows, the out-of-fold predictions calibrate the intervals. Otherwise the quantile models are
    trained on the other rows, at most ``model_rows`` of them, and calibrated on those of the search.
    """
    is_all = len(result.rows) == len(work.groups)
    is_used = np.ones(len(work.groups), dtype=bool)
    is_used[result.rows] = is_all
    rows = np.flatnonzero(is_used)
    if len(rows) > work.training.model_rows:
        draw = np.random.default_rng([work.seed, _QUANTILE_SEED])
        rows = np.sort(draw.choice(rows, work.training.model_rows, replace=False))
    binned = work.design(rows).binned(work.training)
    low, high = boosting.each(
        lambda trial: boosting.fit(trial.setting, binned), [result.low, result.high], threads=work.threads
    )
    calibration = result.folds.design
    if is_all:
        ends = result.folds.predictions(result.low), result.folds.predictions(result.high)
    else:
        ends = boosting.predict(low, calibration.values), boosting.predict(high, calibration.values)
    return low, high, conformal_widening(*ends, calibration.target, level=work.level)


def _importance(work: _Work, result: _SearchResult, model: TrainedModel) -> list[Importance]:
    columns = work.table.features

    def predicted(features: Numbers) -> Numbers:
        values = design_values(features, columns, work.derived)
        design = replace(result.folds.design, values=values)
        return Folds(design=design, fold=result.folds.fold).predictions(result.best)

    gains = gain_shares(model.means)
    losses = permutation_losses(
        work.features(result.rows), result.folds.design.target, predicted, seed=work.seed + _SHUFFLE_SEED
    )
    names = design_names(columns, work.derived)
    return [
        Importance(feature=name, gain=float(gain), permutation=float(losses[index]) if index < len(losses) else None)
        for index, (name, gain) in enumerate(zip(names, gains, strict=True))
    ]


def _write_validation(context: StepContext, work: _Work, result: _SearchResult, widening: float) -> None:
    """Write the prediction of each searched row by the models that have not seen it, by which trials are compared."""
    stored = read_table(context.input("table"))
    folds, target = result.folds, result.folds.design.target
    means = folds.predictions(result.best)
    low, high = widened(folds.predictions(result.low), folds.predictions(result.high), means, widening=widening)
    samples = list(stored.samples(work.rows))
    rows = (
        Prediction(
            sample=samples[row],
            group=str(stored.groups[work.rows[row]]),
            label=float(target[at]),
            scores=(float(means[at]),),
            interval=Interval(low=float(low[at]), high=float(high[at]), level=work.level),
        )
        for at, row in enumerate(result.rows.tolist())
    )
    folder = context.output(VALIDATION)
    write_predictions(folder, (), rows)
    searched = set(result.rows.tolist())
    write_left_out(folder, {name: "not searched" for row, name in enumerate(samples) if row not in searched})


def _facts(work: _Work, result: _SearchResult) -> dict[str, object]:
    setting = result.best.setting
    return {
        "rows": len(work.target),
        "rows_per_model": min(len(work.target), work.training.model_rows),
        "objective": setting.objective,
        "leaves": setting.leaves,
        "rounds": setting.rounds,
        "bags": work.training.bags,
        "cross_validated_mse": round(result.best.loss, 6),
        "searched_rows": len(result.rows),
    }


def _write_search(path: Path, trials: tuple[Trial, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("objective", "leaves", "rounds", "cross_validated_mse"))
        for trial in sorted(trials, key=lambda trial: trial.loss):
            setting = trial.setting
            writer.writerow((setting.objective, setting.leaves, setting.rounds, f"{trial.loss:.6f}"))


def _write_history(folder: Path, best: Trial) -> None:
    rows = (
        HistoryRow(step=number, values={"train_mse": round(training, 6), "validation_mse": round(held_out, 6)})
        for number, (training, held_out) in enumerate(zip(best.training, best.held_out, strict=True), 1)
    )
    write_history(folder, rows, step_name="round")
