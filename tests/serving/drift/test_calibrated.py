"""What thresholds promise: the mean run time over ten references, delays, and groups. Seeds are fixed."""

import numpy as np
import pytest

from mlops_core.serving.drift import DriftPolicy, open_monitor
from mlops_core.serving.drift.calibration import steps_of
from mlops_core.serving.drift.mmd import OnlineMmd
from mlops_core.serving.drift.streams import GroupStreams

from .conftest import calibrated, make_reference

pytestmark = pytest.mark.slow_suite


def delays(number, *, window, run_length, runs, shift=0.0):
    """Return the samples until an alarm of each run, and how many are promised without a shift."""
    source = np.random.default_rng([11, number])
    values = source.normal(size=(500, 32))
    streams = GroupStreams(500, None, every=1)
    calibration = calibrated(values, window=window, run_length=run_length / 1.9, seed=12 + number)
    threshold, gamma = calibration.thresholds[window], calibration.gamma
    found = []
    for _ in range(runs):
        indices, used = streams.draw(source, 1, window + steps_of(500, window))
        online = OnlineMmd(np.delete(values, used[0], axis=0), values[indices[0, :window]], gamma)
        count = 1
        while online.update(source.normal(size=32) + shift) < threshold:
            count += 1
        found.append(count)
    return np.array(found), calibration.run_length_each  # of the window alone


def test_the_mean_run_time_over_ten_references_is_what_was_asked_for():
    pairs = [delays(number, window=20, run_length=50, runs=40) for number in range(10)]
    found = np.concatenate([counts / promised for counts, promised in pairs])
    assert np.mean(found) == pytest.approx(1, rel=0.15)
    assert np.median(found) == pytest.approx(0.7 * np.mean(found), rel=0.2)  # geometric


@pytest.mark.parametrize(("window", "shift", "expected"), [(20, 0.25, 19), (50, 0.5, 13)])
def test_delays_are_those_of_the_literature_of_the_algorithm(window, shift, expected):
    pairs = [delays(number, window=window, run_length=500, runs=40, shift=shift) for number in range(3)]
    assert [promised for _, promised in pairs] == pytest.approx([500] * 3, rel=0.1)
    assert np.mean([counts for counts, _ in pairs]) == pytest.approx(expected, rel=0.2)


def samples_per_alarm(monitor, source, *, alarms):
    seen = 0
    while monitor.alarms < alarms:
        for sample in source.normal(size=4) * 1.5 + 0.3 * source.normal(size=(10, 4)):  # a group of ten that resemble
            seen += 1
            monitor.observe([sample.tolist()])
    return seen / alarms


def test_a_reference_with_groups_makes_false_alarms_of_dependent_samples_rare():
    source = np.random.default_rng(5)
    centres = np.repeat(source.normal(size=(120, 4)) * 1.5, 10, axis=0)
    values = centres + 0.3 * source.normal(size=centres.shape)
    groups = [f"g{at // 10}" for at in range(1200)]
    policy = DriftPolicy(days=1, requests_per_hour=400 / 24, windows=(20,))
    blind = samples_per_alarm(open_monitor(make_reference(values), policy), source, alarms=30)
    aware = samples_per_alarm(open_monitor(make_reference(values, groups), policy), source, alarms=30)
    assert blind < 60  # 400 were asked for
    assert 250 < aware < 900
