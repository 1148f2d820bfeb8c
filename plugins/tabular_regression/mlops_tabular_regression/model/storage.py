"""A trained model as a folder: LightGBM's text files and ``model.json``.

``model.json`` holds the schema, the rules and the derived columns, so that the folder is enough to predict a table.
Reading it executes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from mlops_core import DatasetError, Interval
from mlops_tabular_regression.config import FeaturesSection, RulesSection, TableSection
from mlops_tabular_regression.model.boosting import predict, predict_mean, read_model, write_model
from mlops_tabular_regression.model.design import design_values
from mlops_tabular_regression.model.intervals import widened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import lightgbm as lgb
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

MODEL_FILE = "model.json"
_FORMAT = "mlops-tabular-regression/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A trained model.

    Attributes:
        table: the schema.
        rules: policies for faults in a table to predict.
        features: the derived columns.
        means: models whose mean is the prediction.
        low: model of the lower quantile.
        high: model of the upper quantile.
        widening: widening of the interval at either end, in the target's unit.
        level: share of true values that the widened interval should contain.
    """

    table: TableSection
    rules: RulesSection
    features: FeaturesSection
    means: tuple[lgb.Booster, ...]
    low: lgb.Booster
    high: lgb.Booster
    widening: float
    level: float

    def answer(self, features: Numbers) -> list[tuple[float, Interval]]:
        """Return prediction and interval of each row of `features` (rows, declared features)."""
        values, low, high = self.answer_columns(features)
        return [
            (value, Interval(low=bottom, high=top, level=self.level))
            for value, bottom, top in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
        ]

    def answer_columns(self, features: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Return prediction, lower and upper end of each row of `features` (rows, declared features), each (rows,)."""
        if not len(features):
            return np.empty(0), np.empty(0), np.empty(0)
        values = design_values(features, self.table.features, self.features)
        predictions = predict_mean(self.means, values)
        low, high = widened(predict(self.low, values), predict(self.high, values), predictions, widening=self.widening)
        return predictions, low, high


def write_trained(folder: Path, model: TrainedModel, *, facts: Mapping[str, object]) -> None:
    """Write a model into `folder`; `facts` are further entries of ``model.json`` for information."""
    for number, booster in enumerate(model.means):
        write_model(booster, folder / f"mean_{number:03d}.txt")
    write_model(model.low, folder / "low.txt")
    write_model(model.high, folder / "high.txt")
    data = {
        "format": _FORMAT,
        "table": model.table.model_dump(mode="json"),
        "rules": model.rules.model_dump(mode="json"),
        "features": model.features.model_dump(mode="json"),
        "means": len(model.means),
        "interval": {"level": model.level, "widening": model.widening},
        "facts": dict(facts),
    }
    (folder / MODEL_FILE).write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_trained(folder: Path) -> TrainedModel:
    """Return the model that `write_trained` wrote.

    Raises:
        DatasetError: a file is missing, damaged, or of another format.
    """
    path = folder / MODEL_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != _FORMAT:
            raise DatasetError(f"{path}: format {data['format']!r}; expected {_FORMAT!r}")
        return TrainedModel(
            table=TableSection.model_validate(data["table"]),
            rules=RulesSection.model_validate(data["rules"]),
            features=FeaturesSection.model_validate(data["features"]),
            means=tuple(read_model(folder / f"mean_{number:03d}.txt") for number in range(data["means"])),
            low=read_model(folder / "low.txt"),
            high=read_model(folder / "high.txt"),
            widening=float(data["interval"]["widening"]),
            level=float(data["interval"]["level"]),
        )
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise DatasetError(f"{path} is not a model of this plugin: {' '.join(str(error).split())[:200]}") from error
