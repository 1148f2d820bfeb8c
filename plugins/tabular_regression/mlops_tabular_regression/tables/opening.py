"""Find the table in the folder of a data set, and open it by its file type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import DatasetError, did_you_mean, is_hidden_or_tool, placeholder_of

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_tabular_regression.config import TableSection
    from mlops_tabular_regression.tables.rows import OpenTable

TEXT_SUFFIXES = (".csv", ".data", ".tsv", ".txt")
PARQUET_SUFFIXES = (".parquet", ".pq")


def find_table(folder: Path, table: TableSection) -> Path:
    """Return the file ``table.file`` in `folder`, or the only table of the folder.

    Raises:
        DatasetError: the folder has no table, or several, or a link of the name of a table leads to nothing.
    """
    suffixes = TEXT_SUFFIXES + PARQUET_SUFFIXES
    named = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and not is_hidden_or_tool(path.name)]
    broken = sorted(path.name for path in named if path.is_symlink() and not path.exists())
    if broken and (table.file is None or table.file in broken):
        raise DatasetError(
            f"the data set has links that lead to nothing: {', '.join(broken)}; set table.file to a table"
        )
    tables = sorted(path for path in named if path.is_file())
    names = [path.name for path in tables]
    if table.file is not None:
        path = folder / table.file
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            raise DatasetError(
                f"table.file: no '{table.file}' in the data set{did_you_mean(table.file, names) or ';'} "
                f"it has {', '.join(names) or 'no table'}"
            )
        return path
    if len(tables) == 1:
        return tables[0]
    kinds = ", ".join(f"*{suffix}" for suffix in TEXT_SUFFIXES + PARQUET_SUFFIXES)
    if not tables:
        raise DatasetError(f"the data set has no table; expected one file of {kinds}")
    raise DatasetError(f"the data set has {len(tables)} tables: {', '.join(names)}; set table.file to one of them")


def open_table(path: Path, table: TableSection, *, needs_target: bool = True) -> OpenTable:
    """Open the table in the file `path` and match its columns; the rows are read during iteration.

    Args:
        path: a CSV or Parquet file; the suffix decides.
        table: layout and schema.
        needs_target: False for rows to predict; a target in the file is then ignored.

    Raises:
        DatasetError: the file cannot be read, or its columns do not match the schema.
    """
    try:
        if what := placeholder_of(path):
            raise DatasetError(f"{path.name} is {what}")
        if path.suffix.lower() in PARQUET_SUFFIXES:
            from mlops_tabular_regression.tables.parquet_files import open_parquet

            return open_parquet(path, table, needs_target=needs_target)
        from mlops_tabular_regression.tables.csv_files import open_csv

        return open_csv(path, table, needs_target=needs_target)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
