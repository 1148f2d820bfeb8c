"""Assign each row to a fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_core import SplitSample, check_no_leak
from mlops_tabular_regression.config import SplitSection
from mlops_tabular_regression.tables.splitting import TEST, TRAIN, assign_folds, check_groups, write_folds
from mlops_tabular_regression.tables.storage import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mlops_core import StepContext
    from mlops_tabular_regression.tables.storage import StoredTable


def split(context: StepContext) -> None:
    """Write ``split.csv``: part and fold of each row.

    Raises:
        DatasetError: the table has too few groups for the folds.
    """
    table = read_table(context.input("table"))
    settings = context.section("split", SplitSection)
    check_groups(table, folds=settings.folds)
    folds = assign_folds(np.asarray(table.target), np.asarray(table.groups), folds=settings.folds, seed=context.seed)
    is_test = folds == settings.test_fold
    check_no_leak({TRAIN: _together(table, ~is_test), TEST: _together(table, is_test)})
    write_folds(context.output("split"), table, folds, test_fold=settings.test_fold)
    context.log.info("%d training rows, %d test rows (fold %d)", (~is_test).sum(), is_test.sum(), settings.test_fold)


def _together(table: StoredTable, is_chosen: NDArray[np.bool_]) -> Iterator[SplitSample]:
    """Yield the chosen rows whose group has several rows; a single row cannot leak."""
    _, codes, sizes = np.unique(table.groups, return_inverse=True, return_counts=True)
    for index in np.flatnonzero(is_chosen & (sizes[codes] > 1)):
        yield SplitSample(sample=table.sample(int(index)), group=table.group(int(index)), label="")
