"""Drift detection: achieved run times and delays against what was asked and published, and its price per request.

* The mean number of samples until a false alarm, over ten references, against the number asked for: MMD of one window,
  cumulative sums, and a whole policy (two windows, sums and sub-sampling).
* Delays at shifts of all features, against delays measured with a prototype of the same algorithm.
* Processor time per sample and per request, against 2 % of a request to a quantized network; memory after traffic.

Run times are geometric, so that a mean over 400 runs has a standard error of 5 %, and the reference moves it further.
All random numbers follow from ``--seed``.

Usage: ``python benchmarks/drift.py [--seed 0] [--request-ms 4.2]``
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
import time
import tracemalloc
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from mlops_core.serving.drift import DriftPolicy, open_monitor
from mlops_core.serving.drift.calibration import PRECISE, cusum_threshold, joint_peaks, steps_of, threshold_of
from mlops_core.serving.drift.cusum import advance
from mlops_core.serving.drift.mmd import OnlineMmd, bandwidth, kernel
from mlops_core.serving.drift.streams import GroupStreams

if TYPE_CHECKING:
    from collections.abc import Sequence

_REFERENCES = 10
_SAMPLES = 500
_BUDGET = 0.02

RUN_TIMES = ((32, 20, 50, 40), (32, 50, 200, 40), (32, 20, 500, 40))
"""Features, window, samples asked for, runs per reference."""
DELAYS = ((32, 20, 0.25, 19), (32, 50, 0.25, 26), (32, 50, 0.5, 13), (128, 50, 0.25, 17))
"""Features, window, shift of every feature in standard deviations, delay of the prototype."""


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: 0)")
    parser.add_argument("--request-ms", type=float, default=4.2, help="processor time of a request (default: 4.2)")
    arguments = parser.parse_args()
    print(f"{'what':<58} {'measured':>10} {'expected':>9} {'ratio':>6}  target")
    met = [_run_time(*row, seed=arguments.seed) for row in RUN_TIMES]
    met.append(_cusum_run_time(seed=arguments.seed))
    met.append(_policy_run_time(seed=arguments.seed))
    met += [_delay(*row, seed=arguments.seed) for row in DELAYS]
    met += [_price(request_ms=arguments.request_ms, every=every) for every in (1, 180)]
    met.append(_memory())
    return 0 if all(met) else 1


def _print(what: str, measured: float, expected: float, *, low: float, high: float) -> bool:
    ratio = measured / expected
    is_met = low <= ratio <= high
    verdict = "met" if is_met else "MISSED"
    print(f"{what:<58} {measured:>10.4g} {expected:>9.4g} {ratio:>6.2f}  {low:g} to {high:g}, {verdict}", flush=True)
    return is_met


class _Calibrated:
    """A reference of normal numbers with the threshold of one window."""

    def __init__(self, features: int, window: int, run_length: float, *, seed: Sequence[int]) -> None:
        self.source = np.random.default_rng([*seed, 1])
        self.values = self.source.normal(size=(_SAMPLES, features))
        self.window = window
        self.gamma = bandwidth(self.values)
        self.streams = GroupStreams(_SAMPLES, None, every=1)
        similarities = kernel(self.values, self.values, self.gamma).astype(np.float32)
        (peaks,), _ = joint_peaks(
            similarities,
            self.values,
            self.streams,
            windows=(window,),
            exposure=PRECISE * run_length,
            source=np.random.default_rng([*seed, 2]),
        )
        self.threshold = threshold_of(peaks, run_length)

    def run(self, shift: float = 0.0) -> int:
        """Return the number of samples of a new stream until an alarm."""
        while True:
            length = self.window + steps_of(_SAMPLES, self.window)
            indices, used = self.streams.draw(self.source, 1, length)
            rest = np.delete(self.values, used[0], axis=0)
            online = OnlineMmd(rest, self.values[indices[0, : self.window]], self.gamma)
            if online.value < self.threshold:
                break
        count = 1
        while online.update(self.source.normal(size=self.values.shape[1]) + shift) < self.threshold:
            count += 1
        return count


def _run_time(features: int, window: int, asked: int, runs: int, *, seed: int) -> bool:
    found = []
    for number in range(_REFERENCES):
        calibrated = _Calibrated(features, window, asked, seed=(seed, number))
        found.append(np.mean([calibrated.run() for _ in range(runs)]))
    what = f"samples until a false alarm, d {features}, window {window}"
    return _print(what, float(np.mean(found)), asked, low=0.85, high=1.15)


def _cusum_run_time(*, seed: int, features: int = 32, asked: int = 2000, runs: int = 40) -> bool:
    found = []
    for number in range(_REFERENCES):
        source = np.random.default_rng([seed, number, 3])
        raw = source.normal(size=(_SAMPLES, features))
        mean, deviation = raw.mean(axis=0), raw.std(axis=0)
        streams = GroupStreams(_SAMPLES, None, every=1)
        threshold = cusum_threshold((raw - mean) / deviation, streams, run_length=asked, source=source)
        sums, ends, step = np.zeros((runs, 2, features)), np.zeros(runs), 0
        while not ends.all():
            step += 1
            advance(sums, (source.normal(size=(runs, features)) - mean) / deviation)
            ends[(sums.max(axis=(1, 2)) >= threshold) & (ends == 0)] = step
        found.append(ends.mean())
    return _print(f"samples until a false alarm, d {features}, sums", float(np.mean(found)), asked, low=0.85, high=1.15)


def _policy_run_time(*, seed: int, features: int = 16, runs: int = 20) -> bool:
    """One false alarm in a day at 50 requests per hour: 1200 samples, of which one in four is observed."""
    found = []
    for number in range(_REFERENCES):
        source = np.random.default_rng([seed, number, 4])
        policy = DriftPolicy(days=1, requests_per_hour=50, run_length=300, windows=(20, 50), seed=number)
        monitor = open_monitor(_reference(source.normal(size=(_SAMPLES, features))), policy)
        alarms = seen = 0
        while alarms < runs:
            seen += 1
            alarms += monitor.observe_at(source.normal(size=features).tolist()) is not None
        found.append(seen / runs)
    what = f"requests until a false alarm, d {features}, a whole policy"
    return _print(what, float(np.mean(found)), 1200, low=0.85, high=1.15)


def _delay(features: int, window: int, shift: float, expected: float, *, seed: int) -> bool:
    found = []
    for number in range(3):
        calibrated = _Calibrated(features, window, 500, seed=(seed, number, 5))
        found += [calibrated.run(shift) for _ in range(40)]
    what = f"samples until the alarm, d {features}, window {window}, shift {shift}"
    return _print(what, float(np.mean(found)), expected, low=0.8, high=1.2)


def _reference(values: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(
        features=tuple(f"f{index}" for index in range(values.shape[1])),
        vectors=values.tolist(),
        groups=(),
        source="benchmark",
    )


def _price(*, request_ms: float, every: int, features: int = 32, requests: int = 20_000) -> bool:
    source = np.random.default_rng(6)
    policy = DriftPolicy(days=1, requests_per_hour=every * 500 / 24, run_length=500, windows=(20, 100))
    monitor = open_monitor(_reference(source.normal(size=(_SAMPLES, features))), policy)
    samples = [[vector] for vector in source.normal(size=(requests, features)).tolist()]
    monitor.observe(samples[0])
    began = time.process_time()
    for sample in samples:
        monitor.observe(sample)
    spent = (time.process_time() - began) / requests * 1e6
    what = f"us of a request, d {features}, both windows, one in {every}"
    return _print(what, spent, request_ms * 1000, low=0, high=_BUDGET)


def _memory(*, features: int = 32) -> bool:
    """Compare what is allocated after 20,000 observed samples with what was after 5,000, both after alarms."""
    source = np.random.default_rng(7)
    policy = DriftPolicy(days=1, requests_per_hour=500 / 24, run_length=500, windows=(20, 100))
    monitor = open_monitor(_reference(source.normal(size=(_SAMPLES, features))), policy)
    tracemalloc.start()
    sizes = []
    for count in (5_000, 15_000):
        for _ in range(count):
            monitor.observe([source.normal(size=features).tolist()])
        sizes.append(tracemalloc.get_traced_memory()[0] / 1024)
    tracemalloc.stop()
    return _print("KiB after 20,000 observed samples, after 5,000", sizes[1], max(sizes[0], 64.0), low=0, high=1.1)


if __name__ == "__main__":
    sys.exit(main())
