"""Draws of groups: the same with NumPy and without, and those of a bootstrap."""

import math
import random
import statistics

import pytest

from mlops_core.evaluation.group_draws import ratios_of_drawn_groups
from mlops_core.evaluation.paired import compare_pairs


@pytest.mark.parametrize("scale", [1.0, 0.0, 1e-300, 1e300, 5e-324])
@pytest.mark.parametrize(("count", "largest"), [(2, 1), (7, 5), (300, 1), (1000, 9), (20_001, 3)])
def test_result_is_the_same_with_numpy_and_without(count, largest, scale):
    pytest.importorskip("numpy")
    draw = random.Random(count)
    groups = [(draw.randint(1, largest), draw.gauss(0, 1) * scale) for _ in range(count)]
    results = [ratios_of_drawn_groups(groups, resamples=5, seed=4, uses_numpy=choice) for choice in (True, False)]
    assert results[0] == results[1]


def test_whole_numbers_are_summed_exactly():
    groups = [(size, float(size)) for size in (1, 2, 3, 4)]
    assert set(ratios_of_drawn_groups(groups, resamples=50, seed=1, uses_numpy=False)) == {1.0}


def test_every_group_is_drawn_equally_often():
    drawn = [0.0] * 5
    for place in range(5):
        groups = [(1, float(number == place)) for number in range(5)]
        drawn[place] = statistics.fmean(ratios_of_drawn_groups(groups, resamples=4000, seed=9))
    assert math.fsum(drawn) == pytest.approx(1)
    assert drawn == pytest.approx([0.2] * 5, abs=0.01)


def test_spread_is_that_of_a_mean():
    draw = random.Random(3)
    values = [draw.expovariate(1) for _ in range(400)]
    found = ratios_of_drawn_groups([(1, value) for value in values], resamples=3000, seed=2)
    assert statistics.fmean(found) == pytest.approx(statistics.fmean(values), abs=0.01)
    assert statistics.stdev(found) == pytest.approx(statistics.pstdev(values) / 20, rel=0.08)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.7e308])
def test_number_that_cannot_be_averaged_gives_no_interval(bad):
    pairs = {str(number): (0.1 * number, bad) for number in range(20)}
    found = compare_pairs(pairs, groups={name: name for name in pairs}, seed=0)
    assert found.method == "none"
    assert math.isnan(found.low)
    assert math.isnan(found.p_limit)
