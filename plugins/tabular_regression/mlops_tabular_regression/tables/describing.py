"""Rows as numbers that show when the data changes: numeric columns as they are, categories one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlops_tabular_regression.config import Column

    Numbers = NDArray[np.float64]


def description_names(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return the names of the columns of `describe_rows`."""
    return tuple(name for column in columns for name in _names(column))


def describe_rows(features: Numbers, columns: Sequence[Column]) -> Numbers:
    """Return the description of each row, (rows, names), of `features` (rows, columns).

    A category is 1 in its own column and 0 in those of the others. A missing number is 0 and has a 1 in a further
    column, so that a column that is suddenly empty is seen.
    """
    described = np.zeros((len(features), len(description_names(columns))))
    at = 0
    for position, column in enumerate(columns):
        values = features[:, position]
        is_missing = np.isnan(values)
        if not column.is_numeric:
            rows = np.flatnonzero(~is_missing)
            described[rows, at + values[rows].astype(np.intp)] = 1.0
        else:
            described[:, at] = np.where(is_missing, 0.0, values)
            if column.may_be_missing:
                described[:, at + 1] = is_missing
        at += len(_names(column))
    return described


def _names(column: Column) -> tuple[str, ...]:
    if not column.is_numeric:
        return tuple(f"{column.name} = {category}" for category in column.categories)
    return (column.name, f"{column.name} is missing") if column.may_be_missing else (column.name,)
