"""The mathematics of intervals, against published tables and simulated data with a known rate."""

import random

import pytest

from mlops_core import proportion, proportion_by_group
from mlops_core.evaluation.intervals import effective_count, student_quantile, wilson_interval


@pytest.mark.parametrize(
    ("level", "degrees", "quantile"),
    # Pearson and Hartley, Biometrika Tables for Statisticians, table 12.
    [
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 3, 3.182),
        (0.95, 4, 2.776),
        (0.95, 19, 2.093),
        (0.95, 120, 1.980),
        (0.9, 5, 2.015),
        (0.99, 1, 63.657),
        (0.99, 10, 3.169),
    ],
)
def test_students_quantiles_are_those_of_the_tables(level, degrees, quantile):
    assert student_quantile(level, degrees) == pytest.approx(quantile, abs=6e-4)


def test_wilson_interval_takes_a_count_that_is_not_whole_and_contains_the_rate():
    low, high = wilson_interval(0.8, 12.5)
    assert wilson_interval(0.8, 13)[0] > low > wilson_interval(0.8, 12)[0]
    assert low < 0.8 < high
    assert wilson_interval(0.0, 4)[0] == 0.0
    assert wilson_interval(1.0, 4)[1] == 1.0


def test_effective_count_is_that_of_independent_samples_with_the_same_variance():
    # p (1 - p) / n = 0.16 / 100; with 1,000 groups the correction for few groups is within 0.3 %.
    assert effective_count(0.8, 0.0016, count=1000, groups=1000) == pytest.approx(100, rel=3e-3)
    assert effective_count(0.8, 1e-9, count=50, groups=1000) == pytest.approx(50, rel=3e-3)
    assert effective_count(0.8, 0.0016, count=1000, groups=5) < 60


@pytest.mark.parametrize(("rate", "variance", "groups"), [(1.0, 0.0, 7), (0.0, 0.0, 7), (0.8, float("nan"), 7)])
def test_where_the_variance_says_nothing_each_group_counts_as_one_sample(rate, variance, groups):
    assert effective_count(rate, variance, count=1000, groups=groups) == groups


def test_samples_that_are_their_own_groups_have_the_wilson_interval():
    by_group = proportion_by_group({str(number): [number < 80] for number in range(100)})
    value = proportion(80, 100)
    assert (by_group.value, by_group.low, by_group.high, by_group.count) == (
        value.value,
        value.low,
        value.high,
        value.count,
    )
    assert by_group.groups == 100


def test_a_perfect_score_on_few_groups_is_no_certainty():
    value = proportion_by_group({name: [True] * 100 for name in "abcde"})
    assert (value.value, value.high) == (1.0, 1.0)
    assert value.low == pytest.approx(proportion(5, 5).low)


def test_a_single_group_says_next_to_nothing():
    value = proportion_by_group({"only": [True] * 90 + [False] * 10})
    assert value.high - value.low > 0.7


def test_groups_of_equal_rates_are_as_good_as_independent_samples():
    value = proportion_by_group({str(number): [True, True, True, False] for number in range(1000)})
    assert value.high - value.low == pytest.approx(proportion(3000, 4000).high - proportion(3000, 4000).low, rel=3e-3)


def test_no_sample_is_no_value():
    value = proportion_by_group({"a": []})
    assert (value.value != value.value, value.low, value.high) == (True, 0.0, 1.0)


def test_interval_by_group_contains_the_true_rate_about_as_often_as_it_says():
    draw = random.Random(4)
    hits = {"by group": 0, "by sample": 0}
    for _ in range(300):
        groups = {
            str(number): [draw.random() < rate for _ in range(50)]
            for number, rate in enumerate(draw.betavariate(3, 1) for _ in range(20))
        }
        right = sum(map(sum, groups.values()))
        for name, value in (("by group", proportion_by_group(groups)), ("by sample", proportion(right, 1000))):
            hits[name] += value.low <= 0.75 <= value.high
    assert hits["by group"] / 300 == pytest.approx(0.95, abs=0.03)
    assert hits["by sample"] / 300 < 0.7
