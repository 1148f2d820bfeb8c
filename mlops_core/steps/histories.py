"""Training histories: the file ``history.csv`` that a training step writes into one of its outputs.

This module owns the format; `mlops_core.report.histories` draws it. The file is UTF-8 and comma-separated, with one
header row and one row per step of the training. The first column counts the steps; its name says what they are
(``step``, ``epoch``, ``round``), and its numbers grow. Every other column is a measured quantity. A cell holds a number
as Python prints it, ``nan`` or nothing where the quantity was not measured at that step, ``inf`` or ``-inf`` where it
diverged. The prefix ``validation_`` (or ``val_``) marks a quantity measured on held-out data, ``train_`` (or
``training_``, or no prefix) one measured on the training data; columns whose names differ in their prefix only are
drawn in one chart.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.errors import StepError
from mlops_core.reading import bounded_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

HISTORY_FILE = "history.csv"
"""Name of the file with the history of a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """The quantities measured at one step of a training.

    Attributes:
        step: number of the step, epoch or round; finite.
        values: quantity -> value; NaN where it was not measured.

    Example:
        >>> HistoryRow(step=1, values={"loss": 0.9}).values["loss"]
        0.9
    """

    step: float
    values: Mapping[str, float] = field(hash=False)


def write_history(folder: Path, rows: Iterable[HistoryRow], *, step_name: str = "step") -> None:
    """Write ``history.csv`` into `folder`, row by row; `mlops ui` shows those that are written already.

    Args:
        folder: existing folder; a file from an earlier call is replaced once the new one is complete.
        rows: in the order of their steps.
        step_name: header of the first column: what is counted, for example ``epoch``.

    Raises:
        StepError: steps do not grow, a quantity has the name of the step, or a row has other quantities than the first.

    Example:
        >>> write_history(
        ...     Path("."), [HistoryRow(step=1, values={"loss": 0.9}), HistoryRow(step=2, values={"loss": 0.4})]
        ... )
        >>> print(Path("history.csv").read_text(), end="")
        step,loss
        1,0.9
        2,0.4
    """
    partial = folder / f"{HISTORY_FILE}.partial"
    where = folder / HISTORY_FILE
    names: tuple[str, ...] | None = None
    last = -math.inf
    with partial.open("w", buffering=1, newline="", encoding="utf-8") as stream:  # each row can be read while it grows
        writer = csv.writer(stream, lineterminator="\n")
        for row in rows:
            if names is None:
                names = tuple(row.values)
                writer.writerow(_distinct((step_name, *names), where))
            if row.values.keys() != set(names):
                raise StepError(
                    f"{where}: {step_name} {row.step} has {sorted(row.values)}; expected {sorted(names)} in every row, "
                    "NaN where a quantity was not measured"
                )
            if not (math.isfinite(row.step) and row.step > last):
                raise StepError(f"{where}: {step_name} {row.step} follows {last}; expected numbers that grow")
            step = int(row.step) if float(row.step).is_integer() else float(row.step)
            writer.writerow((repr(step), *(repr(float(row.values[name])) for name in names)))
            last = row.step
        if names is None:
            writer.writerow((step_name,))
    partial.replace(where)


def read_history(path: Path) -> Iterator[HistoryRow]:
    """Return an iterator over the rows of a ``history.csv``, in the order of the file; empty cells are NaN.

    Args:
        path: the file; its first column is the step, whatever its name (`read_history_header`).

    Raises:
        StepError: during iteration, if the file is missing or damaged or a cell is not a number; the line is named.

    Example:
        >>> write_history(Path("."), [HistoryRow(step=1, values={"loss": 0.9})])
        >>> [row.values["loss"] for row in read_history(Path("history.csv"))]
        [0.9]
    """
    rows = _cells(path)
    header = _distinct(tuple(next(rows, (1, []))[1]), path)
    names = header[1:]
    for line, (step, *cells) in rows:
        if len(cells) > len(names):
            raise StepError(
                f"{path} (line {line}): {len(cells) + 1} cells; expected {len(header)}: {', '.join(header)}"
            )
        values = [_number(cell, path, line) for cell in cells] + [math.nan] * (len(names) - len(cells))
        number = _number(step, path, line)
        if not math.isfinite(number):
            raise StepError(f"{path} (line {line}): '{step}' is not a step; expected a finite number")
        yield HistoryRow(step=number, values=dict(zip(names, values, strict=True)))


def read_history_header(path: Path) -> tuple[str, ...]:
    """Return the names of the columns of a ``history.csv``, the step first; empty for an empty file.

    Raises:
        StepError: the file is missing, or a column appears twice.
    """
    return _distinct(tuple(next(_cells(path), (1, []))[1]), path)


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line and cells of each row that is not blank."""
    try:
        rows = csv.reader(bounded_lines(path, newline=""))
        for cells in rows:
            if cells:
                yield rows.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StepError(f"{path} cannot be read: {error}; expected comma-separated numbers below a header") from error


def _distinct(names: tuple[str, ...], path: Path) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise StepError(f"{path}: the columns are {', '.join(names)}; expected each name once")
    return names


def _number(cell: str, path: Path, line: int) -> float:
    try:
        return float(cell) if cell.strip() else math.nan
    except ValueError:
        raise StepError(f"{path} (line {line}): '{cell}' is not a number; expected one, or nan") from None
