"""The rate of false alarms on data that was held out: calibrated on one half of the reference, run on the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mlops_core.errors import DatasetError
from mlops_core.serving.drift.calibration import calibrate, kernel_reference
from mlops_core.serving.drift.cusum import advance
from mlops_core.serving.drift.mmd import kernel
from mlops_core.serving.drift.policy import SAMPLES_PER_WINDOW, DriftPlan
from mlops_core.serving.drift.simulator import sliding_sums, window_sums
from mlops_core.serving.drift.streams import MIN_GROUPS, GroupStreams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_core.serving.drift.calibration import Calibration
    from mlops_core.serving.drift.scaling import ScaledReference

_ROUGH = 60
"""Number of simulated false alarms for the thresholds of a half."""
_ORDERS = 200
_LONGEST_STREAM = 250
_SPLIT_STREAM = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRate:
    """False alarms on samples that the thresholds have not seen.

    Attributes:
        alarms: streams that raised one.
        samples: number of samples until then, over all streams.
        expected: false alarms in as many samples, by the policy.
        windows: that were used; smaller ones than in operation where a half is too small for those.
    """

    alarms: int
    samples: int
    expected: float
    windows: list[int]

    @property
    def ratio(self) -> float:
        """Alarms by those expected."""
        return self.alarms / self.expected


def held_out_rate(reference: ScaledReference, plan: DriftPlan, *, seed: int) -> HeldOutRate | None:
    """Return the rate over both halves; None if a half is too small for any window.

    Halves are made of whole groups. The orders of a half are not independent of each other: the rate says what happens
    with this data, not with all data; with few samples or groups it is rough.

    Raises:
        DatasetError: a half has too few groups for its windows, is constant, or raises its alarms at once.
    """
    kept = kernel_reference(reference, seed=seed)
    source = np.random.default_rng([seed, _SPLIT_STREAM])
    groups = np.arange(len(kept.values)) if kept.groups is None else kept.groups
    count = int(groups.max()) + 1
    if count < 2 * MIN_GROUPS:
        return None
    order = source.permutation(count)
    first = np.isin(groups, order[: count // 2])
    halves = (np.nonzero(first)[0], np.nonzero(~first)[0])
    half = min(map(len, halves))  # groups of different sizes make it smaller than half of the samples
    windows = tuple(each for each in plan.windows if each * SAMPLES_PER_WINDOW <= half)
    if not windows:
        return None
    smaller = replace(plan, windows=windows, run_length_each=plan.run_length * (len(windows) + 1))
    alarms = samples = 0
    for calibrated_on, run_on in (halves, halves[::-1]):
        part = kept.subset(calibrated_on)
        calibration = calibrate(part, smaller, seed=seed, alarms=_ROUGH)
        raw = kept.subset(run_on)
        vectors = part.scale(_raw(raw))
        raised, observed = _run(part, calibration, vectors, raw.groups, smaller, source)
        alarms += raised
        samples += observed
    if not samples:
        raise DatasetError(
            "drift: the halves of the reference differ so much that every stream raises an alarm at once"
        )
    return HeldOutRate(alarms=alarms, samples=samples, expected=samples / plan.run_length, windows=list(windows))


def _raw(part: ScaledReference) -> NDArray[np.float64]:
    raw: NDArray[np.float64] = part.values * np.where(part.deviations == 0, 1.0, part.deviations) + part.means
    return raw


def _run(
    part: ScaledReference,
    calibration: Calibration,
    vectors: NDArray[np.float64],
    groups: NDArray[np.int64] | None,
    plan: DriftPlan,
    source: np.random.Generator,
) -> tuple[int, int]:
    """Return the number of streams of the other half that raised an alarm, and of samples until then."""
    streams = GroupStreams(len(vectors), groups, every=plan.every)
    length = max(plan.windows[-1] + 1, min(_LONGEST_STREAM, len(vectors) // 2 if streams.is_grouped else len(vectors)))
    length = min(length, len(vectors) - 1)
    chosen, _ = streams.draw(source, _ORDERS, length)
    crossed = np.zeros(chosen.shape, np.bool_)
    within = kernel(vectors, vectors, calibration.gamma)
    own = kernel(part.values, part.values, calibration.gamma)
    size = len(own)
    constant = (own.sum() - np.trace(own)) / (size * (size - 1))
    means = kernel(vectors, part.values, calibration.gamma).mean(axis=1)
    for window in plan.windows:
        for begin in range(0, _ORDERS, 20):
            rows = chosen[begin : begin + 20]
            inside = window_sums(within[rows[:, :, None], rows[:, None, :]], window)
            between = sliding_sums(means[rows], window)
            statistic = constant + (inside - window) / (window * (window - 1)) - 2.0 * between / window
            crossed[begin : begin + 20, window - 1 :] |= statistic >= calibration.thresholds[window]
    sums = np.zeros((_ORDERS, 2, vectors.shape[1]))
    for step in range(length):
        advance(sums, vectors[chosen[:, step]])
        crossed[:, step] |= sums.max(axis=(1, 2)) >= calibration.cusum
    # The first window is filled with samples of the reference in operation: what happens in it does not count here.
    crossed = crossed[:, plan.windows[-1] - 1 :]
    at_risk = ~crossed[:, 0]
    run = crossed[at_risk, 1:]
    raised = run.any(axis=1)
    first = np.where(raised, run.argmax(axis=1) + 1, run.shape[1])
    return int(raised.sum()), int(first.sum())
