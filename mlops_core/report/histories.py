"""Training curves, read from ``history.csv`` in an output of a training step.

Format: a header line; the first column is the epoch or step, an increasing number; every other column is a number, and
an empty cell or ``nan`` is a gap. The prefix ``validation_`` or ``val_`` marks values measured on held-out data;
``train_``, ``training_`` or no prefix marks values measured on training data. Columns with the same name after the
prefix share a chart.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import StepError
from mlops_core.pipeline import StepKind
from mlops_core.report.facts import Missing, steps_of_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store

HISTORY_FILE = "history.csv"
_HELD_OUT = ("validation_", "val_")
_TRAINING = ("training_", "train_")
_POINTS = 400
"""Maximum number of points per curve; a longer history keeps the extremes of each segment."""
_ROWS = 1_000_000
_COLUMNS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One column of a training history.

    Attributes:
        name: of the column.
        quantity: the name without its prefix.
        is_held_out: measured on held-out data.
        points: (x, y), both finite.
    """

    name: str
    quantity: str
    is_held_out: bool
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The training history of a step.

    Attributes:
        step: name of the step.
        output: name of the output that contains it.
        x_label: name of the first column.
        series: the other columns with at least one number.
    """

    step: str
    output: str
    x_label: str
    series: tuple[Series, ...]

    def charts(self) -> dict[str, tuple[Series, ...]]:
        """Return quantity -> the series of one chart."""
        quantities = dict.fromkeys(series.quantity for series in self.series)
        return {name: tuple(series for series in self.series if series.quantity == name) for name in quantities}


def read_histories(store: Store, record: RunRecord) -> tuple[History | Missing, ...]:
    """Return the history of each training step of a run, or the reason why there is none."""
    steps = steps_of_kind(record, StepKind.TRAINING)
    histories = tuple(history for step in steps for history in _step_histories(store, step))
    return histories or (Missing("The run has no training step."),)


def _step_histories(store: Store, step: StepRecord) -> Iterator[History | Missing]:
    is_found = False
    for output, digest in step.outputs.items():
        folder = store.artifacts.path(digest)
        if not folder.is_dir():
            is_found = True
            yield Missing(f"The artifact {step.name}.{output} is no longer in the workspace.")
        for path in sorted(folder.glob(f"**/{HISTORY_FILE}")):
            is_found = True
            yield _history(path, step=step.name, output=output)
    if not step.outputs:
        yield Missing(f"Step '{step.name}' is {step.status}: it has no output.")
    elif not is_found:
        yield Missing(f"Step '{step.name}' wrote no {HISTORY_FILE}.")


def _history(path: Path, *, step: str, output: str) -> History | Missing:
    try:
        x_label, series = read_history(path)
    except StepError as error:
        return Missing(str(error))
    return History(step=step, output=output, x_label=x_label, series=series)


def read_history(path: Path) -> tuple[str, tuple[Series, ...]]:
    """Return the name of the first column and the series of a ``history.csv``.

    Raises:
        StepError: the file cannot be read or parsed; the message names the line.
    """
    columns: list[list[tuple[float, float]]] = []
    header: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = csv.reader(stream)
            header = next(rows, [])[: _COLUMNS + 1]
            columns = [[] for _ in header[1:]]
            for x, values in _numbers(rows, path, width=len(header)):
                for column, y in zip(columns, values, strict=True):
                    if math.isfinite(y):
                        column.append((x, y))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StepError(f"{path} cannot be read: {error}") from error
    if len(header) < 2 or not any(columns):
        raise StepError(f"{path} holds no curve; expected a header and rows of numbers, the epoch first")
    named = zip(header[1:], columns, strict=True)
    return header[0], tuple(_series(name, points) for name, points in named if points)


def _numbers(rows: Iterator[list[str]], path: Path, *, width: int) -> Iterator[tuple[float, list[float]]]:
    for number, row in enumerate(rows, 2):
        if number > _ROWS:
            raise StepError(f"{path} has more than {_ROWS} lines; write one line an epoch")
        if not row:
            continue
        try:
            x, *values = [float(cell) if cell.strip() else math.nan for cell in row[:width]]
        except ValueError as error:
            raise StepError(f"{path} (line {number}): {error}") from error
        if not math.isfinite(x):
            raise StepError(f"{path} (line {number}): {row[0]!r} is no epoch")
        yield x, values + [math.nan] * (width - 1 - len(values))


def _series(name: str, points: Sequence[tuple[float, float]]) -> Series:
    prefix = next((prefix for prefix in (*_HELD_OUT, *_TRAINING) if name.startswith(prefix)), "")
    return Series(
        name=name,
        quantity=name.removeprefix(prefix) or name,
        is_held_out=prefix in _HELD_OUT,
        points=tuple(thinned(points)),
    )


def thinned(points: Sequence[tuple[float, float]], *, limit: int = _POINTS) -> list[tuple[float, float]]:
    """Return at most `limit` points: the first, the last and the extremes of each segment between them."""
    if len(points) <= limit:
        return list(points)
    stretches = limit // 2 - 1
    kept = {0, len(points) - 1}
    for index in range(stretches):
        stretch = range(index * len(points) // stretches, (index + 1) * len(points) // stretches)
        kept |= {min(stretch, key=lambda at: points[at][1]), max(stretch, key=lambda at: points[at][1])}
    return [points[at] for at in sorted(kept)]
