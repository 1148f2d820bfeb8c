"""A row of the table as text, for the report of a run.

The preview is made in the driver, with the standard library and without the configuration. It therefore shows rows of
a data set with a single text table, whose header is a first row without numbers.
"""

from __future__ import annotations

import csv
import re
from itertools import islice
from typing import TYPE_CHECKING

from mlops_core import Preview, is_hidden_or_tool
from mlops_tabular_regression.tables.opening import TEXT_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SAMPLE = re.compile(r"row ([1-9][0-9]*)\Z")
_NUMBER = re.compile(r"[+-]?(?=.*\d)[\d.,' \u00a0\u2019\u202f]+(?:[eE][+-]?\d+)?")
_DELIMITERS = ";\t|"
_CELLS = 100
_CHARACTERS = 200


def preview_row(dataset: Path, sample: str) -> Preview | None:
    """Return the cells of the row of a prediction's sample; None if the row cannot be identified."""
    match = _SAMPLE.match(sample)
    files = (path for path in sorted(dataset.iterdir()) if path.is_file() and not is_hidden_or_tool(path.name))
    tables = [path for path in files if path.suffix.lower() in TEXT_SUFFIXES]
    if not match or len(tables) != 1:
        return None
    header, cells = _read(tables[0], int(match[1]))
    if not cells:
        return None
    names = header or [f"column {position}" for position in range(1, len(cells) + 1)]
    lines = [f"{name}: {cell[:_CHARACTERS]}" for name, cell in zip(names[:_CELLS], cells, strict=False)]
    return Preview(media_type="text/plain", data="\n".join(lines).encode(), caption=f"{tables[0].name}, {sample}")


def _read(path: Path, number: int) -> tuple[Sequence[str], Sequence[str]]:
    """Return the header (empty without one) and row `number` (empty if the table is shorter)."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        start = stream.readline()
        stream.seek(0)
        reader = csv.reader(stream, delimiter=_delimiter(start))
        rows = (cells for cells in reader if len(cells) > 1)
        try:
            first = next(rows, [])
            has_header = not any(map(_is_number, first))
            skipped = number - 1 if has_header else number - 2
            row = first if skipped < 0 else next(islice(rows, skipped, None), [])
        except csv.Error:
            return [], []
    return first if has_header else [], row


def _delimiter(line: str) -> str:
    """Return the most frequent delimiter; a comma only without any other, because it may be a decimal separator."""
    best = max(_DELIMITERS, key=line.count)
    return best if best in line else ","


def _is_number(text: str) -> bool:
    """Return whether a cell has digits and separators only, whatever the decimal separator is."""
    return bool(_NUMBER.fullmatch(text.strip()))
