"""Faults of descriptions: the numbers of a sample follow from its content, in the evaluation as in a server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mlops_core.evaluation.reference_statistics import MOST_FEATURES
from mlops_core.testing.observation.trees import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_core.evaluation.reference_statistics import ReferenceStatistics

    Rows = list[list[float]]

_NUMBERS_SHOWN = 4
_NEAR = 1e-3
"""Share of a feature's spread; the evaluation may compute with other batches, and a reference has seven digits."""


def description_faults(
    said: Mapping[str, Any], samples: Sequence[str], reference: ReferenceStatistics | None
) -> Iterator[str]:
    """Yield what is wrong with descriptions.

    Args:
        said: the result of `mlops_core.testing.inside.predictor.ask_to_describe`.
        samples: names of the samples, in the order of the answers.
        reference: what the evaluation described; None if it did not.
    """
    features: list[str] = said["features"]
    first = _numbers(said["first"])
    if not len(set(features)) == len(features) <= MOST_FEATURES:
        distinct = len(set(features))
        yield f"{len(features)} features, {distinct} of them distinct; expected distinct ones, at most {MOST_FEATURES}"
    for sample, numbers in zip(samples, first, strict=False):
        finite = sum(map(math.isfinite, numbers))
        if not len(numbers) == finite == len(features):
            yield (
                f"'{sample}' is described by {len(numbers)} numbers, {finite} of them finite; expected "
                f"{len(features)}, one per feature"
            )
            return
    yield from _differing(samples, _numbers(said["again"]), first, "asked again")
    yield from _differing(samples, _numbers(said["renamed"]), first, "under neutral names")
    yield from _differing(samples, _numbers(said["scores"]), _numbers(said["plain"]), "beside descriptions, the scores")
    if reference is not None:
        yield from _unlike_the_evaluation(samples, first, features, reference)


def _numbers(rows: Sequence[Sequence[str]]) -> Rows:
    return [[float(text) for text in row] for row in rows]


def _differing(names: Sequence[str], found: Rows, expected: Rows, where: str) -> Iterator[str]:
    """Yield how many samples have other numbers; both are computed by the same process."""
    if len(found) != len(expected):
        yield f"{where}, {len(found)} answers instead of {len(expected)}"
        return
    changed = [
        f"'{name}': {_shown(now)} instead of {_shown(before)}"
        for name, now, before in zip(names, found, expected, strict=False)
        if len(now) != len(before)
        or any(abs(a - b) > _NEAR * max(1e-3, abs(b)) for a, b in zip(now, before, strict=True))
    ]
    if changed:
        yield f"{where}, {len(changed)} of {len(names)} differ: {shown(changed, 2)}"


def _shown(numbers: Sequence[float]) -> str:
    more = ", ..." if len(numbers) > _NUMBERS_SHOWN else ""
    return f"({', '.join(f'{number:.5g}' for number in numbers[:_NUMBERS_SHOWN])}{more})"


def _unlike_the_evaluation(
    names: Sequence[str], found: Rows, features: Sequence[str], reference: ReferenceStatistics
) -> Iterator[str]:
    if list(features) != list(reference.features):
        yield f"the evaluation describes by {shown(list(reference.features))}, the predictor by {shown(list(features))}"
        return
    spreads = [max(column) - min(column) for column in zip(*reference.vectors, strict=True)]
    vectors = dict(zip(reference.samples, reference.vectors, strict=True))
    changed = [
        f"'{name}': '{features[at]}' is {now:.6g} instead of {vectors[name][at]:.6g}"
        for name, numbers in zip(names, found, strict=False)
        if name in vectors
        for at, now in enumerate(numbers)
        if abs(now - vectors[name][at]) > _NEAR * max(spreads[at], 1e-3 * abs(now), 1e-9)
    ]
    if changed:
        yield f"{len(changed)} numbers are not those of the evaluation: {shown(changed, 2)}"
