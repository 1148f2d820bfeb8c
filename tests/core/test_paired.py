"""Paired comparisons: the exact test, the score interval, the bootstrap by group and Holm's correction."""

import math
import random
from statistics import NormalDist

import pytest

from mlops_core.errors import StepError
from mlops_core.evaluation.intervals import wilson_interval
from mlops_core.evaluation.metrics import MetricValue
from mlops_core.evaluation.paired import (
    compare_pairs,
    compare_replicates,
    holm_adjusted,
    mcnemar_exact,
    score_interval,
)
from mlops_core.evaluation.proportions import proportion
from mlops_core.evaluation.sample_sizes import further_samples


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (3, 9), (10, 10), (0, 25), (200, 260)])
def test_exact_test_is_the_binomial_test_of_the_discordant_pairs(gained, lost):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(min(gained, lost), gained + lost, 0.5).pvalue if gained + lost else 1.0
    assert mcnemar_exact(gained, lost) == pytest.approx(min(1.0, expected), rel=1e-9)


def restricted_score(gained, lost, count, difference):
    """The score statistic with the restricted estimate of the loss found by a search instead of the quadratic."""
    low, high = max(0.0, -difference), (1 - difference) / 2

    def likelihood(q):
        cells = ((gained, q + difference), (lost, q), (count - gained - lost, 1 - 2 * q - difference))
        return sum(n * math.log(p) if n else 0.0 for n, p in cells) if all(p > 0 or not n for n, p in cells) else -1e9

    for _ in range(200):
        third = (high - low) / 3
        if likelihood(low + third) < likelihood(high - third):
            low += third
        else:
            high -= third
    q = (low + high) / 2
    return (gained - lost - count * difference) / math.sqrt(count * (2 * q + difference * (1 - difference)))


@pytest.mark.parametrize(("gained", "lost", "count"), [(12, 3, 50), (7, 2, 300), (40, 60, 400)])
def test_limits_of_the_score_interval_are_where_the_statistic_reaches_the_quantile(gained, lost, count):
    low, high = score_interval(gained, lost, count)
    z = NormalDist().inv_cdf(0.975)
    assert low < (gained - lost) / count < high
    assert restricted_score(gained, lost, count, low) == pytest.approx(z, abs=2e-4)
    assert restricted_score(gained, lost, count, high) == pytest.approx(-z, abs=2e-4)


def test_score_interval_without_a_discordant_pair_is_that_of_no_event():
    low, high = score_interval(0, 0, 80)
    z = NormalDist().inv_cdf(0.975)
    assert high == pytest.approx(z * z / (80 + z * z))
    assert low == pytest.approx(-high)


def test_score_interval_turns_round_with_the_models():
    assert score_interval(9, 4, 70) == pytest.approx(tuple(-end for end in reversed(score_interval(4, 9, 70))))


def test_score_interval_covers_the_true_difference():
    draw = random.Random(5)
    covered = 0
    for _ in range(400):
        kinds = draw.choices((1, -1, 0), weights=(0.12, 0.07, 0.81), k=120)
        low, high = score_interval(kinds.count(1), kinds.count(-1), 120)
        covered += low <= 0.05 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_bootstrap_draws_whole_groups():
    draw = random.Random(2)
    pairs, groups = {}, {}
    for group in range(40):
        shift = draw.gauss(0.1, 0.3)
        for member in range(10):
            name = f"{group}-{member}"
            before = draw.gauss(0, 1)
            pairs[name], groups[name] = (before, before + shift), str(group)
    found = compare_pairs(pairs, groups=groups, seed=3)
    alone = compare_pairs(pairs, groups={name: name for name in pairs}, seed=3)
    assert found.method == "bootstrap by group"
    assert (found.count, found.groups) == (400, 40)
    assert found.high - found.low > 2 * (alone.high - alone.low)
    assert compare_pairs(pairs, groups=groups, seed=3) == found


def test_bootstrap_interval_agrees_with_scipys():
    stats = pytest.importorskip("scipy.stats")
    draw = random.Random(4)
    pairs = {str(n): (draw.gauss(0, 1), draw.gauss(0.2, 1)) for n in range(200)}
    found = compare_pairs(pairs, groups={name: name for name in pairs}, seed=1)
    before, after = zip(*pairs.values(), strict=True)
    theirs = stats.bootstrap(
        (after, before),
        lambda later, earlier: sum(later) / len(later) - sum(earlier) / len(earlier),
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        random_state=1,
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.04)


