"""Conversion of a column's cells to numbers, with the rules that they break.

A category becomes its position in ``categories``. A missing or invalid cell becomes NaN; a number out of range keeps
its value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlops_tabular_regression.config import ColumnType, Rule, normalise_text
from mlops_tabular_regression.tables.numbers import has_plain_separators, missing_numbers, plain_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlops_tabular_regression.config import Column, TableSection
    from mlops_tabular_regression.tables.rows import Cells

    Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fault:
    """A cell that breaks a rule.

    Attributes:
        index: position of its row within the batch.
        rule: the broken rule.
        found: content of the cell.
    """

    index: int
    rule: Rule
    found: str


def convert(cells: Cells, column: Column, table: TableSection) -> tuple[Numbers, list[Fault]]:
    """Return the number of each cell, (rows,), and the faults in the order of the rows."""
    if not column.is_numeric:
        return _categories(cells, column, table)
    numbers, faults = _from_array(cells, column) if isinstance(cells, np.ndarray) else _parse(cells, column, table)
    absent = np.flatnonzero(np.isin(numbers, missing_numbers(table)))
    if not column.may_be_missing:
        faults += [Fault(int(index), Rule.MISSING, _shown(cells, index)) for index in absent]
    numbers[absent] = math.nan
    if column.type is ColumnType.INTEGER:
        broken = np.flatnonzero(np.isfinite(numbers) & (numbers != np.floor(numbers)))
        faults += [Fault(int(index), Rule.TYPE, _shown(cells, index)) for index in broken]
        numbers[broken] = math.nan
    faults += [Fault(int(index), Rule.RANGE, _shown(cells, index)) for index in _out_of_range(numbers, column)]
    return numbers, sorted(faults, key=lambda fault: fault.index)


def is_missing(cell: str | float, table: TableSection) -> bool:
    """Return whether a cell holds nothing, whatever the type of its column."""
    return cell != cell or str(cell).strip() in table.missing_values  # noqa: PLR0124  a NaN


def _out_of_range(numbers: Numbers, column: Column) -> NDArray[np.intp]:
    is_out = np.zeros(len(numbers), dtype=bool)
    if column.minimum is not None:
        is_out |= numbers < column.minimum
    if column.maximum is not None:
        is_out |= numbers > column.maximum
    if column.above is not None:
        is_out |= numbers <= column.above
    if column.below is not None:
        is_out |= numbers >= column.below
    return np.flatnonzero(is_out)


def _from_array(cells: Numbers, column: Column) -> tuple[Numbers, list[Fault]]:
    numbers = np.array(cells, dtype=np.float64)
    faults = []
    for index in np.flatnonzero(~np.isfinite(numbers)):
        if math.isinf(numbers[index]):
            faults.append(Fault(int(index), Rule.TYPE, str(numbers[index])))
        elif not column.may_be_missing:
            faults.append(Fault(int(index), Rule.MISSING, ""))
    numbers[~np.isfinite(numbers)] = math.nan
    return numbers, faults


def _parse(cells: Sequence[str], column: Column, table: TableSection) -> tuple[Numbers, list[Fault]]:
    """Convert the whole column at once if every cell is a plain number, else cell by cell."""
    together = "".join(cells)
    if "_" in together or not has_plain_separators(together, table):
        return _parse_each(cells, column, table)
    texts = [cell.replace(",", ".") for cell in cells] if table.decimal == "," else cells
    try:
        numbers = np.fromiter(map(float, texts), dtype=np.float64, count=len(texts))
    except ValueError:
        return _parse_each(cells, column, table)
    # float() accepts inf and nan; a table must not.
    return (numbers, []) if np.isfinite(numbers).all() else _parse_each(cells, column, table)


def _parse_each(texts: Sequence[str], column: Column, table: TableSection) -> tuple[Numbers, list[Fault]]:
    numbers = np.full(len(texts), math.nan)
    faults = []
    for index, text in enumerate(texts):
        number = _number(text, table)
        if isinstance(number, float):
            numbers[index] = number
        elif not (number is Rule.MISSING and column.may_be_missing):
            faults.append(Fault(index, number, text))
    return numbers, faults


def _number(text: str, table: TableSection) -> float | Rule:
    stripped = text.strip()
    if stripped in table.missing_values:
        return Rule.MISSING
    plain = plain_number(stripped, table)
    if plain is None:
        return Rule.TYPE
    try:
        number = float(plain)
    except ValueError:
        return Rule.TYPE
    if math.isnan(number):
        return Rule.MISSING
    return Rule.TYPE if math.isinf(number) or "_" in stripped else number


def _categories(cells: Cells, column: Column, table: TableSection) -> tuple[Numbers, list[Fault]]:
    codes = {normalise_text(name): float(code) for code, name in enumerate(column.categories)}
    meanings = _meanings(codes, table)
    numbers = np.array([codes.get(cell, math.nan) for cell in cells], dtype=np.float64)
    faults = []
    for index in np.flatnonzero(np.isnan(numbers)):
        text = _shown(cells, index).strip()
        code = codes.get(normalise_text(text), meanings.get(_meaning(text, table), math.nan))
        if not math.isnan(code):
            numbers[index] = code
        elif text in table.missing_values:
            if not column.may_be_missing:
                faults.append(Fault(int(index), Rule.MISSING, text))
        else:
            faults.append(Fault(int(index), Rule.CATEGORY, text))
    return numbers, faults


def _meanings(codes: Mapping[str, float], table: TableSection) -> dict[str, float]:
    """Return the code of each meaning that a single category has."""
    meanings = [_meaning(name, table) for name in codes]
    return {
        meaning: code for meaning, code in zip(meanings, codes.values(), strict=True) if meanings.count(meaning) == 1
    }


def _meaning(text: str, table: TableSection) -> str:
    """Return one spelling of a category: 4 for 4.0, true for True, and one normal form of Unicode.

    Whole numbers are written with a decimal place by programs that keep a column with missing cells as floating point,
    and without one where the column has none missing; truth values begin with a capital letter in Python's files.
    """
    normalised = normalise_text(text)
    whole, separator, places = normalised.partition(table.decimal)
    if separator and places and not places.strip("0") and _is_integer(whole):
        return whole
    return normalised.lower() if normalised.lower() in ("true", "false") else normalised


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _shown(cells: Cells, index: int | np.signedinteger) -> str:
    cell = cells[int(index)]
    return f"{cell:.15g}" if isinstance(cell, float) else str(cell)
