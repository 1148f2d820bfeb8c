"""Training curves of a report: the series of each ``history.csv`` in the outputs of the training steps.

The format of the file, and what the prefixes of its columns mean, is described in `mlops_core.steps.histories`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import StepError
from mlops_core.pipeline import StepKind
from mlops_core.report.facts import Missing, steps_of_kind
from mlops_core.steps.histories import HISTORY_FILE, read_history, read_history_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store

FETCHED_HISTORIES = "histories"
"""Folder of a run with the histories that were copied from a service: step / output / path in the output."""
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
    histories = tuple(history for step in steps for history in _step_histories(store, record, step))
    return histories or (Missing("The run has no training step."),)


def history_files(store: Store, record: RunRecord, step: StepRecord) -> Iterator[tuple[str, Path]]:
    """Yield output and path of each history of a training step.

    A run of a service leaves its artifacts there; its histories are copied to the folder of the run when it ends.
    """
    fetched = store.runs.folder(record.run_id) / FETCHED_HISTORIES / step.name
    outputs = step.outputs or {folder.name: "" for folder in sorted(fetched.glob("*/"))}
    for output, digest in outputs.items():
        folder = store.artifacts.path(digest) if digest else fetched / output
        for path in sorted(folder.glob(f"**/{HISTORY_FILE}")):
            yield output, path


def _step_histories(store: Store, record: RunRecord, step: StepRecord) -> Iterator[History | Missing]:
    found = list(history_files(store, record, step))
    gone = [output for output, digest in step.outputs.items() if not store.artifacts.path(digest).is_dir()]
    for output in gone:
        yield Missing(f"The artifact {step.name}.{output} is no longer in the workspace.")
    for output, path in found:
        yield _history(path, step=step.name, output=output)
    if found or gone:
        return
    if not step.outputs:
        yield Missing(f"Step '{step.name}' has no output (status: {step.status}).")
    else:
        yield Missing(f"Step '{step.name}' wrote no {HISTORY_FILE}.")


def _history(path: Path, *, step: str, output: str) -> History | Missing:
    try:
        x_label, series = read_series(path)
    except StepError as error:
        return Missing(str(error))
    return History(step=step, output=output, x_label=x_label, series=series)


def read_series(path: Path) -> tuple[str, tuple[Series, ...]]:
    """Return the name of the first column and the series of a ``history.csv``.

    Raises:
        StepError: the file is damaged (the line is named), is longer than a report can draw, or has no curve.
    """
    header = read_history_header(path)[: _COLUMNS + 1]
    columns: dict[str, list[tuple[float, float]]] = {name: [] for name in header[1:]}
    for count, row in enumerate(read_history(path), 1):
        if count > _ROWS:
            raise StepError(f"{path} has more than {_ROWS} rows; write one row per epoch")
        for name, points in columns.items():
            if math.isfinite(row.values[name]):
                points.append((row.step, row.values[name]))
    if not any(columns.values()):
        raise StepError(f"{path} has no curve; expected a header and rows of numbers, the epoch first")
    return header[0], tuple(_series(name, points) for name, points in columns.items() if points)


def quantity_of(column: str) -> tuple[str, bool]:
    """Return what a column measures, without the prefix of the data, and whether on held-out data.

    Example:
        >>> quantity_of("validation_loss"), quantity_of("loss")
        (('loss', True), ('loss', False))
    """
    prefix = next((prefix for prefix in (*_HELD_OUT, *_TRAINING) if column.startswith(prefix)), "")
    return column.removeprefix(prefix) or column, prefix in _HELD_OUT


def _series(name: str, points: Sequence[tuple[float, float]]) -> Series:
    quantity, is_held_out = quantity_of(name)
    return Series(name=name, quantity=quantity, is_held_out=is_held_out, points=tuple(thinned(points)))


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
