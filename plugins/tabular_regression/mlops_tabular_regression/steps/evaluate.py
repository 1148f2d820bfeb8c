"""Predict every row of the test fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_core import Prediction, Predictions, write_predictions
from mlops_tabular_regression.metrics import compute_metrics
from mlops_tabular_regression.model.storage import read_trained
from mlops_tabular_regression.tables.splitting import TEST, rows_of_part
from mlops_tabular_regression.tables.storage import read_table

if TYPE_CHECKING:
    from mlops_core import StepContext


def evaluate(context: StepContext) -> None:
    """Write one prediction per row; log the lines from which an engine reads the metrics."""
    table = read_table(context.input("table"))
    tested = rows_of_part(context.input("split"), TEST)
    model = read_trained(context.input("model"))
    answers = model.answer(np.asarray(table.features[tested]))
    predictions = tuple(
        Prediction(
            sample=table.sample(int(index)),
            group=table.group(int(index)),
            label=float(table.target[index]),
            scores=(value,),
            interval=interval,
        )
        for index, (value, interval) in zip(tested, answers, strict=True)
    )
    write_predictions(context.output("predictions"), (), predictions)
    values = compute_metrics(Predictions(classes=(), rows=predictions)).values
    context.log.info("Mean squared error on test set : %.4f", values["mse"].value)
    context.log.info("Mean absolute error on test set : %.4f", values["mae"].value)
    context.log.info(
        "the intervals contain %.3f of the true values; their level is %g",
        values["interval_coverage"].value,
        model.level,
    )
