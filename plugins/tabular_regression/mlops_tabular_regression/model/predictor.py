"""Prediction for tables with a trained model, loaded from its folder alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import DatasetError, SampleScores
from mlops_tabular_regression.config import Policy
from mlops_tabular_regression.model.storage import read_trained
from mlops_tabular_regression.tables.checking import Checker
from mlops_tabular_regression.tables.describing import describe_rows, description_names
from mlops_tabular_regression.tables.opening import open_table
from mlops_tabular_regression.tables.storage import sample_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlops_core import Perturbation
    from mlops_tabular_regression.tables.checking import Violation


_LOG = logging.getLogger(__name__)


class TablePredictor:
    """Predicts a number and an interval for each row of a table; a target in the table is ignored.

    Rows with cells that the schema only reports, such as a number outside its limits, are predicted with a warning.
    """

    def __init__(self, folder: Path) -> None:
        """Load the output of the step ``train``."""
        self._model = read_trained(folder)

    @property
    def classes(self) -> tuple[str, ...]:
        """Always empty, because predictions are numbers."""
        return ()

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield one prediction per row of each table, in the order of the rows.

        Raises:
            DatasetError: a table cannot be read, or a row breaks a rule whose policy is not ``report``: dropping the
                row would shift the predictions. The row is named.
        """
        for path in paths:
            yield from self._predict_table(path, is_described=False)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the numbers that describe a row: columns, and one per category."""
        return description_names(self._model.table.features)

    def describe(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield the answers of `predict`, each with the cells of its row as numbers."""
        for path in paths:
            yield from self._predict_table(path, is_described=True)

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """A shift of each numeric column."""
        from mlops_tabular_regression.tables.perturbing import perturbations

        return perturbations(self._model.table, self._model.rules, _refuse)

    def warm_up(self) -> None:
        """Predict a row of zeros."""
        self._model.answer(np.zeros((1, len(self._model.table.features))))

    def _predict_table(self, path: Path, *, is_described: bool) -> Iterator[SampleScores]:
        opened = open_table(path, self._model.table, needs_target=False)
        reported: list[str] = []

        def record(violation: Violation) -> None:
            _refuse(violation)
            reported.append("" if reported else str(violation))  # the first is shown, the others are counted

        checker = Checker(self._model.table, self._model.rules, record)
        is_empty = True
        for batch in checker.batches(opened):
            is_empty = False
            answers = self._model.answer(batch.features)
            described = describe_rows(batch.features, self._model.table.features).tolist() if is_described else ()
            for at, (row, (value, interval)) in enumerate(zip(batch.rows.tolist(), answers, strict=True)):
                yield SampleScores(
                    path=str(path),
                    sample=sample_name(row),
                    scores=(value,),
                    interval=interval,
                    description=tuple(described[at]) if is_described else (),
                )
        if is_empty:
            raise DatasetError(f"{path.name} has a header and no rows; expected at least one row to predict")
        if reported:
            more = f"; {len(reported)} cells break the schema" if len(reported) > 1 else ""
            first = " ".join(reported[0].splitlines())  # the name of a file may hold a line feed
            _LOG.warning("%s%s: predictions of such rows are not to be relied on", first, more)


def _refuse(violation: Violation) -> None:
    if violation.policy is not Policy.REPORT:
        raise DatasetError(f"{violation}; an unusable row cannot be predicted: correct or remove it")
