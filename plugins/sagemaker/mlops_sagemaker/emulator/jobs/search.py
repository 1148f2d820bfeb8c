"""Chooses the hyperparameter values of a tuning job.

A grid search tries all combinations. All other strategies draw at random here, because the search algorithms of the
service are not published.
"""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.support import GRID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def drawn_values(config: Mapping[str, Any], ranges: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the hyperparameters of each training job; endlessly, unless the strategy is a grid search.

    Args:
        config: ``HyperParameterTuningJobConfig`` of the request, for strategy and seed.
        ranges: ``ParameterRanges`` of the request.

    Raises:
        StepFault: a range is invalid.
    """
    if config.get("Strategy") == GRID:
        yield from _grid(ranges)
        return
    source = random.Random(int(config.get("RandomSeed") or 0))  # noqa: S311  not for cryptography
    while True:
        yield dict(_draws(ranges, source))


def _grid(ranges: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    others = [*(ranges.get("IntegerParameterRanges") or ()), *(ranges.get("ContinuousParameterRanges") or ())]
    if others:
        raise StepFault(FaultKind.CLIENT, f"'{others[0].get('Name')}': a grid search supports categorical ranges only")
    categories = list(ranges.get("CategoricalParameterRanges") or ())
    for values in itertools.product(*(each["Values"] for each in categories)):
        yield {each["Name"]: str(value) for each, value in zip(categories, values, strict=True)}


def _draws(ranges: Mapping[str, Any], source: random.Random) -> Iterator[tuple[str, str]]:
    for each in ranges.get("IntegerParameterRanges") or ():
        low, high = _limits(each)
        yield each["Name"], str(min(math.floor(high), max(math.ceil(low), round(_between(each, low, high, source)))))
    for each in ranges.get("ContinuousParameterRanges") or ():
        low, high = _limits(each)
        yield each["Name"], repr(_between(each, low, high, source))
    for each in ranges.get("CategoricalParameterRanges") or ():
        yield each["Name"], str(source.choice(each["Values"]))


def _limits(each: Mapping[str, Any]) -> tuple[float, float]:
    try:
        low, high = float(each["MinValue"]), float(each["MaxValue"])
    except (KeyError, ValueError) as error:
        raise StepFault(FaultKind.CLIENT, f"range '{each.get('Name')}': invalid limit: {error!r}") from error
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise StepFault(FaultKind.CLIENT, f"range '{each.get('Name')}': {low:g} to {high:g} is empty")
    return low, high


def _between(each: Mapping[str, Any], low: float, high: float, source: random.Random) -> float:
    """Return a random value between two limits, on the scale of the range."""
    scale, share = each.get("ScalingType", "Auto"), source.random()
    if scale == "Logarithmic" and low > 0:
        return min(high, max(low, low * math.pow(high / low, share)))
    if scale == "ReverseLogarithmic" and high < 1:
        return min(high, max(low, 1 - (1 - low) * math.pow((1 - high) / (1 - low), share)))
    return low + (high - low) * share
