"""Paired comparison of two models on the same samples: differences with intervals, exact tests, Holm's correction.

Works on one number per sample and model: whether the answer was right, a squared error. The samples of a group (the
clips of one recording) are not independent, so the bootstrap draws whole groups.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import TYPE_CHECKING

from mlops_core.errors import StepError
from mlops_core.evaluation.group_draws import ratios_of_drawn_groups
from mlops_core.evaluation.intervals import LEVEL, student_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESAMPLES = 2000
"""Number of resamples of the paired bootstrap."""
_STEPS = 60
_MOST_EXACT = 4000
"""Up to so many discordant pairs, McNemar's test is computed in whole numbers."""
_NEGLIGIBLE = 1e-17
_SLACK = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """How much a later value is above an earlier one, on the same samples.

    Attributes:
        earlier: value of the model that is compared with.
        later: value of the other model.
        low: lower end of the interval of ``later - earlier``.
        high: upper end.
        p_value: two-sided, of no difference; NaN where the method gives none.
        p_limit: one-sided: how probable so large a difference is if the true one is at the limit; NaN as above.
        level: of the interval.
        method: ``score``, ``bootstrap by group``, ``jackknife by group`` or ``none``.
        count: number of samples.
        groups: number of groups.
        differing: number of groups in which the two models differ.
    """

    earlier: float
    later: float
    low: float
    high: float
    p_value: float
    p_limit: float = math.nan
    level: float = LEVEL
    method: str
    count: int
    groups: int
    differing: int

    @property
    def value(self) -> float:
        """The difference, positive where the later value is the larger one."""
        return self.later - self.earlier

    @property
    def p_improvement(self) -> float:
        """One-sided: how probable so large an improvement is if there is none; NaN where the method gives none.

        Never below that of the sign test in which all groups that differ are in favour: a bootstrap of three groups
        draws no resample against them, which proves little.
        """
        if math.isnan(self.p_value):
            return math.nan
        return max(self.p_value / 2, 0.5**self.differing) if self.value > 0 else max(0.5, 1 - self.p_value / 2)

    @property
    def is_improvement(self) -> bool:
        """Whether the later value is larger with significance: one-sided, at half of what the interval leaves out."""
        if not self.low > 0 or 0.5**self.differing > (1 - self.level) / 2:
            return False
        return math.isnan(self.p_value) or self.p_improvement <= (1 - self.level) / 2

    @property
    def further_samples(self) -> int | None:
        """About how many further samples would show the improvement, if it stays; None if there is none."""
        half = self.value - self.low
        if self.is_improvement or not self.value > 0 or not math.isfinite(half):
            return None
        factor = (half / self.value) ** 2
        if self.p_improvement < 0.5:  # not for NaN
            normal = NormalDist()
            ratio = normal.inv_cdf(0.5 + self.level / 2) / normal.inv_cdf(1 - self.p_improvement)
            factor = max(factor, ratio**2)
        else:  # a single group differs, or nothing but the interval is known: the sign test needs so many that do
            fewest = math.ceil(-math.log2((1 - self.level) / 2))
            factor = max(factor, fewest / max(1, self.differing))
        return max(1, math.ceil(self.count * (factor - 1)))


