"""What a run does now, from the files that its steps write: progress, logs, and histories of trainings.

Steps write into ``work/<run>-<step>-<random>/`` until they have finished. Nothing here asks the process of the run, and
whatever is found there may be half written.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.reading import open_regular
from mlops_core.report.histories import History, quantity_of, thinned
from mlops_core.report.histories import Series as HistorySeries
from mlops_core.steps.histories import HISTORY_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core.workspace.store import Store

_TAIL_BYTES = 1 << 14
_HISTORY_BYTES = 1 << 20
_SUFFIX = re.compile(r"-[a-z0-9_]{8}\Z")
_LONGEST_LABEL = 60
_LARGEST = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    """How far a step is.

    Attributes:
        label: what is counted.
        done: number that is done.
        total: of how many; at least 1.
    """

    label: str
    done: int
    total: int


def work_folders(store: Store, run_id: str) -> dict[str, Path]:
    """Return step -> the folder in which a run executes it now."""
    found = {}
    for folder in sorted(store.work.glob(f"{run_id}-*")):
        step = _SUFFIX.sub("", folder.name.removeprefix(f"{run_id}-"))
        if folder.is_dir() and step != folder.name.removeprefix(f"{run_id}-"):
            found[step] = folder
    return found


def step_progress(folder: Path) -> StepProgress | None:
    """Return the progress of the step that is executed in `folder`, with its shards added up; None if there is none."""
    merged = _newest(folder / "progress.jsonl")
    if merged is not None:
        return merged
    reports = [found for path in sorted(folder.glob("shard-*/progress.jsonl")) if (found := _newest(path))]
    if not reports:
        return None
    shards = len(list(folder.glob("shard-*")))
    done, total = sum(each.done for each in reports), sum(each.total for each in reports)
    return StepProgress(label=reports[0].label, done=done, total=max(1, round(total * shards / len(reports))))


def partial_histories(step: str, folder: Path) -> Iterator[History]:
    """Yield the histories that a step has begun to write, up to their last complete line."""
    for name in (HISTORY_FILE, f"{HISTORY_FILE}.partial"):
        for path in sorted((folder / "outputs").glob(f"**/{name}")):
            history = _history(path, step=step, output=path.relative_to(folder / "outputs").parts[0])
            if history is not None:
                yield history


def _newest(path: Path) -> StepProgress | None:
    text = _tail(path, _TAIL_BYTES)
    lines = text.split("\n")[:-1]
    try:
        event = json.loads(lines[-1])
        label, done, total = str(event["label"]), int(event["done"]), int(event["total"])
    except (IndexError, ValueError, KeyError, TypeError, OverflowError):
        return None
    if not (0 <= done <= _LARGEST and 0 <= total <= _LARGEST):
        return None
    return StepProgress(label=label[:_LONGEST_LABEL], done=min(done, max(total, 1)), total=max(total, 1))


def _tail(path: Path, limit: int) -> str:
    """Return the end of a file as text; empty if it cannot be read."""
    try:
        with open(open_regular(path), "rb") as stream:  # noqa: PTH123  of a descriptor
            stream.seek(max(0, stream.seek(0, 2) - limit))
            return stream.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def _history(path: Path, *, step: str, output: str) -> History | None:
    lines = _tail(path, _HISTORY_BYTES).split("\n")[:-1]
    if len(lines) < 2:
        return None
    header = lines[0].split(",")
    columns: dict[str, list[tuple[float, float]]] = {name: [] for name in header[1:]}
    for line in lines[1:]:
        numbers = [_number(cell) for cell in line.split(",")]
        for name, value in zip(header[1:], numbers[1:], strict=False):
            if math.isfinite(numbers[0]) and math.isfinite(value):
                columns[name].append((numbers[0], value))
    series = [_series(name, points) for name, points in columns.items() if points]
    return History(step=step, output=output, x_label=header[0], series=tuple(series)) if series else None


def _series(name: str, points: list[tuple[float, float]]) -> HistorySeries:
    quantity, is_held_out = quantity_of(name)
    return HistorySeries(name=name, quantity=quantity, is_held_out=is_held_out, points=tuple(thinned(points)))


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
