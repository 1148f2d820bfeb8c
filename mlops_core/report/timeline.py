"""The steps of a run as bars on a time axis, with the time that the cache saved and the largest number in parallel."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.workspace.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlops_core.workspace.records import RunRecord, StepRecord

_GAP_SHARE = 0.05
_SHORT_GAP_S = 0.1
_LONG_GAP_SHARE = 0.2
_LONG_GAP_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One step on the time axis.

    Attributes:
        step: its record.
        start: its start as a share of the axis, 0 to 1.
        length: its duration as a share of the axis, 0 to 1.
    """

    step: StepRecord
    start: float
    length: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The steps of a run on a time axis.

    Attributes:
        bars: one per step that ran in this run; reused steps have none.
        span_s: length of the axis in seconds.
        work_s: total duration of the bars in seconds.
        saved_s: total duration, in seconds, of the original executions of the reused steps.
        max_parallel: largest number of steps that ran at the same time.
        is_shortened: long idle gaps (the run was resumed later) are cut from the axis.
    """

    bars: tuple[Bar, ...]
    span_s: float
    work_s: float
    saved_s: float
    max_parallel: int
    is_shortened: bool


def timeline(record: RunRecord) -> Timeline:
    """Return the timeline of a run."""
    executions = tuple(_executions(record))
    spans = [(start, end) for _, start, end in executions]
    axis = _Axis(spans)
    return Timeline(
        bars=tuple(
            Bar(step=step, start=axis.place(start), length=axis.place(end) - axis.place(start))
            for step, start, end in executions
        ),
        span_s=axis.length,
        work_s=sum(end - start for start, end in spans),
        saved_s=sum(step.duration_s for step in record.steps if step.status is StepStatus.REUSED),
        max_parallel=_max_parallel(spans),
        is_shortened=axis.is_shortened,
    )


def _executions(record: RunRecord) -> Iterator[tuple[StepRecord, float, float]]:
    """Yield each step that ran in this run, with its start and end in seconds since the first start."""
    started = [(step, start) for step in record.steps if (start := _start(step))]
    if not started:
        return
    first = min(start for _, start in started)
    for step, start in started:
        start_s = (start - first).total_seconds()
        yield step, start_s, start_s + max(step.duration_s, 0.0)


def _start(step: StepRecord) -> dt.datetime | None:
    if not step.started or step.status is StepStatus.REUSED:
        return None
    try:
        return dt.datetime.fromisoformat(step.started)
    except ValueError:
        return None


class _Axis:
    """Maps time to shares of the axis; long idle gaps are cut."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        busy = _merged(spans)
        work = sum(end - start for start, end in busy)
        self._starts = [start for start, _ in busy]
        self._busy = busy
        self._offsets: list[float] = []
        self.is_shortened = False
        length, previous = 0.0, busy[0][0] if busy else 0.0
        for start, end in busy:
            gap = start - previous
            if gap > max(_LONG_GAP_SHARE * work, _LONG_GAP_S):
                self.is_shortened = True
                gap = max(_GAP_SHARE * work, _SHORT_GAP_S)
            self._offsets.append(length + gap)
            length += gap + end - start
            previous = end
        self.length = length

    def place(self, moment: float) -> float:
        """Return the position of a moment on the axis, 0 to 1; the moment must be inside a span."""
        index = max(bisect_right(self._starts, moment) - 1, 0)
        inside = min(moment, self._busy[index][1]) - self._starts[index]
        return (self._offsets[index] + inside) / self.length if self.length else 0.0


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _max_parallel(spans: Iterable[tuple[float, float]]) -> int:
    # At equal times ends sort before starts: consecutive steps do not overlap.
    events = sorted(event for start, end in spans for event in ((start, 1), (end, -1)) if end > start)
    running = largest = 0
    for _, change in events:
        running += change
        largest = max(largest, running)
    return largest
