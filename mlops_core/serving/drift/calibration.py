"""Thresholds with a stated mean number of samples between false alarms, by simulation on the reference.

MMD: the reference is split at random, again and again, into a stream and the rest, with which the windows of the stream
are compared. CUSUM: a reference is drawn from the reference with replacement, and a long stream beside it. In both, the
threshold is the one at which streams that have not crossed it yet do so once in `run_length` samples.

The run time is then close to geometric: its median is 0.7 of its mean, and the reference itself moves it by about 40 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_core.serving.drift.cusum import advance
from mlops_core.serving.drift.mmd import bandwidth, kernel
from mlops_core.serving.drift.simulator import MmdSimulator
from mlops_core.serving.drift.streams import GroupStreams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlops_core.serving.drift.policy import DriftPlan
    from mlops_core.serving.drift.scaling import ScaledReference

PRECISE = 150
"""Number of simulated false alarms from which a threshold is read: its run length is known to about 8 %."""
LARGEST_REFERENCE = 2000
"""Samples beyond it are not used by the kernel; memory and time grow with their square."""
_MMD_STREAM = 1
_CUSUM_STREAM = 2
_SUBSET_STREAM = 3
_MAX_STREAMS = 200_000
_BLOCK_ELEMENTS = 1 << 21
_CUSUM_CHAINS = 200
_CUSUM_BLOCK = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Thresholds of a plan for a reference.

    Attributes:
        gamma: of the kernel.
        thresholds: of MMD² by window.
        cusum: threshold of the largest cumulative sum.
        run_length_each: mean number of observed samples between false alarms of each statistic.
    """

    gamma: float
    thresholds: dict[int, float]
    cusum: float
    run_length_each: float

    def to_data(self) -> dict[str, Any]:
        """Return JSON types."""
        return {
            "gamma": self.gamma,
            "thresholds": {str(window): value for window, value in self.thresholds.items()},
            "cusum": self.cusum,
            "run_length_each": self.run_length_each,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Calibration:
        """Return what `to_data` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(
            gamma=float(data["gamma"]),
            thresholds={int(window): float(value) for window, value in data["thresholds"].items()},
            cusum=float(data["cusum"]),
            run_length_each=float(data["run_length_each"]),
        )


def kernel_reference(reference: ScaledReference, *, seed: int) -> ScaledReference:
    """Return the reference, or a part of it by whole groups where it is larger than the kernel needs."""
    size = len(reference.values)
    if size <= LARGEST_REFERENCE:
        return reference
    source = np.random.default_rng([seed, _SUBSET_STREAM])
    groups = np.arange(size) if reference.groups is None else reference.groups
    order = source.permutation(groups.max() + 1)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    chosen = np.sort(np.argsort(rank[groups], kind="stable")[:LARGEST_REFERENCE])
    return type(reference)(
        features=reference.features,
        values=reference.values[chosen],
        means=reference.means,
        deviations=reference.deviations,
        groups=None if reference.groups is None else np.unique(reference.groups[chosen], return_inverse=True)[1],
        digest=reference.digest,
    )


def calibrate(reference: ScaledReference, plan: DriftPlan, *, seed: int, alarms: int = PRECISE) -> Calibration:
    """Return the thresholds.

    Alarms of different statistics often come together. How many each may raise, so that all of them raise as many as
    the plan says, is found on streams on which all are computed.

    Args:
        reference: of the kernel: see `kernel_reference`.
        plan: windows and run lengths.
        seed: of the simulation.
        alarms: number of simulated false alarms from which each threshold is read.

    Raises:
        DatasetError: the reference has too few groups, or all of its samples are equal.
    """
    values = reference.values
    gamma = bandwidth(values)
    streams = GroupStreams(len(values), reference.groups, every=plan.every)
    similarities = kernel(values, values, gamma).astype(np.float32)
    peaks, sums = joint_peaks(
        similarities,
        values,
        streams,
        windows=plan.windows,
        exposure=alarms * plan.run_length_each,
        source=np.random.default_rng([seed, _MMD_STREAM]),
    )
    each = _run_length_of_each([*peaks, sums], plan.run_length)
    cusum = cusum_threshold(
        values,
        streams,
        run_length=each,
        source=np.random.default_rng([seed, _CUSUM_STREAM]),
        alarms=alarms,
    )
    thresholds = {window: threshold_of(found, each) for window, found in zip(plan.windows, peaks, strict=True)}
    return Calibration(gamma=gamma, thresholds=thresholds, cusum=cusum, run_length_each=each)


def joint_peaks(
    similarities: NDArray[np.float32],
    values: NDArray[np.float64],
    streams: GroupStreams,
    *,
    windows: tuple[int, ...],
    exposure: float,
    source: np.random.Generator,
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the largest values so far of each window, and of the cumulative sums, on the same streams."""
    largest = windows[-1]
    steps = steps_of(len(similarities), largest)
    burn = steps // 2
    number = min(_MAX_STREAMS, math.ceil(exposure / (steps - burn)))
    simulator = MmdSimulator(similarities, streams)
    block = max(1, _BLOCK_ELEMENTS // ((largest + steps) ** 2 + len(similarities)))
    peaks = [np.empty((number, steps - burn + 1), np.float32) for _ in windows]
    chosen = np.empty((number, largest + steps), np.int64)
    for begin in range(0, number, block):
        rows = slice(begin, min(number, begin + block))
        chosen[rows], found = simulator.statistics(source, rows.stop - begin, windows=windows, steps=steps)
        for target, statistics in zip(peaks, found, strict=True):
            target[rows] = np.maximum.accumulate(statistics, axis=1)[:, burn:]
    sums = np.empty_like(peaks[0])
    for begin in range(0, number, _CUSUM_BLOCK):
        rows = slice(begin, min(number, begin + _CUSUM_BLOCK))
        sums[rows] = _cusum_peaks(values, chosen[rows])[:, largest + burn - 1 :]
    return peaks, sums


def _cusum_peaks(values: NDArray[np.float64], chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the largest cumulative sum so far on streams, number x length."""
    sums = np.zeros((len(chosen), 2, values.shape[1]))
    peaks = np.empty(chosen.shape, np.float32)
    for step in range(chosen.shape[1]):
        advance(sums, values[chosen[:, step]])
        peaks[:, step] = sums.max(axis=(1, 2))
    return np.maximum.accumulate(peaks, axis=1, out=peaks)


def _run_length_of_each(peaks: Sequence[NDArray[np.float32]], run_length: float) -> float:
    """Return the run length of each statistic with which all together have `run_length`.

    Args:
        peaks: of each statistic: streams x steps, the same streams.
        run_length: in samples.
    """
    low, high = run_length, run_length * len(peaks)  # all alarm together; no two of them do
    for _ in range(8):
        middle = (low + high) / 2
        below = np.logical_and.reduce([each < threshold_of(each, middle) for each in peaks])
        crossed, at_risk = _crossings(below)
        if crossed * run_length > at_risk:
            low = middle
        else:
            high = middle
    return high


def steps_of(samples: int, window: int) -> int:
    """Return the number of samples that a simulated stream has beyond its first window."""
    return 2 * window if samples >= 20 * window else window


def cusum_threshold(
    values: NDArray[np.float64],
    streams: GroupStreams,
    *,
    run_length: float,
    source: np.random.Generator,
    alarms: int = PRECISE,
) -> float:
    """Return the threshold of the largest cumulative sum with this mean number of samples between false alarms.

    Args:
        values: standardised reference, N x d.
        streams: of the reference.
        run_length: in samples.
        source: of random numbers.
        alarms: see `calibrate`.
    """
    steps = math.ceil(alarms * run_length / _CUSUM_CHAINS) + 1
    means, deviations = np.empty((2, _CUSUM_CHAINS, values.shape[1]))
    for chain in range(_CUSUM_CHAINS):  # one resampled reference in memory at a time
        drawn = values[streams.resampled(source)]
        means[chain], deviations[chain] = drawn.mean(axis=0), drawn.std(axis=0)
    deviations[deviations == 0] = 1.0
    sums = np.zeros((_CUSUM_CHAINS, 2, values.shape[1]))
    peaks = np.empty((_CUSUM_CHAINS, steps), np.float32)
    chunk = 1024
    for begin in range(0, steps, chunk):
        indices = streams.endless(source, _CUSUM_CHAINS, min(chunk, steps - begin))
        for step in range(indices.shape[1]):
            advance(sums, (values[indices[:, step]] - means) / deviations)
            peaks[:, begin + step] = sums.max(axis=(1, 2))
    np.maximum.accumulate(peaks, axis=1, out=peaks)
    return threshold_of(peaks, run_length)


def threshold_of(peaks: NDArray[np.float32], run_length: float) -> float:
    """Return the threshold that streams cross once in `run_length` samples.

    Args:
        peaks: largest values so far of each stream, streams x steps; a stream is at risk until it crosses.
        run_length: in samples.
    """
    low, high = float(peaks[:, 0].min()), float(peaks[:, -1].max())
    for _ in range(30):
        middle = (low + high) / 2
        crossed, at_risk = _crossings(peaks < middle)
        if at_risk == 0 or crossed * run_length > at_risk:
            low = middle
        else:
            high = middle
    return high


def _crossings(below: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many streams crossed, and the number of samples before, of those that had not at the first step."""
    return int(below[:, 0].sum()) - int(below[:, -1].sum()), int(below[:, :-1].sum())
