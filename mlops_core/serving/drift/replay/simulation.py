"""How soon drift of several kinds would be found by the monitor of a model.

Each run takes samples out of the reference, whole groups of them: the first ones fill the windows, the others follow
as a stream, changed in one way; the rest is the reference. Where changed sample files were described, they are the
stream (`mlops_core.serving.drift.replay.pools`). A run ends with its first alarm, or with the samples.
Thresholds are those of the whole reference, so that the row without a change tells nothing new about false alarms: the
rate on held-out data does.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_core.errors import DatasetError
from mlops_core.serving.drift.calibration import calibrate
from mlops_core.serving.drift.cusum import advance
from mlops_core.serving.drift.mmd import OnlineMmd
from mlops_core.serving.drift.preparation import PreparedReference
from mlops_core.serving.drift.replay.kept import kept_preparation
from mlops_core.serving.drift.replay.pools import SamplePool
from mlops_core.serving.drift.scaling import scaled_reference
from mlops_core.serving.drift.streams import GroupStreams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_core.serving.drift.heldout import HeldOutRate
    from mlops_core.serving.drift.policy import DriftPlan, DriftPolicy
    from mlops_core.serving.drift.reference import DriftReference
    from mlops_core.serving.drift.replay.perturbing import ChangedSamples
    from mlops_core.serving.drift.scaling import ScaledReference

    Change = Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.float64]]
    """Returns the raw vectors of samples, by their indices, after the change."""

_RUN_STREAM = 7
_NEW_SHARE = 0.3
_LONGEST_STREAM = 250
_ATTEMPTS = 20
NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayRow:
    """The runs with one kind of drift.

    Attributes:
        change: what was done to the samples.
        runs: their number.
        alarms: runs that raised an alarm.
        samples: observed samples of all runs until their end.
        median: observed samples until the alarm, over all runs; None if fewer than half raised one.
        p90: the same for nine runs of ten.
        median_hours: `median` in hours of traffic, by the policy.
        p90_hours: likewise.
        longest: observed samples of a run without an alarm.
        expected: alarms without any drift in as many samples, by the policy.
    """

    change: str
    runs: int
    alarms: int
    samples: int
    median: float | None
    p90: float | None
    median_hours: float | None
    p90_hours: float | None
    longest: int
    expected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayTable:
    """Delays for several kinds of drift; the first row is without drift.

    Attributes:
        rows: one per kind.
        plan: windows, run lengths and sub-sampling.
        reference: samples of the reference.
        held_out: rate of false alarms on data that was held out; None where the reference is too small to be halved,
            or it could not be measured.
        held_out_note: why it could not be measured; else empty.
        samples: number of samples whose files were changed; 0 where vectors of the reference were.
        in_reference: how many of them are in the reference.
    """

    rows: tuple[DelayRow, ...]
    plan: DriftPlan
    reference: int
    held_out: HeldOutRate | None
    held_out_note: str = ""
    samples: int = 0
    in_reference: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self)


def simulate(
    reference: DriftReference,
    policy: DriftPolicy,
    *,
    runs: int,
    classes: Sequence[str] = (),
    changed: ChangedSamples | None = None,
    folder: Path | None = None,
) -> DelayTable:
    """Return delays until an alarm.

    Args:
        reference: the reference.
        policy: the policy; delays in hours follow from its rate.
        runs: per kind of drift.
        classes: class of each sample of the reference; empty where there are none, and then no class is withheld.
        changed: samples before and after changes of their files; None changes the vectors of the reference. A sample
            that is in the reference is recognised by its vector, and is not compared with itself.
        folder: where the calibration is kept; None to calibrate anew.

    Raises:
        DatasetError: the reference is too small.
        ConfigError: the run length cannot be reached.
    """
    preparation = kept_preparation(reference, policy, folder)
    raw = np.array(reference.vectors, np.float64)
    if changed is None:
        pool, plain = None, raw
        changes = _vector_changes(raw, preparation.reference.deviations)
    else:
        pool = SamplePool(np.array(changed.vectors, np.float64), preparation.reference)
        plain, classes = pool.raw, changed.classes
        changes = {name: _given(np.array(vectors, np.float64)) for name, vectors in changed.changed.items()}
    rows = [
        _row(name, _Runs(preparation, policy, pool), change, runs=runs, policy=policy)
        for name, change in {NONE: _given(plain), **changes}.items()
    ]
    base = preparation.reference
    if pool is not None:
        base = scaled_reference(base.features, plain, pool.groups if base.groups is not None else None)
    rows += _new_class(base, plain, policy, classes, runs=runs)
    return DelayTable(
        rows=tuple(rows),
        plan=preparation.plan,
        reference=len(raw),
        held_out=preparation.held_out,
        held_out_note=preparation.held_out_note,
        samples=0 if pool is None else len(pool.raw),
        in_reference=0 if pool is None else pool.in_reference,
    )


def _given(values: NDArray[np.float64]) -> Change:
    return lambda indices, _: values[indices]


def _vector_changes(raw: NDArray[np.float64], unit: NDArray[np.float64]) -> dict[str, Change]:
    """Return changes of vectors, in standard deviations of the reference."""
    moving = np.nonzero(unit > 0)[0]

    def one(indices: NDArray[np.int64], source: np.random.Generator) -> NDArray[np.float64]:
        found = raw[indices].copy()
        which = int(source.choice(moving))
        found[:, which] += 2.0 * unit[which] * source.choice([-1, 1])
        return found

    def shift(size: float) -> Change:
        return lambda indices, source: raw[indices] + size * unit * source.choice([-1, 1], size=len(unit))

    def noise(size: float) -> Change:
        return lambda indices, source: raw[indices] + size * unit * source.normal(size=(len(indices), len(unit)))

    return {
        "one feature by 2 sd": one,
        "all features by 0.25 sd": shift(0.25),
        "all features by 0.5 sd": shift(0.5),
        "all features by 1 sd": shift(1.0),
        "noise of 0.5 sd": noise(0.5),
        "noise of 1 sd": noise(1.0),
    }


class _Runs:
    """Runs of the statistics of a monitor on samples that were taken out of its reference."""

    def __init__(self, preparation: PreparedReference, policy: DriftPolicy, pool: SamplePool | None = None) -> None:
        self.plan = preparation.plan
        self._calibration = preparation.calibration
        self._reference = preparation.reference
        self._seed = policy.seed
        self._pool = pool
        size = len(self._reference.values)
        self._streams = GroupStreams(size, self._reference.groups, every=self.plan.every)
        self.longest = min(_LONGEST_STREAM, max(self.plan.windows[-1], size // 2 - self.plan.windows[-1]))
        if pool is not None:
            self.longest = min(self.longest, len(pool.raw))

    def delay(self, run: int, change: Change) -> float:
        """Return the number of observed samples until the alarm; infinite without one."""
        source = np.random.default_rng([self._seed, _RUN_STREAM, run])
        values = self._reference.values
        for _ in range(_ATTEMPTS):
            before, after, is_used = self._drawn(source)
            statistics = {
                window: OnlineMmd(values[~is_used], values[before[-window:]], self._calibration.gamma)
                for window in self.plan.windows
            }
            if all(mmd.value < self._calibration.thresholds[window] for window, mmd in statistics.items()):
                break
        sums = np.zeros((2, values.shape[1]))
        stream = self._reference.scale(change(after, source))
        for at, sample in enumerate(stream, start=1):
            advance(sums, sample)
            crossed = [mmd.update(sample) >= self._calibration.thresholds[window] for window, mmd in statistics.items()]
            if any(crossed) or sums.max() >= self._calibration.cusum:
                return at
        return math.inf

    def _drawn(self, source: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the samples that fill the windows, those of the stream, and which ones of the reference are used."""
        first = self.plan.windows[-1]
        indices, used = self._streams.draw(source, 1, first + self.longest)
        if self._pool is None:
            return indices[0, :first], indices[0, first:], np.isin(self._streams.group_of, used[0])
        before = indices[0, :first]
        is_used = np.isin(self._streams.group_of, self._streams.group_of[before])
        stream, other = self._pool.stream(source, self.longest, ~is_used, every=self.plan.every)
        is_used |= other
        if len(is_used) - is_used.sum() < first:
            raise DatasetError(
                f"drift: {first} samples of the windows and {len(stream)} of the stream leave too few of the "
                f"{len(is_used)} of the reference to compare with; use a larger reference or smaller windows"
            )
        return before, stream, is_used