def test_limit_is_tested_on_one_side():
    pairs = {str(n): (1.0 if n < 90 else 0.0, 1.0 if n < 90 else 0.0) for n in range(100)}
    groups = {name: name for name in pairs}
    assert compare_pairs(pairs, groups=groups, seed=0, limit=-0.2).p_limit < 0.001
    assert compare_pairs(pairs, groups=groups, seed=0, limit=0.0).p_limit == pytest.approx(0.5)


def test_single_group_gives_no_interval():
    found = compare_pairs({"a": (0.0, 0.5), "b": (0.1, 0.2)}, groups={"a": "g", "b": "g"}, seed=0)
    assert found.method == "none"
    assert math.isnan(found.low)
    assert found.value == pytest.approx(0.3)


def test_jackknife_of_means_is_students_interval():
    values = [0.3, 0.1, 0.4, 0.15, 0.9, 0.2]
    total, size = sum(values), len(values)
    replicates = [(0.0, (total - value) / (size - 1)) for value in values]
    found = compare_replicates(0.0, total / size, replicates, count=size, groups=size)
    deviation = math.sqrt(sum((value - total / size) ** 2 for value in values) / (size - 1) / size)
    assert found.value - found.low == pytest.approx(2.5706 * deviation, rel=1e-3)


def test_holms_values_rise_with_the_rank_and_stop_at_1():
    assert holm_adjusted([0.02, 0.6, 0.01, 0.7]) == pytest.approx([0.06, 1.0, 0.04, 1.0])
    assert holm_adjusted([]) == []


@pytest.mark.parametrize(("scale", "threshold"), [(1, 0.85), (4, 0.88)])
def test_further_samples_move_the_bound_to_the_threshold(scale, threshold):
    value = proportion(90 * scale, 100 * scale)
    needed = further_samples(value, threshold)
    count = 100 * scale + needed
    assert proportion(round(0.9 * 1e6 * count), 10**6 * count).value == pytest.approx(0.9)
    assert wilson_interval(0.9, count)[0] >= threshold > wilson_interval(0.9, count - 2)[0]


def test_no_number_of_samples_decides_a_value_on_the_threshold():
    assert further_samples(proportion(90, 100), 0.9) is None
    assert further_samples(MetricValue(value=0.9, low=math.nan, high=math.nan, count=10), 0.8) is None


HUGE = 10**9


@pytest.mark.parametrize(("gained", "lost"), [(1900, 2200), (2100, 2100), (0, 5000), (3, 5000), (500_000, 501_500)])
def test_exact_test_of_many_pairs_is_the_binomial_test_too(gained, lost):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(min(gained, lost), gained + lost, 0.5).pvalue
    assert mcnemar_exact(gained, lost) == pytest.approx(expected, rel=1e-7, abs=1e-300)


@pytest.mark.parametrize(("gained", "lost"), [(0, HUGE), (HUGE, HUGE), (HUGE, HUGE + 50_000), (1, HUGE)])
def test_tests_of_a_billion_pairs_are_numbers(gained, lost):
    assert 0 <= mcnemar_exact(gained, lost) <= 1
    low, high = score_interval(gained, lost, 3 * HUGE)
    assert low <= (gained - lost) / (3 * HUGE) <= high


def test_interval_of_no_pairs_is_the_whole_range_and_impossible_counts_are_refused():
    assert score_interval(0, 0, 0) == (-1.0, 1.0)
    for counts in ((3, 0, 2), (-1, 0, 5)):
        with pytest.raises(StepError, match="impossible"):
            score_interval(*counts)
    with pytest.raises(StepError, match="not numbers of discordant pairs"):
        mcnemar_exact(-1, 3)


@pytest.mark.parametrize("count", [0, 1, 2, HUGE, math.inf])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0, math.nan])
def test_wilson_interval_holds_the_rate_whatever_the_count(rate, count):
    low, high = wilson_interval(rate, count)
    assert 0 <= low <= high <= 1
    assert math.isnan(rate) or low <= rate <= high


def test_rate_outside_0_to_1_is_refused():
    with pytest.raises(StepError, match="a rate of 1.5 among 3 samples is impossible"):
        wilson_interval(1.5, 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e200, 1.7e308, -1.7e308])
