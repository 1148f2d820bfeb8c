"""Tables changed on purpose: one numeric column shifted, as another instrument or unit would shift it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import Perturbation
from mlops_tabular_regression.config import ColumnType
from mlops_tabular_regression.tables.checking import Checker
from mlops_tabular_regression.tables.opening import open_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_tabular_regression.config import Column, RulesSection, TableSection
    from mlops_tabular_regression.tables.checking import Violation

    Numbers = NDArray[np.float64]

_STRENGTHS = (0.5, 1.0, 2.0)


def perturbations(
    table: TableSection, rules: RulesSection, refuse: Callable[[Violation], None]
) -> tuple[Perturbation, ...]:
    """Return one change for each numeric column: a shift in standard deviations of the column in the file.

    Args:
        table: the schema.
        rules: policies for faults.
        refuse: called with each violation; raises an error for what cannot be predicted.
    """

    def shift(position: int) -> Callable[[Path, Path, float], None]:
        def write(source: Path, target: Path, deviations: float) -> None:
            features = _features(source, table, rules, refuse)
            features[:, position] = shifted(features[:, position], table.features[position], deviations)
            write_features(target, features, table)

        return write

    return tuple(
        Perturbation(
            name=f"column {column.name}", strengths=_STRENGTHS, unit="sd", write=shift(position), suffix=".csv"
        )
        for position, column in enumerate(table.features)
        if column.is_numeric
    )


def shifted(values: Numbers, column: Column, deviations: float) -> Numbers:
    """Return the cells of a column, (rows,), shifted by so many of their standard deviations.

    What would leave the range of the column stays at its end; whole numbers stay whole; a missing cell stays missing.
    """
    if np.isnan(values).all():
        return values
    moved = values + deviations * np.nanstd(values)
    if column.type is ColumnType.INTEGER:
        moved = np.rint(moved)
    low, high = column.minimum, column.maximum
    if column.above is not None:
        low = max(float(np.nanmin(values)), column.above) if low is None else low
    if column.below is not None:
        high = min(float(np.nanmax(values)), column.below) if high is None else high
    return np.clip(moved, low, high)


def write_features(path: Path, features: Numbers, table: TableSection) -> None:
    """Write numbers, (rows, features), as a table that the schema reads again, without target, id and group."""
    delimiter = table.delimiter or ("," if table.decimal == "." and table.thousands != "," else ";")
    missing = table.missing_values[0] if table.missing_values else ""
    with path.open("w", encoding="utf-8" if table.encoding == "utf-8" else table.encoding, newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        if table.header is not False:
            writer.writerow([column.name for column in table.features])
        for row in features.tolist():
            cells = (_cell(value, column, missing) for value, column in zip(row, table.features, strict=True))
            writer.writerow([cell.replace(".", table.decimal) if column.is_numeric else cell
                             for cell, column in zip(cells, table.features, strict=True)])  # fmt: skip


def _features(path: Path, table: TableSection, rules: RulesSection, refuse: Callable[[Violation], None]) -> Numbers:
    checker = Checker(table, rules, refuse)
    return np.concatenate([batch.features for batch in checker.batches(open_table(path, table, needs_target=False))])


def _cell(value: float, column: Column, missing: str) -> str:
    if np.isnan(value):
        return missing
    if not column.is_numeric:
        return column.categories[int(value)]
    return str(int(value)) if column.type is ColumnType.INTEGER else repr(value)
