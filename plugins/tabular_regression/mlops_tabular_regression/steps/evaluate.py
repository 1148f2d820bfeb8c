"""Predict every row of the test fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_core import Interval, Prediction, SampleDescription, write_descriptions, write_predictions
from mlops_tabular_regression.model.storage import read_trained
from mlops_tabular_regression.tables.describing import describe_rows, description_names
from mlops_tabular_regression.tables.rows import BATCH_ROWS
from mlops_tabular_regression.tables.splitting import TEST, rows_of_part
from mlops_tabular_regression.tables.storage import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlops_core import StepContext
    from mlops_tabular_regression.config import Column
    from mlops_tabular_regression.tables.storage import StoredTable

    Numbers = NDArray[np.float64]


def evaluate(context: StepContext) -> None:
    """Write one prediction per row; log the lines from which an engine reads the metrics."""
    table = read_table(context.input("table"))
    tested = rows_of_part(context.input("split"), TEST)
    model = read_trained(context.input("model"))
    target = np.asarray(table.target[tested])
    answers = model.answer_columns(np.asarray(table.features[tested]))
    write_predictions(context.output("predictions"), (), _predictions(table, tested, target, answers, model.level))
    columns = model.table.features
    write_descriptions(context.output("predictions"), description_names(columns), _descriptions(table, tested, columns))
    predicted, low, high = answers
    is_inside = (low <= target) & (target <= high)
    context.log.info("Mean squared error on test set : %.4f", ((target - predicted) ** 2).mean())
    context.log.info("Mean absolute error on test set : %.4f", np.abs(target - predicted).mean())
    context.log.info("the intervals contain %.3f of the true values; their level is %g", is_inside.mean(), model.level)


def _descriptions(
    table: StoredTable, tested: NDArray[np.intp], columns: Sequence[Column]
) -> Iterator[SampleDescription]:
    for start in range(0, len(tested), BATCH_ROWS):
        part = tested[start : start + BATCH_ROWS]
        described = describe_rows(np.asarray(table.features[part]), columns).tolist()
        groups = table.groups[part].tolist()
        for sample, group, vector in zip(table.samples(part), groups, described, strict=True):
            yield SampleDescription(sample=sample, group=str(group), vector=tuple(vector))


def _predictions(
    table: StoredTable,
    tested: NDArray[np.intp],
    target: Numbers,
    answers: tuple[Numbers, Numbers, Numbers],
    level: float,
) -> Iterator[Prediction]:
    for start in range(0, len(tested), BATCH_ROWS):
        part = slice(start, start + BATCH_ROWS)
        columns = [column[part].tolist() for column in (table.groups[tested], target, *answers)]
        for sample, group, label, value, low, high in zip(table.samples(tested[part]), *columns, strict=True):
            interval = Interval(low=low, high=high, level=level)
            yield Prediction(sample=sample, group=str(group), label=label, scores=(value,), interval=interval)
