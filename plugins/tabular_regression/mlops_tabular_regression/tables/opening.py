"""Finding the table in a data set's folder and opening it by its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import DatasetError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_tabular_regression.config import TableSection
    from mlops_tabular_regression.tables.rows import OpenTable

TEXT_SUFFIXES = (".csv", ".data", ".tsv", ".txt")
PARQUET_SUFFIXES = (".parquet", ".pq")


def find_table(folder: Path, table: TableSection) -> Path:
    """Return the file ``table.file`` below `folder`, or the only table that is there.

    Raises:
        DatasetError: there is none, or more than one.
    """
    found = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in TEXT_SUFFIXES + PARQUET_SUFFIXES and path.name[0] != "."
    )
    names = [path.name for path in found]
    if table.file is not None:
        path = folder / table.file
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            raise DatasetError(
                f"table.file: no '{table.file}' in the data set{did_you_mean(table.file, names) or ';'} "
                f"tables there: {', '.join(names) or 'none'}"
            )
        return path
    if len(found) == 1:
        return found[0]
    kinds = ", ".join(f"*{suffix}" for suffix in TEXT_SUFFIXES + PARQUET_SUFFIXES)
    if not found:
        raise DatasetError(f"the data set holds no table; expected one file of {kinds}")
    raise DatasetError(f"the data set holds {len(found)} tables: {', '.join(names)}; set table.file to one of them")


def open_table(path: Path, table: TableSection, *, needs_target: bool = True) -> OpenTable:
    """Find the columns of the table in the file `path`; its rows are read later.

    Args:
        path: a CSV or Parquet file, told by its name.
        table: what it must look like.
        needs_target: False for rows that are to be predicted; the target may be there and is not read.

    Raises:
        DatasetError: it cannot be read, or its columns are not those of the schema.
    """
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            from mlops_tabular_regression.tables.parquet_files import open_parquet

            return open_parquet(path, table, needs_target=needs_target)
        from mlops_tabular_regression.tables.csv_files import open_csv

        return open_csv(path, table, needs_target=needs_target)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
