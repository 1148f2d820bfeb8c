"""A trained model ready to be asked about tables, from its folder alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import DatasetError, SampleScores
from mlops_tabular_regression.config import Policy
from mlops_tabular_regression.model.storage import read_trained
from mlops_tabular_regression.tables.checking import Checker
from mlops_tabular_regression.tables.opening import open_table
from mlops_tabular_regression.tables.storage import sample_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlops_tabular_regression.tables.checking import Violation


class TablePredictor:
    """Gives each row of a table a number and an interval; the target need not be there, and is not read."""

    def __init__(self, folder: Path) -> None:
        """Load what the step ``train`` wrote."""
        self._model = read_trained(folder)

    @property
    def classes(self) -> tuple[str, ...]:
        """Empty: the answers are numbers."""
        return ()

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield one answer a row of each table, in their order.

        Raises:
            DatasetError: a table cannot be read, or a row breaks a rule whose policy is not to report: to leave it
                out would give a row another row's answer. It is named.
        """
        for path in paths:
            yield from self._predict_table(path)

    def _predict_table(self, path: Path) -> Iterator[SampleScores]:
        opened = open_table(path, self._model.table, needs_target=False)
        checker = Checker(self._model.table, self._model.rules, _refuse)
        is_empty = True
        for batch in checker.batches(opened):
            is_empty = False
            answers = self._model.answer(batch.features)
            for row, (value, interval) in zip(batch.rows.tolist(), answers, strict=True):
                yield SampleScores(path=str(path), sample=sample_name(row), scores=(value,), interval=interval)
        if is_empty:
            raise DatasetError(f"{path.name} has a header and no rows; expected at least one row to predict")


def _refuse(violation: Violation) -> None:
    if violation.policy is not Policy.REPORT:
        raise DatasetError(f"{violation}; a row that cannot be used cannot be predicted: mend it or take it out")
