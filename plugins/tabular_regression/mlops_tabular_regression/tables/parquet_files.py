"""Tables as Parquet, read batch by batch with pyarrow; numbers stay numbers, all other values become text."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_core import DatasetError
from mlops_tabular_regression.tables.columns import match_columns
from mlops_tabular_regression.tables.rows import BATCH_ROWS, OpenTable, RowBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_tabular_regression.config import TableSection
    from mlops_tabular_regression.tables.rows import Cells


def open_parquet(path: Path, table: TableSection, *, needs_target: bool) -> OpenTable:
    """Open a Parquet file and match its columns.

    Raises:
        DatasetError: the file is damaged, or its columns do not match the schema.
    """
    try:
        names = pq.read_schema(path).names
    except pa.ArrowException as error:
        raise DatasetError(f"{path.name} cannot be read as Parquet: {_one_line(error)}") from None
    columns = match_columns(names, table, needs_target=needs_target, where=path.name)
    numeric = {column.name for column in table.columns if column.is_numeric}
    return OpenTable(
        path=path,
        width=len(names),
        columns=frozenset(columns.positions),
        remarks=columns.remarks(),
        batches=_batches(path, {name: names[place] for name, place in columns.positions.items()}, numeric),
    )


def _batches(path: Path, names: Mapping[str, str], numeric: set[str]) -> Iterator[RowBatch]:
    start = 1
    try:
        with pq.ParquetFile(path) as stream:
            for batch in stream.iter_batches(batch_size=BATCH_ROWS, columns=list(names.values())):
                cells = {
                    name: _cells(batch.column(batch.schema.get_field_index(column)), is_numeric=name in numeric)
                    for name, column in names.items()
                }
                yield RowBatch(numbers=range(start, start + batch.num_rows), cells=cells)
                start += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path.name} (after row {start - 1}) cannot be read: {_one_line(error)}") from None


def _cells(column: pa.Array, *, is_numeric: bool) -> Cells:
    kind = column.type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if is_numeric and is_number:
        numbers = column.cast(pa.float64(), safe=False)
        return np.asarray(numbers.fill_null(float("nan")).to_numpy(zero_copy_only=False), dtype=np.float64)
    return list(map(_text, _values(column)))


def _values(column: pa.Array) -> Iterator[object]:
    """Yield the values; those of less than 64 bits as NumPy has them, whose text is the shortest."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    kind = column.type
    is_short = pa.types.is_float32(kind) or pa.types.is_float16(kind)
    numbers = column.to_numpy(zero_copy_only=False) if is_short else ()
    for index, value in enumerate(column.to_pylist()):
        yield numbers[index] if is_short and value is not None else value


def _text(value: object) -> str:
    """Return a value as text; a whole number without decimal places, because integers with nulls become floats.

    A decimal number has the places of its column's type: those that are 0 are left out.
    """
    if value is None or value != value:  # noqa: PLR0124  NaN, of any type
        return ""
    if isinstance(value, bytes):  # some writers do not mark text as such
        return value.decode("utf-8", errors="backslashreplace")
    if isinstance(value, float | np.floating | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
