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
    has_history = False
    for output, digest in step.outputs.items():
        folder = store.artifacts.path(digest)
        if not folder.is_dir():
            has_history = True
            yield Missing(f"The artifact {step.name}.{output} is no longer in the workspace.")
        for path in sorted(folder.glob(f"**/{HISTORY_FILE}")):
            has_history = True
            yield _history(path, step=step.name, output=output)
    if not step.outputs:
        yield Missing(f"Step '{step.name}' has no output (status: {step.status}).")
    elif not has_history:
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