def compare_pairs(
    pairs: Mapping[str, tuple[float, float]],
    *,
    groups: Mapping[str, str],
    seed: int,
    limit: float = 0.0,
    level: float = LEVEL,
) -> PairedDifference:
    """Return the difference of the means of paired numbers.

    Right and wrong answers on independent samples are compared by McNemar's exact test and Tango's score interval, all
    else by a bootstrap that draws whole groups.

    Args:
        pairs: sample -> (earlier, later) number.
        groups: sample -> group.
        seed: of the resampling.
        limit: the difference that `PairedDifference.p_limit` tests.
        level: of the interval.

    Example:
        >>> pairs = {str(n): (float(n < 80), float(n < 90)) for n in range(100)}
        >>> found = compare_pairs(pairs, groups={name: name for name in pairs}, seed=0)
        >>> round(found.value, 2), round(found.low, 3), round(found.high, 3), round(found.p_value, 4)
        (0.1, 0.055, 0.174, 0.002)
    """
    count = len(pairs)
    by_group: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for sample, pair in pairs.items():
        by_group[groups[sample]].append(pair)
    if not pairs:
        return _unknown(math.nan, math.nan, count=0, groups=0, level=level)
    earlier, later = (_mean([pair[side] for pair in pairs.values()]) for side in (0, 1))
    if not math.isfinite(later - earlier):
        return _unknown(earlier, later, count=count, groups=len(by_group), level=level)
    is_binary = all(number in (0.0, 1.0) for pair in pairs.values() for number in pair)
    if is_binary and len(by_group) == count:
        gained = sum(later > earlier for earlier, later in pairs.values())
        lost = sum(later < earlier for earlier, later in pairs.values())
        low, high = score_interval(gained, lost, count, level=level)
        p_value, method = mcnemar_exact(gained, lost), "score"
        p_limit = _score_p_value(gained, lost, count, limit)
    elif is_binary and all(earlier == later for earlier, later in pairs.values()):
        # No resample differs, which is no proof: each group counts as one pair without a difference.
        low, high = score_interval(0, 0, len(by_group), level=level)
        p_value, method = 1.0, "score"
        p_limit = _score_p_value(0, 0, len(by_group), limit)
    elif len(by_group) > 1:
        sums = [
            (len(members), math.fsum([later - earlier for earlier, later in members]))
            for _, members in sorted(by_group.items())
        ]
        low, high, p_value, p_limit = _bootstrap(sums, seed=seed, limit=limit, level=level)
        method = "bootstrap by group"
    else:
        return _unknown(earlier, later, count=count, groups=1, level=level)
    return PairedDifference(
        earlier=earlier,
        later=later,
        low=low,
        high=high,
        p_value=p_value,
        p_limit=p_limit,
        level=level,
        method=method,
        count=count,
        groups=len(by_group),
        differing=sum(any(earlier != later for earlier, later in members) for members in by_group.values()),
    )


def mcnemar_exact(gained: int, lost: int) -> float:
    """Return the two-sided p-value of McNemar's exact test, from the discordant pairs.

    Twice the probability of at most min(b, c) successes in b + c throws of a coin, at most 1.
    From 4,000 discordant pairs, terms are floating-point numbers, and those below 10⁻¹⁷ of the sum are left out.
    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12 (1947) 153-157; the exact form is the sign test of the discordant pairs.

    Example:
        >>> mcnemar_exact(10, 0), mcnemar_exact(3, 3)
        (0.001953125, 1.0)
    """
    total, fewer = gained + lost, min(gained, lost)
    if fewer < 0:
        raise StepError(f"{gained} and {lost} are not numbers of discordant pairs")
    if total > _MOST_EXACT:
        return min(1.0, 2 * math.exp(_log_coin(fewer, total)) * _relative_tail(fewer, total))
    term, tail = 1, 1
    for successes in range(1, fewer + 1):
        term = term * (total - successes + 1) // successes
        tail += term
    return float(min(Fraction(1), Fraction(2 * tail, 2**total)))


def _log_coin(successes: int, total: int) -> float:
    """Return the logarithm of the probability of so many successes in `total` throws of a coin.

    Source: C. Loader, Fast and accurate computation of binomial probabilities (2000): Stirling's errors and deviances,
    in which no large logarithms cancel.
    """
    failures = total - successes
    if not successes:
        return -total * math.log(2)
    deviance = successes * math.log(2 * successes / total) + failures * math.log(2 * failures / total)
    errors = _stirling_error(total) - _stirling_error(successes) - _stirling_error(failures)
    return errors - deviance + math.log(total / (2 * math.pi * successes) / failures) / 2


def _stirling_error(count: int) -> float:
    if count < 16:
        return math.lgamma(count + 1) - (count + 0.5) * math.log(count) + count - math.log(2 * math.pi) / 2
    return (1 / 12 - (1 / 360 - 1 / (1260 * count**2)) / count**2) / count


def _relative_tail(successes: int, total: int) -> float:
    """Return the probability of at most so many successes in throws of a coin, by that of exactly so many."""
    term, tail = 1.0, 1.0
    while successes and term > tail * _NEGLIGIBLE:
        term *= successes / (total - successes + 1)
        tail += term
        successes -= 1
    return tail


