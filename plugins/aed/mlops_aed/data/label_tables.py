"""Rows of a table of labels: comma-separated UTF-8 with a header; anything else is named with its file and row."""

from __future__ import annotations

import codecs
import csv
import io
from typing import TYPE_CHECKING

from mlops_core import DatasetError, placeholder_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_WIDE = (  # the mark of UTF-32 LE begins with that of UTF-16 LE
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_PACKED = {b"PK\3\4": "a zip archive or a spreadsheet (.xlsx)", b"\x1f\x8b": "compressed by gzip", b"PAR1": "Parquet"}
_OTHER_DELIMITERS = {";": "';'", "\t": "tabs", "|": "'|'"}
_LIMIT_BYTES = 256 << 20


def read_rows(table: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a table with their line numbers; a row is a mapping of columns to text.

    Raises:
        DatasetError: the table is missing, empty, or not UTF-8; it lacks a column; or a row has too few or too many
            cells.
    """
    if not table.is_file():
        raise DatasetError(f"dataset.csv: no file {table}; expected a table with the columns {', '.join(required)}")
    reader = csv.reader(io.StringIO(_text(table), newline=""), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    end = 0
    try:
        header = [column.strip() for column in next(filter(any, reader), [])]
        _check_header(header, table, required)
        end = reader.line_num
        for cells in reader:
            end = reader.line_num
            if any(cell.strip() for cell in cells):
                _check_cells(cells, header, f"{table}, row {reader.line_num}")
                rows.append((reader.line_num, dict(zip(header, cells, strict=False))))
    except csv.Error as error:
        raise DatasetError(
            f"{table}, row {end + 1}: {error}; expected comma-separated values, with each quote closed"
        ) from error
    if not rows:
        raise DatasetError(f"{table} lists no clips")
    return rows


def _text(table: Path) -> str:
    size = table.stat().st_size
    if size > _LIMIT_BYTES:
        raise DatasetError(f"{table} has {size:,} bytes; a table of labels has at most {_LIMIT_BYTES:,}")
    if placeholder := placeholder_of(table):
        raise DatasetError(f"{table} is {placeholder}")
    content = table.read_bytes()
    packed = next((name for start, name in _PACKED.items() if content.startswith(start)), "")
    if packed:
        raise DatasetError(f"{table} is {packed}; expected comma-separated values as UTF-8 text")
    if wide := _wide_encoding(content):
        raise DatasetError(f"{table}, row 1: the encoding is {wide}; expected UTF-8: save the table as UTF-8")
    if b"\0" in content:
        row = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise DatasetError(f"{table}, row {row} holds a byte 0; expected text in UTF-8")
    try:
        return content.decode("utf-8").lstrip("\ufeff")  # files that were joined or saved twice have several marks
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        line = content.splitlines()[row - 1].decode("cp1252", "replace")
        raise DatasetError(
            f"{table}, row {row}: the encoding is not UTF-8 (in cp1252 the row is {line[:80]!r}); "
            "expected UTF-8: save the table as UTF-8"
        ) from None


def _wide_encoding(content: bytes) -> str:
    """Return the encoding with two or four bytes per character by its mark or its zero bytes; empty for others."""
    marked = next((name for mark, name in _WIDE if content.startswith(mark)), "")
    share = content[:400].count(0) / max(1, len(content[:400]))
    return marked or ("UTF-32" if share > 0.6 else "UTF-16" if share > 0.3 else "")


def _check_header(header: Sequence[str], table: Path, required: Sequence[str]) -> None:
    repeated = sorted({column for column in header if column and header.count(column) > 1})
    if repeated:
        raise DatasetError(f"{table}, row 1: the column(s) {', '.join(repeated)} appear more than once; expected once")
    missing = [column for column in required if column not in header]
    if not missing:
        return
    if header and header[0].lower().startswith("sep="):
        raise DatasetError(f"{table}, row 1: the line 'sep=' is for Excel and no header; remove it, and use commas")
    for delimiter, name in _OTHER_DELIMITERS.items():
        if len(header) < len(required) and any(delimiter in column for column in header):
            raise DatasetError(f"{table}, row 1: the columns are separated by {name}; expected commas")
    raise DatasetError(f"{table} lacks the column(s) {', '.join(missing)}; it has {list(header)}")


def _check_cells(cells: Sequence[str], header: Sequence[str], where: str) -> None:
    if len(cells) < len(header):
        lacking = ", ".join(header[len(cells) :])
        raise DatasetError(f"{where} has {len(cells)} of {len(header)} cells; it lacks {lacking}")
    extra = [cell for cell in cells[len(header) :] if cell.strip()]
    if extra:
        raise DatasetError(
            f"{where} has {len(cells)} cells, the header {len(header)}; put a text with commas in quotes"
        )