def _row(name: str, runs_of: _Runs, change: Change, *, runs: int, policy: DriftPolicy) -> DelayRow:
    plan = runs_of.plan
    delays = sorted(runs_of.delay(run, change) for run in range(runs))
    samples = int(sum(min(delay, runs_of.longest) for delay in delays))

    def quantile(share: float) -> float | None:
        found = delays[math.ceil(share * len(delays)) - 1]
        return found if math.isfinite(found) else None

    def hours(delay: float | None) -> float | None:
        return None if delay is None else delay * plan.every / policy.requests_per_hour

    return DelayRow(
        change=name,
        runs=len(delays),
        alarms=sum(map(math.isfinite, delays)),
        samples=samples,
        median=quantile(0.5),
        p90=quantile(0.9),
        median_hours=hours(quantile(0.5)),
        p90_hours=hours(quantile(0.9)),
        longest=runs_of.longest,
        expected=samples / plan.run_length,
    )


def _new_class(
    reference: ScaledReference, raw: NDArray[np.float64], policy: DriftPolicy, classes: Sequence[str], *, runs: int
) -> list[DelayRow]:
    """Return a row for the most frequent class: withheld from the reference, then a share of the stream."""
    labels = np.array(classes)
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2:
        return []
    name = str(names[counts.argmax()])
    known, new = np.nonzero(labels != name)[0], np.nonzero(labels == name)[0]
    groups = None if reference.groups is None else np.unique(reference.groups[known], return_inverse=True)[1]
    try:
        part = scaled_reference(reference.features, raw[known], groups)
        plan = policy.plan(len(known))
        calibration = calibrate(part, plan, seed=policy.seed)
    except DatasetError:
        return []  # too little remains

    def change(indices: NDArray[np.int64], source: np.random.Generator) -> NDArray[np.float64]:
        is_new = source.random(len(indices)) < _NEW_SHARE
        drawn = raw[known][indices]
        drawn[is_new] = raw[source.choice(new, size=int(is_new.sum()))]
        return drawn

    preparation = PreparedReference(reference=part, plan=plan, calibration=calibration, held_out=None)
    runs_of = _Runs(preparation, policy)
    return [_row(f"new class '{name}' in {_NEW_SHARE:.0%}", runs_of, change, runs=runs, policy=policy)]
