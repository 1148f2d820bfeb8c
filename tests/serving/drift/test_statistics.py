"""The statistics against their plain formulas, and the streams from which thresholds are read."""

import json
import os
import subprocess

import numpy as np
import pytest

from mlops_core.serving.drift import cusum, mmd
from mlops_core.serving.drift.simulator import MmdSimulator
from mlops_core.serving.drift.streams import GroupStreams

from .conftest import calibrated


def plain_mmd(x, y, gamma):
    """Return the unbiased estimate of Gretton et al. (2012), equation 3, pair by pair."""

    def k(a, b):
        return np.exp(-gamma * sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))

    r, w = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(r) for j in range(r) if i != j) / (r * (r - 1))
    within_y = sum(k(y[i], y[j]) for i in range(w) for j in range(w) if i != j) / (w * (w - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (r * w)


def test_statistic_equals_the_plain_formula_after_each_of_many_updates(normal):
    x, first, stream = normal(40), normal(8), normal(30) + 0.3
    gamma = mmd.bandwidth(x)
    online, window = mmd.OnlineMmd(x, first, gamma), list(first)
    assert online.value == pytest.approx(plain_mmd(x, first, gamma), abs=1e-12)
    for sample in stream:
        window = [*window[1:], sample]
        assert online.update(sample) == pytest.approx(plain_mmd(x, window, gamma), abs=1e-12)
        np.testing.assert_array_equal(online.window, window)


def test_rounding_does_not_add_up_over_thousands_of_updates(normal):
    x, window = normal(60), normal(20)
    gamma = mmd.bandwidth(x)
    online = mmd.OnlineMmd(x, window, gamma)
    stream = normal(3500)
    stream[::7] *= 1e5  # far away: cancellation is worst where squares are large
    for at, sample in enumerate(stream, start=1):
        online.update(sample)
        if at % 499 == 0:
            assert online.value == pytest.approx(mmd.mmd_squared(x, online.window, gamma), abs=1e-9)


def test_bandwidth_is_the_median_distance(normal):
    x = normal(31)
    squares = sorted(float(((a - b) ** 2).sum()) for i, a in enumerate(x) for b in x[:i])
    assert mmd.bandwidth(x) == pytest.approx(1 / squares[(len(squares) - 1) // 2])


@pytest.mark.parametrize("group_size", [1, 4])
def test_simulated_statistics_equal_the_formula_against_what_the_stream_left(normal, group_size):
    x = normal(120)
    gamma = mmd.bandwidth(x)
    groups = None if group_size == 1 else np.random.default_rng(1).permutation(np.arange(120) // group_size)
    streams = GroupStreams(120, groups, every=1 if groups is None else 2)
    simulator = MmdSimulator(mmd.kernel(x, x, gamma).astype(np.float32), streams)
    _, found = simulator.statistics(np.random.default_rng(3), 4, windows=(4, 6), steps=8)
    chosen, used = streams.draw(np.random.default_rng(3), 4, 14)
    for row in range(4):
        rest = x[~np.isin(streams.group_of, used[row])]
        for step in range(9):
            for size, statistics in zip((4, 6), found, strict=True):
                expected = mmd.mmd_squared(rest, x[chosen[row, step + 6 - size : step + 6]], gamma)
                assert statistics[row, step] == pytest.approx(expected, abs=1e-5)


def test_streams_take_groups_one_after_the_other_and_no_sample_twice():
    groups = np.repeat(np.arange(30), 6)[np.random.default_rng(2).permutation(180)]
    streams = GroupStreams(180, groups, every=2)
    chosen, used = streams.draw(np.random.default_rng(5), 50, 24)
    for row, mine in zip(chosen, used, strict=True):
        assert len(set(row)) == 24
        order = [groups[index] for index in row]
        assert [each for at, each in enumerate(order) if at == 0 or order[at - 1] != each] == list(mine[mine >= 0])
        assert order.count(order[0]) == 3  # half of six


def test_thinned_streams_hold_one_sample_per_group():
    groups = np.repeat(np.arange(60), 3)
    chosen, _ = GroupStreams(180, groups, every=100).draw(np.random.default_rng(5), 20, 25)
    assert all(len({groups[index] for index in row}) == 25 for row in chosen)


def test_cusum_is_that_of_page():
    sums = np.zeros((2, 1))
    for value, expected in [(1.0, (0.5, 0.0)), (1.0, (1.0, 0.0)), (-3.0, (0.0, 2.5)), (9.0, (3.5, 0.0))]:
        cusum.advance(sums, np.array([value]))
        assert tuple(sums[:, 0]) == expected  # 9 counts as 4


def test_thresholds_grow_with_the_run_length_and_repeat_with_the_seed(normal):
    x = normal(150)
    found = [calibrated(x, window=10, run_length=run_length) for run_length in (50, 200, 500)]
    assert found[0].thresholds[10] < found[1].thresholds[10] < found[2].thresholds[10]
    assert found[0].cusum < found[1].cusum < found[2].cusum
    assert all(1 <= each.run_length_each / asked <= 2 for each, asked in zip(found, (50, 200, 500), strict=True))
    assert calibrated(x, window=10, run_length=50) == found[0]
    other = calibrated(x, window=10, run_length=50, seed=2)
    assert (other.thresholds[10], other.cusum) != (found[0].thresholds[10], found[0].cusum)
    assert other.thresholds[10] == pytest.approx(found[0].thresholds[10], rel=0.2)


PEER = """
import json, sys
import numpy as np
from alibi_detect.cd import MMDDriftOnline
np.random.seed(0)
data = json.load(sys.stdin)
detector = MMDDriftOnline(
    np.array(data["x"], np.float32), ert=50, window_size=20, backend="pytorch", n_bootstraps=1000, verbose=False
)._detector
seen = []
reference = detector.x_ref[detector.ref_inds].numpy().tolist()
first = detector.test_window.numpy().tolist()
for sample in data["stream"]:
    seen.append(float(detector.predict(np.array(sample, np.float32))["data"]["test_stat"]))
sigma = float(detector.kernel.sigma.detach().reshape(-1)[0])
print(json.dumps({"reference": reference, "first": first, "seen": seen, "sigma": sigma,
                  "thresholds": list(map(float, detector.thresholds))}))
"""


@pytest.mark.slow_suite
@pytest.mark.skipif(
    not os.environ.get("MLOPS_TEST_ALIBI_PYTHON"),
    reason="MLOPS_TEST_ALIBI_PYTHON names no Python with alibi-detect and torch",
)
def test_statistic_equals_that_of_alibi_detect(normal):
    x, stream = normal(300, 16), normal(400, 16)
    done = subprocess.run(
        [os.environ["MLOPS_TEST_ALIBI_PYTHON"], "-W", "ignore", "-c", PEER],
        input=json.dumps({"x": x.tolist(), "stream": stream.tolist()}),
        capture_output=True,
        text=True,
        check=True,
    )
    peer = json.loads(done.stdout.splitlines()[-1])
    gamma = 1 / (2 * peer["sigma"] ** 2)
    assert gamma == pytest.approx(mmd.bandwidth(x), rel=1e-4)
    online = mmd.OnlineMmd(np.array(peer["reference"]), np.array(peer["first"]), gamma)
    differences = [abs(online.update(sample) - theirs) for sample, theirs in zip(stream, peer["seen"], strict=True)]
    assert max(differences) < 1e-6
    ours = calibrated(x, window=20, run_length=32)  # of both statistics: about 50 of the window alone
    assert ours.run_length_each == pytest.approx(50, rel=0.2)
    assert ours.thresholds[20] == pytest.approx(np.mean(peer["thresholds"][10:]), rel=0.25)
