"""Rows as a file gives them, before they are checked: what the readers yield and the checker takes."""

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
"""Rows that are in memory as text at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MisshapenRow:
    """A row with too many or too few cells.

    Attributes:
        row: its number, the first row of data is 1.
        line: the line of the file on which it starts.
        cells: how many it has.
    """

    row: int
    line: int
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBatch:
    """Some rows that follow each other.

    Attributes:
        numbers: of each row, the first row of data is 1.
        lines: of the file, on which each row starts; empty for a file without lines.
        cells: declared column -> one text a row, or one number a row (NaN where it is missing).
        misshapen: rows between them that have no place in `cells`.
    """

    numbers: Sequence[int]
    lines: Sequence[int] = ()
    cells: Mapping[str, Cells]
    misshapen: tuple[MisshapenRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTable:
    """A table whose columns have been found.

    Attributes:
        path: of its file.
        width: cells that each row must have.
        columns: the declared columns that it has.
        remarks: what its reader noticed: a delimiter that was found, columns that nobody declares.
        batches: its rows, read while they are asked for.
    """

    path: Path
    width: int
    columns: frozenset[str]
    remarks: tuple[str, ...] = ()
    batches: Iterator[RowBatch] = field(repr=False)
