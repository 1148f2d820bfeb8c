"""Tables as text: CSV and similar files, read row by row with the line on which each row starts.

Byte-order marks, quoted line breaks and blank lines are supported. If the configuration does not set delimiter and
header, they are detected by the names of the declared columns, not by counting characters.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core import DatasetError
from mlops_tabular_regression.tables.columns import MatchedColumns, count_matches, match_columns, wanted_columns
from mlops_tabular_regression.tables.numbers import is_number
from mlops_tabular_regression.tables.rows import BATCH_ROWS, MisshapenRow, OpenTable, RowBatch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from mlops_tabular_regression.config import TableSection

DELIMITERS = (",", ";", "\t", "|")
_SNIFFED = 1 << 16
_MARKS = (  # that of UTF-32 LE begins with that of UTF-16 LE
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The layout of a text file."""

    path: Path
    encoding: str
    delimiter: str
    has_header: bool
    width: int
    columns: MatchedColumns


def open_csv(path: Path, table: TableSection, *, needs_target: bool) -> OpenTable:
    """Find delimiter, header and columns of a text table.

    Raises:
        DatasetError: the file is empty or not text, or its first row is neither a header nor a row of the schema.
    """
    encoding = _encoding(path, table.encoding)
    line, first = _first_rows(path, encoding, table)
    delimiter = _best_delimiter(first, table, needs_target=needs_target)
    where = f"{path.name} (line {line})"
    cells = first.get(delimiter, [])
    _refuse_wrong_delimiter(where, first, table, delimiter, needs_target=needs_target)
    has_header = table.header if table.header is not None else count_matches(cells, table) > 0
    match = match_columns if has_header else _columns_by_order
    layout = _Layout(
        path=path,
        encoding=encoding,
        delimiter=delimiter,
        has_header=has_header,
        width=len(cells),
        columns=match(cells, table, needs_target=needs_target, where=where),
    )
    remarks = layout.columns.remarks()
    if table.delimiter is None and delimiter != ",":
        remarks = (f"the columns are separated by {delimiter!r}", *remarks)
    if not layout.has_header:
        remarks = ("the file has no header: its columns are read in the order of table.columns", *remarks)
    return OpenTable(
        path=path,
        width=layout.width,
        columns=frozenset(layout.columns.positions),
        remarks=remarks,
        batches=_batches(layout),
    )


def _encoding(path: Path, declared: str) -> str:
    """Return the encoding; a byte-order mark takes precedence over the configuration."""
    with path.open("rb") as stream:
        start = stream.read(_SNIFFED)
    marked = next((encoding for mark, encoding in _MARKS if start.startswith(mark)), None)
    if not start.removeprefix(codecs.BOM_UTF8).strip():
        raise DatasetError(f"{path.name} (line 1): the file is empty; expected a header or rows")
    if marked and marked != "utf-8-sig":
        return marked
    try:
        # Unlike codecs.lookup, this refuses codecs that do not decode bytes to text, such as rot13 and zip.
        io.TextIOWrapper(io.BytesIO(), encoding=declared)
        name = codecs.lookup(declared).name
    except (LookupError, ValueError):
        raise DatasetError(
            f"table.encoding: unknown encoding {declared!r}; expected one such as utf-8 or cp1252"
        ) from None
    before, nul, _ = start.partition(b"\0")
    if nul and (marked or not name.startswith(("utf-16", "utf-32"))):
        line = before.count(b"\n") + 1
        raise DatasetError(f"{path.name} (line {line}): a NUL byte; expected text")
    return "utf-8-sig" if marked or name == "utf-8" else declared


def _first_rows(path: Path, encoding: str, table: TableSection) -> tuple[int, dict[str, list[str]]]:
    """Return the line of the first row that is not blank, and its cells by each delimiter that can split it."""
    line = 1
    cells_by_delimiter: dict[str, list[str]] = {}
    fault: DatasetError | None = None
    for delimiter in dict.fromkeys((*([table.delimiter] if table.delimiter else []), *DELIMITERS)):
        try:
            with contextlib.closing(_rows(path, encoding, delimiter)) as rows:
                line, cells_by_delimiter[delimiter] = next(rows, (1, []))
        except DatasetError as error:
            fault = fault or error
    if fault and not cells_by_delimiter:
        raise fault
    return line, cells_by_delimiter


def _best_delimiter(first: dict[str, list[str]], table: TableSection, *, needs_target: bool) -> str:
    def fitness(delimiter: str) -> tuple[int, bool, int]:
        cells = first[delimiter]
        return count_matches(cells, table), len(cells) in _widths(table, needs_target=needs_target), len(cells)

    best = max(first, key=fitness)
    declared = table.delimiter
    # A configured delimiter is used unless it leaves the row as a single cell.
    return declared if declared in first and len(first[declared]) > 1 else best if declared is None else declared