def test_jackknife_of_extreme_values_is_an_answer(bad):
    found = compare_replicates(0.0, 1.0, [(0.0, bad), (0.0, -bad), (1.0, 2.0)], count=3, groups=3)
    assert not found.low > found.high


@pytest.mark.parametrize("threshold", [0.9, 1e-300, math.nan, math.inf])
@pytest.mark.parametrize("value", [0.9, math.nan, math.inf, 0.9 + 1e-16, 1e200, 5e-324])
@pytest.mark.parametrize("method", ["wilson", "bootstrap"])
def test_further_samples_of_extreme_values_are_a_number_or_none(threshold, value, method):
    found = further_samples(MetricValue(value=value, low=value - 1, high=value + 1, count=9, method=method), threshold)
    assert found is None or 1 <= found <= HUGE
    close = MetricValue(value=value, low=0.5, high=0.5, count=9, method=method)
    assert further_samples(close, threshold) is None or further_samples(close, threshold) >= 1


def test_p_value_that_is_not_a_number_counts_as_1():
    assert holm_adjusted([math.nan, 0.01]) == [1.0, 0.02]


def compared(gained, lost, count, *, per_group=1):
    """Return the comparison of `count` samples, of which only the later or only the earlier one is right."""
    pairs = {str(n): (float(gained <= n < gained + lost), float(n < gained)) for n in range(count)}
    return compare_pairs(pairs, groups={name: str(int(name) // per_group) for name in pairs}, seed=1)


@pytest.mark.parametrize(("gained", "lost"), [(1, 0), (5, 0), (6, 0), (12, 3), (9, 3), (3, 9), (4, 4), (40, 20)])
def test_an_improvement_is_judged_one_sided_by_the_exact_test(gained, lost):
    stats = pytest.importorskip("scipy.stats")
    difference = compared(gained, lost, 200)
    expected = stats.binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue
    if gained > lost:
        assert difference.p_improvement == pytest.approx(expected, rel=1e-9)
    else:
        assert difference.p_improvement >= 0.5
    assert difference.is_improvement is bool(expected <= 0.025)


def test_a_bootstrap_by_group_finds_the_p_of_the_sign_test_of_few_groups():
    few = compared(100, 0, 100, per_group=20)
    assert (few.method, few.differing, few.p_improvement, few.is_improvement) == (
        "bootstrap by group",
        5,
        1 / 32,
        False,
    )
    assert compared(100, 0, 100, per_group=16).is_improvement
    assert not compared(32, 0, 320, per_group=16).is_improvement  # 18 of 20 groups do not differ


def test_a_gain_in_one_group_takes_as_many_samples_as_show_it_in_six():
    """A bound at 0 is reached at once, but a single group in favour has p = 0.5."""
    groups = {str(n): str(n % 12) for n in range(60)}
    pairs = {name: (float(group not in "01"), float(group != "0")) for name, group in groups.items()}
    found = compare_pairs(pairs, groups=groups, seed=0)
    assert (found.low, found.differing, found.p_improvement) == (0, 1, 0.5)
    assert found.further_samples == 300


def test_about_so_many_further_samples_show_an_improvement_and_half_as_many_do_not():
    for gained, lost, count in ((5, 0, 100), (12, 6, 80), (30, 20, 400), (1, 0, 10)):
        further = compared(gained, lost, count).further_samples
        scale = (count + further) / count * 1.25
        assert compared(round(gained * scale), round(lost * scale), round(count * scale)).is_improvement
        scale = 1 + (scale - 1) / 4
        assert not compared(round(gained * scale), round(lost * scale), round(count * scale)).is_improvement
    assert compared(3, 9, 100).further_samples is None
    assert compared(30, 3, 100).further_samples is None


def test_a_jackknife_shows_an_improvement_by_its_interval():
    replicates = [(0.5, 0.6 + n / 1000) for n in range(10)]
    better = compare_replicates(0.5, 0.6, replicates, count=100, groups=10)
    assert better.is_improvement
    assert math.isnan(better.p_improvement)
    assert not compare_replicates(0.5, 0.6, replicates[:5], count=100, groups=5).is_improvement
    wide = compare_replicates(0.5, 0.6, [(0.5, 0.5 + n / 10) for n in range(10)], count=100, groups=10)
    assert not wide.is_improvement
    assert wide.further_samples > 100