def score_interval(gained: int, lost: int, count: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Return Tango's score interval of the difference of two paired proportions, ``(gained - lost) / count``.

    The limits are the differences D at which the score statistic (b - c - nD) / sqrt(n (2 q + D (1 - D))) is as far
    from 0 as the quantile z, where q is the larger root of 2n q² + (-b - c + (2n - b + c) D) q - c D (1 - D) = 0.
    Source: T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design, Stat. Med. 17 (1998) 891-908.

    Args:
        gained: number of pairs of which only the later one is a success (b).
        lost: number of pairs of which only the earlier one is a success (c).
        count: number of pairs (n).
        level: of the interval.
    """
    if min(gained, lost) < 0 or gained + lost > count:
        raise StepError(f"{gained} and {lost} discordant pairs in {count} are impossible")
    if not count:
        return -1.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    observed = (gained - lost) / count
    low = _crossing(gained, lost, count, inside=observed, outside=-1.0, z=z)
    high = _crossing(gained, lost, count, inside=observed, outside=1.0, z=z)
    return low, high


def _crossing(gained: int, lost: int, count: int, *, inside: float, outside: float, z: float) -> float:
    """Return the difference between `inside` and `outside` at which the score statistic reaches the quantile."""
    if abs(_score(gained, lost, count, outside * (1 - _SLACK))) < z:
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if abs(_score(gained, lost, count, middle)) <= z:
            inside = middle
        else:
            outside = middle
    return inside


def _score_p_value(gained: int, lost: int, count: int, limit: float) -> float:
    """Return how probable so large a difference is if the true one is at the limit."""
    return 1 - NormalDist().cdf(_score(gained, lost, count, max(-1 + _SLACK, min(1 - _SLACK, limit))))


def _score(gained: int, lost: int, count: int, difference: float) -> float:
    b, c, n, d = gained, lost, count, difference
    linear = -b - c + (2 * n - b + c) * d
    root = (math.sqrt(max(0.0, linear**2 + 8 * n * c * d * (1 - d))) - linear) / (4 * n)
    variance = n * (2 * root + d * (1 - d))
    distance = b - c - n * d
    if variance <= 0:
        return 0.0 if abs(distance) < _SLACK else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the same order; NaN counts as 1.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979) 65-70.

    Example:
        >>> [round(value, 3) for value in holm_adjusted([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    p_values = [1.0 if math.isnan(value) else value for value in p_values]
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, position in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[position]))
        adjusted[position] = largest
    return adjusted


def _mean(numbers: Sequence[float]) -> float:
    """Return the mean; not finite if a number is not, or if their sum is too large for a float."""
    try:
        return math.fsum(numbers) / len(numbers)
    except (OverflowError, ValueError):  # the sum is too large, or inf - inf
        return math.nan


def _unknown(earlier: float, later: float, *, count: int, groups: int, level: float) -> PairedDifference:
    return PairedDifference(
        earlier=earlier,
        later=later,
        low=math.nan,
        high=math.nan,
        p_value=math.nan,
        level=level,
        method="none",
        count=count,
        groups=groups,
        differing=0,
    )


def _bootstrap(
    sums: Sequence[tuple[int, float]], *, seed: int, limit: float, level: float
) -> tuple[float, float, float, float]:
    """Return the percentile interval of a ratio of sums over groups, the p-value of no difference and that of `limit`.

    A p-value counts the resamples on the far side of the tested difference, and the observed one.
    Source: A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application (1997), ch. 2.4 (ratio), 4.4.
    """
    differences = sorted(ratios_of_drawn_groups(sums, resamples=RESAMPLES, seed=seed))
    tail = (1 - level) / 2
    low = differences[math.floor(tail * (RESAMPLES - 1))]
    high = differences[math.ceil((1 - tail) * (RESAMPLES - 1))]
    below = sum(value <= 0 for value in differences)
    above = sum(value >= 0 for value in differences)
    at_limit = sum(value <= limit for value in differences)
    p_value = min(1.0, 2 * (min(below, above) + 1) / (RESAMPLES + 1))
    return low, high, p_value, (at_limit + 1) / (RESAMPLES + 1)


def compare_replicates(
    earlier: float, later: float, replicates: Sequence[tuple[float, float]], *, count: int, groups: int
) -> PairedDifference:
    """Return the difference of two values of a metric that is not a mean over samples, by the grouped jackknife.

    Source: J. Shao and D. Tu, The Jackknife and Bootstrap (1995), ch. 2 (variance (B-1)/B times the sum of squares).

    Args:
        earlier: value of the model that is compared with.
        later: value of the other model.
        replicates: both values without each block of groups in turn; at least two.
        count: number of samples.
        groups: number of groups.
    """
    differences = [after - before for before, after in replicates]
    size = len(differences)
    if size <= 1 or not all(map(math.isfinite, differences)):
        return _unknown(earlier, later, count=count, groups=groups, level=LEVEL)
    mean = _mean(differences)
    variance = (size - 1) * _mean([(value - mean) * (value - mean) for value in differences])
    half = student_quantile(LEVEL, size - 1) * math.sqrt(variance)
    return PairedDifference(
        earlier=earlier,
        later=later,
        low=later - earlier - half,
        high=later - earlier + half,
        p_value=math.nan,
        method="jackknife by group",
        count=count,
        groups=groups,
        differing=groups,
    )