def _widths(table: TableSection, *, needs_target: bool) -> tuple[int, ...]:
    """Return the numbers of cells that a row of a file without a header may have."""
    return (len(table.columns),) if needs_target else (len(table.columns), len(table.features))


def _refuse_wrong_delimiter(
    where: str, first: dict[str, list[str]], table: TableSection, delimiter: str, *, needs_target: bool
) -> None:
    """Raise an error if the delimiter leaves the first row as a single cell; name a better one if there is one."""
    if any(re.match(r"sep=.?\Z", other[0].strip(), re.IGNORECASE) for other in first.values() if other):
        raise DatasetError(f"{where}: the line 'sep=', which names the delimiter for Excel, is no header; remove it")
    cells = first.get(delimiter, [])
    if len(cells) > 1:
        return
    better = [other for other, split_cells in first.items() if len(split_cells) > 1]
    if table.delimiter is not None and better:
        other = max(better, key=lambda name: (count_matches(first[name], table), len(first[name])))
        raise DatasetError(
            f"{where}: with table.delimiter {delimiter!r} the row is a single cell; {other!r} gives "
            f"{len(first[other])}: set table.delimiter to that, or to null"
        )
    if not better:
        delimiters = ", ".join(map(repr, first))
        wanted = ", ".join(wanted_columns(table, needs_target=needs_target))
        raise DatasetError(
            f"{where}: a single cell with each of the delimiters {delimiters}; expected columns {wanted}"
        )


def _columns_by_order(cells: Sequence[str], table: TableSection, *, needs_target: bool, where: str) -> MatchedColumns:
    by_width = {len(table.features): table.features, len(table.columns): table.columns}
    extra = table.id or table.group
    if extra and needs_target:
        raise DatasetError(f"{where}: no header; expected one, because column '{extra}' is found by its name")
    if len(cells) not in _widths(table, needs_target=needs_target) or not _is_row(cells, table):
        raise DatasetError(
            f"{where}: neither a header nor a row of the schema: {len(cells)} cells, {', '.join(cells)[:80]!r}; "
            f"expected the columns {', '.join(column.name for column in table.columns)}"
        )
    names = [column.name for column in by_width[len(cells)]]
    wanted = wanted_columns(table, needs_target=needs_target)
    return MatchedColumns(positions={name: names.index(name) for name in wanted})


def _is_row(cells: Sequence[str], table: TableSection) -> bool:
    """Return whether a first row can be data; with text in every cell it is a header of unknown names."""
    if table.header is False:
        return True
    return any(is_number(cell, table) for cell in cells)


def _rows(path: Path, encoding: str, delimiter: str) -> Generator[tuple[int, list[str]]]:
    """Yield the line on which each row starts and its cells, without blank rows."""
    line = 0
    try:
        with path.open(encoding=encoding, newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            for cells in reader:
                start, line = line + 1, reader.line_num
                if len(cells) > 1 or (cells and cells[0].strip()):
                    yield start, cells
    except csv.Error as error:
        raise DatasetError(f"{path.name}: the row that starts on line {line + 1} cannot be read: {error}") from None
    except UnicodeError:
        bad = _undecodable_line(path, encoding)
        raise DatasetError(
            f"{path.name} (line {bad}): bytes that are not {encoding.removesuffix('-sig')}; "
            "set table.encoding, for example to cp1252"
        ) from None


def _undecodable_line(path: Path, encoding: str) -> int:
    with path.open("rb") as stream:
        number = 0
        for number, line in enumerate(stream, 1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return number
    return number


def _batches(layout: _Layout) -> Iterator[RowBatch]:
    rows = _rows(layout.path, layout.encoding, layout.delimiter)
    if layout.has_header:
        next(rows, None)
    kept: list[list[str]] = []
    numbers: list[int] = []
    lines: list[int] = []
    misshapen: list[MisshapenRow] = []
    for number, (line, cells) in enumerate(rows, 1):
        if len(cells) != layout.width:
            misshapen.append(MisshapenRow(row=number, line=line, cells=len(cells)))
        else:
            kept.append(cells)
            numbers.append(number)
            lines.append(line)
        if len(kept) + len(misshapen) == BATCH_ROWS:
            yield _batch(layout, kept, numbers, lines, misshapen)
            kept, numbers, lines, misshapen = [], [], [], []
    if kept or misshapen:
        yield _batch(layout, kept, numbers, lines, misshapen)


def _batch(
    layout: _Layout, kept: list[list[str]], numbers: list[int], lines: list[int], misshapen: list[MisshapenRow]
) -> RowBatch:
    columns = list(zip(*kept, strict=True)) if kept else [()] * layout.width
    return RowBatch(
        numbers=numbers,
        lines=lines,
        cells={name: columns[position] for name, position in layout.columns.positions.items()},
        misshapen=tuple(misshapen),
    )
