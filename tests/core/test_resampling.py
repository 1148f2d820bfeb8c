"""The bootstrap over groups: full where it is affordable, and bounded, with the same width, where it is not."""

import math
import random
import statistics

import pytest

from mlops_core import bootstrap_by_group


def mean(items):
    return sum(items) / len(items)


def noisy_groups(count, size, *, seed=3):
    draw = random.Random(seed)
    centres = [draw.gauss(0, 0.5) for _ in range(count)]
    return {f"g{number}": [draw.gauss(centre, 1) for _ in range(size)] for number, centre in enumerate(centres)}


class Counted:
    """A statistic that counts how many items it was given."""

    def __init__(self):
        self.items = self.calls = 0

    def __call__(self, items):
        self.items += len(items)
        self.calls += 1
        return mean(items)


def test_few_items_are_resampled_in_full_with_the_numbers_of_earlier_versions():
    value = bootstrap_by_group(noisy_groups(40, 5), mean, seed=1)
    assert (value.value, value.low, value.high) == pytest.approx(
        (-0.20653882208836977, -0.3874141259134103, -0.020370028370932713), abs=1e-12
    )
    statistic = Counted()
    bootstrap_by_group(noisy_groups(40, 5), statistic, resamples=300)
    assert (statistic.calls, statistic.items) == (301, 301 * 200)


@pytest.mark.parametrize(("count", "size"), [(30_000, 1), (300, 100), (12, 2_500)])
def test_the_work_of_many_items_is_bounded_and_the_width_is_that_of_all(count, size):
    groups, statistic = noisy_groups(count, size), Counted()
    value = bootstrap_by_group(groups, statistic)
    assert statistic.items <= 2_200_000 + count * size
    assert (value.count, value.groups, value.method) == (count, count, "bootstrap")
    assert value.value == pytest.approx(mean([item for group in groups.values() for item in group]), abs=1e-9)
    means = list(map(mean, groups.values()))
    half = 1.96 * statistics.stdev(means) / math.sqrt(count)
    assert (value.high - value.low) / 2 == pytest.approx(half, rel=0.25)
    assert value.low < value.value < value.high
    assert value == bootstrap_by_group(groups, mean)


def test_a_statistic_that_is_biased_in_small_samples_keeps_its_value_inside_the_interval():
    draw = random.Random(5)
    groups = {str(number): [draw.random()] for number in range(25_000)}
    value = bootstrap_by_group(groups, lambda items: max(items) + 30 / len(items))
    assert value.low <= value.value <= value.high


def test_empty_groups_and_values_that_are_not_finite_do_no_harm():
    groups = {**noisy_groups(3, 7_000), "empty": []}
    assert bootstrap_by_group(groups, mean).groups == 3
    assert math.isnan(bootstrap_by_group(groups, lambda items: math.nan).low)
    assert math.isnan(bootstrap_by_group({"a": []}, mean).value)
    only = bootstrap_by_group({"a": [1.0] * 100_000}, mean)
    assert (only.low, only.value, only.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("per_group", [1, 1000], ids=["all groups", "fewer groups"])
def test_resample_without_a_value_widens_the_interval(per_group):
    groups = {f"g{number:03}": [number / 100] * per_group for number in range(100)}
    whole = bootstrap_by_group(groups, mean, seed=2)
    values = []

    def sometimes_undefined(items):
        values.append(mean(items))
        return math.nan if len(values) % 100 == 50 else values[-1]

    value = bootstrap_by_group(groups, sometimes_undefined, seed=2)
    assert value.low < whole.low < whole.high < value.high
    assert whole.high - whole.low < value.high - value.low < 2 * (whole.high - whole.low)


@pytest.mark.parametrize("per_group", [1, 1000], ids=["all groups", "fewer groups"])
def test_many_resamples_without_a_value_leave_no_interval(per_group):
    groups = {f"g{number:03}": [number] * per_group for number in range(100)}
    value = bootstrap_by_group(groups, lambda items: math.nan if items[0] < 10 else mean(items), seed=2)
    assert math.isnan(value.low)
    assert math.isnan(value.high)


@pytest.mark.parametrize(
    ("count", "words"), [(1, "a single group"), (2, "2 groups: too few"), (9, "9 groups: too few"), (10, ""), (40, "")]
)
def test_an_interval_from_few_groups_says_so(count, words):
    value = bootstrap_by_group(noisy_groups(count, 3), mean, resamples=50)
    assert value.caveat.startswith(words)
    assert bool(value.caveat) == bool(words)


def test_an_interval_without_a_width_says_that_nothing_is_known_of_it():
    value = bootstrap_by_group({f"g{number}": [1.0, 1.0] for number in range(40)}, mean, resamples=50)
    assert (value.low, value.high) == (1, 1)
    assert value.caveat.startswith("every resampling has this value")
