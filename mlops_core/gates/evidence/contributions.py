"""What each sample contributes to a metric, where the metric is a mean over samples.

A difference between two models is then a mean over pairs, which says more than the two values.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError
from mlops_core.gates.evidence.jackknife import BLOCKS, blocks_of_groups
from mlops_core.gates.evidence.samples import is_right

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mlops_core.gates.evidence.sample_metric import SampleMetric
    from mlops_core.predictions import Prediction

_MOST_SINGLE = 20_000
_DRAWS = 4
_FEWEST_DRAWN = 3
_TOLERANCE = 1e-9


def contributions_to(
    metric: SampleMetric, samples: Mapping[str, Sequence[Prediction]], groups: Mapping[str, str]
) -> dict[str, float] | None:
    """Return numbers of the samples whose mean is the metric; None if it is not the mean of any that are known.

    A group may have its mean for each of its samples, which is all that drawing whole groups needs.
    """
    try:
        whole = metric(samples)
        for contributions in _candidates(metric, samples, groups):
            if _is_mean(metric, contributions, samples, groups, whole=whole):
                return contributions
    except (MlopsError, KeyError, ArithmeticError, ValueError):
        pass
    return None


def _candidates(
    metric: SampleMetric, samples: Mapping[str, Sequence[Prediction]], groups: Mapping[str, str]
) -> Iterator[dict[str, float]]:
    """Yield numbers whose mean may be the metric; those that cost the most to compute come last."""
    if len(samples) > 2 * BLOCKS and not metric.predictions.has_boxes:
        yield from _known_contributions(samples, metric.predictions.classes)
    alone = _alone(metric, samples, groups)
    if alone is not None:
        yield alone


def _is_mean(
    metric: SampleMetric,
    contributions: Mapping[str, float],
    samples: Mapping[str, Sequence[Prediction]],
    groups: Mapping[str, str],
    *,
    whole: float,
) -> bool:
    """Return whether the metric is the mean of these numbers: on all samples, on blocks of groups, and on draws.

    Macro recall of as many samples of each class is accuracy on the whole, but not on the resamples of a
    bootstrap, whose classes are of different sizes; a few such resamples show it.
    """
    if not _has_mean(contributions.values(), whole):
        return False
    blocks = blocks_of_groups(groups)
    parts: defaultdict[int, dict[str, Sequence[Prediction]]] = defaultdict(dict)
    members: defaultdict[str, list[str]] = defaultdict(list)
    for sample, rows in samples.items():
        parts[blocks[groups[sample]]][sample] = rows
        members[groups[sample]].append(sample)
    drawn = ([(copy, sample) for copy, name in draw for sample in members[name]] for draw in _draws(members))
    return all(_has_mean([contributions[sample] for sample in part], metric(part)) for part in parts.values()) and all(
        _has_mean(
            [contributions[sample] for _, sample in copies],
            metric({f"{sample} {copy}": _copied(samples[sample], copy) for copy, sample in copies}),
        )
        for copies in drawn
    )


def _alone(
    metric: SampleMetric, samples: Mapping[str, Sequence[Prediction]], groups: Mapping[str, str]
) -> dict[str, float] | None:
    """Return the metric of each sample or, of many, of each group alone; None of too many."""
    units: defaultdict[str, dict[str, Sequence[Prediction]]] = defaultdict(dict)
    by_group = len(samples) > _MOST_SINGLE
    for sample, rows in samples.items():
        units[groups[sample] if by_group else sample][sample] = rows
    if len(units) > _MOST_SINGLE:
        return None
    values = {}
    for part in units.values():
        values.update(dict.fromkeys(part, metric(part)))
    return values


def _draws(groups: Iterable[str]) -> Iterator[Sequence[tuple[int, str]]]:
    """Yield numbered groups that are drawn with replacement, as in a bootstrap; the same ones for the same groups.

    All draws together are about as large as the test set.
    """
    names = sorted(groups)
    draw = random.Random(len(names))  # noqa: S311  statistics, not secrets
    for _ in range(_DRAWS):
        yield list(enumerate(draw.choices(names, k=max(_FEWEST_DRAWN, len(names) // _DRAWS))))


def _copied(rows: Sequence[Prediction], copy: int) -> list[Prediction]:
    """Return the rows of a sample whose group may be drawn twice."""
    return [replace(row, sample=f"{row.sample} {copy}", group=f"{row.group} {copy}") for row in rows]


def _known_contributions(
    samples: Mapping[str, Sequence[Prediction]], classes: Sequence[str]
) -> Iterator[dict[str, float]]:
    """Yield numbers of samples whose mean is a common metric: accuracy and error rate, or squared and absolute error.

    Whether a metric of a use case is one of them is for the caller to find out.
    """
    if classes:
        right = {sample: float(is_right(rows, classes)) for sample, rows in samples.items()}
        yield right
        yield {sample: 1 - value for sample, value in right.items()}
        return
    errors = {}
    for sample, rows in samples.items():
        label = rows[0].label
        if len(rows) != 1 or isinstance(label, str):
            return
        errors[sample] = float(label) - rows[0].scores[0]
    yield {sample: error * error for sample, error in errors.items()}
    yield {sample: abs(error) for sample, error in errors.items()}


def _has_mean(numbers: Iterable[float], mean: float) -> bool:
    """Return whether the mean is that of the numbers, but for the rounding of their sum."""
    values = list(numbers)
    if not values or not math.isfinite(mean) or not all(map(math.isfinite, values)):
        return False
    tolerance = _TOLERANCE * max(map(abs, values))
    return abs(math.fsum(values) / len(values) - mean) <= tolerance
