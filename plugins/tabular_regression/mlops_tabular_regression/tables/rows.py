"""Rows of a file before they are checked: the output of the readers, and the input of the checker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Cells: TypeAlias = "Sequence[str] | NDArray[np.float64]"

BATCH_ROWS = 16_384
"""Number of rows that are in memory as text at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MisshapenRow:
    """A row with too many or too few cells.

    Attributes:
        row: number of the row; the first row of data is 1.
        line: line of the file on which the row starts.
        cells: number of its cells.
    """

    row: int
    line: int
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBatch:
    """Consecutive rows.

    Attributes:
        numbers: number of each row; the first row of data is 1.
        lines: line of the file on which each row starts; empty for a file without lines.
        cells: declared column -> its cells, as texts or as numbers (NaN where missing).
        misshapen: rows with a wrong number of cells, which are not in `cells`.
    """

    numbers: Sequence[int]
    lines: Sequence[int] = ()
    cells: Mapping[str, Cells]
    misshapen: tuple[MisshapenRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTable:
    """A table whose columns are matched with the schema.

    Attributes:
        path: its file.
        width: number of cells that each row must have.
        columns: the declared columns that the file has.
        remarks: remarks of the reader: a detected delimiter, columns that are not declared.
        batches: its rows, read during iteration.
    """

    path: Path
    width: int
    columns: frozenset[str]
    remarks: tuple[str, ...] = ()
    batches: Iterator[RowBatch] = field(repr=False)
