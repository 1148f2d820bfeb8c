"""The design matrix: the declared features and the columns that are derived from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_tabular_regression.formulas import evaluate_formula

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlops_tabular_regression.config import Column, FeaturesSection

    Numbers = NDArray[np.float64]


def design_values(features: Numbers, columns: Sequence[Column], derived: FeaturesSection) -> Numbers:
    """Return the design matrix (rows, declared and derived columns) of `features` (rows, declared columns)."""
    by_name = {column.name: features[:, position] for position, column in enumerate(columns) if column.is_numeric}
    width = features.shape[1]
    values = np.empty((len(features), width + len(derived.derived)))
    values[:, :width] = features
    for position, column in enumerate(derived.derived, width):
        values[:, position] = evaluate_formula(column.formula, by_name)
    return values


def design_names(columns: Sequence[Column], derived: FeaturesSection) -> tuple[str, ...]:
    """Return the names of the columns of `design_values`."""
    return (*(column.name for column in columns), *(column.name for column in derived.derived))


def categorical_positions(columns: Sequence[Column]) -> tuple[int, ...]:
    """Return the positions of the columns of `design_values` with categories."""
    return tuple(position for position, column in enumerate(columns) if not column.is_numeric)
