"""Drawing the values of a trial: a pure function of (space, sampler, seed, index).

Trial 0 is the configuration's own values. The others take the sub-spaces in turn: trial ``i`` is number
``(i - 1) // n`` of sub-space ``(i - 1) % n`` of ``n``. So no process needs to know what another one drew, every engine
tries the same trials, and a search with more trials begins with those of the shorter one.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from mlops_core.errors import ConfigError
from mlops_core.tuning.sobol import MAX_DIMENSIONS, sobol_point

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.tuning.space import SearchRange, SearchSpace, TunedParameter, TunedValue

RANDOM, SOBOL, GRID, BAYESIAN = "random", "sobol", "grid", "bayesian"
STATIC_SAMPLERS = (RANDOM, SOBOL, GRID)
"""The samplers whose trials are known before anything runs."""
SAMPLERS = (*STATIC_SAMPLERS, BAYESIAN)


def draw(space: SearchSpace, *, sampler: str, seed: int, index: int) -> dict[str, TunedValue]:
    """Return the values of a trial, by name of the parameter; empty for trial 0.

    Args:
        space: what is searched.
        sampler: one of `STATIC_SAMPLERS`.
        seed: of the search.
        index: of the trial, from 0.

    Raises:
        ConfigError: a grid has fewer points, or the space is too large for a Sobol sequence.

    Example:
        >>> from mlops_core import RangeKind, SearchRange, SearchSpace, TunedParameter
        >>> size = TunedParameter(name="size", key="training.size", type="string", choices=("small", "medium"))
        >>> sizes = SearchRange(kind=RangeKind.CHOICE, values=("small", "medium"))
        >>> space = SearchSpace(parameters=(size,), subspaces=({"size": sizes},))
        >>> [draw(space, sampler="grid", seed=0, index=index) for index in range(3)]
        [{}, {'size': 'small'}, {'size': 'medium'}]
    """
    if index == 0:
        return {}
    turn, number = (index - 1) % len(space.subspaces), (index - 1) // len(space.subspaces)
    subspace = space.subspaces[turn]
    if sampler == GRID:
        values = _grid_point(subspace, number, index)
    else:
        shares = _shares(tuple(subspace), sampler=sampler, seed=seed, turn=turn, number=number)
        values = {name: found.at(shares[name]) for name, found in subspace.items()}
    return {name: fitted(value, space.parameter(name)) for name, value in values.items()}


def _shares(names: tuple[str, ...], *, sampler: str, seed: int, turn: int, number: int) -> dict[str, float]:
    """Return a share from 0 to 1 for each parameter; one that is added to the space leaves those of the others."""
    if sampler == SOBOL:
        if len(names) > MAX_DIMENSIONS:
            raise ConfigError(
                f"a sub-space has {len(names)} parameters, and the Sobol sequence has {MAX_DIMENSIONS} dimensions; "
                "expected fewer, or the sampler random"
            )
        return dict(zip(names, sobol_point(number, dimensions=len(names), seed=seed + (turn << 32)), strict=True))
    return {name: random.Random(f"{seed}/{turn}/{number}/{name}").random() for name in names}  # noqa: S311  no secret


def grid_size(space: SearchSpace) -> int:
    """Return how many trials a grid search has, trial 0 included; a shorter sub-space ends the turns.

    Raises:
        ConfigError: a range has no end of values.
    """
    sizes = [math.prod(len(_points(name, found)) for name, found in each.items()) for each in space.subspaces]
    count = len(sizes)
    shortest = min(range(count), key=lambda turn: sizes[turn] * count + turn)
    return 1 + sizes[shortest] * count + shortest


def _grid_point(subspace: Mapping[str, SearchRange], number: int, index: int) -> dict[str, TunedValue]:
    values = {}
    rest = number
    for name, found in reversed(tuple(subspace.items())):
        points = _points(name, found)
        rest, place = divmod(rest, len(points))
        values[name] = points[place]
    if rest:
        raise ConfigError(f"trial {index}: the grid has fewer points; expected a lower number of trials")
    return {name: values[name] for name in subspace}


def _points(name: str, found: SearchRange) -> tuple[TunedValue, ...]:
    points = found.points()
    if points is None:
        raise ConfigError(
            f"{name}: a grid search needs a range of separate values, and {found.kind} has none; expected choice, "
            "quniform or randint, or another sampler"
        )
    return points


def fitted(value: TunedValue, parameter: TunedParameter) -> TunedValue:
    """Return a drawn value as the parameter's type; the tail of a normal distribution ends at the legal limits."""
    if isinstance(value, bool | str) or parameter.type in ("string", "boolean"):
        return value
    if parameter.choices:
        return value
    number = min(parameter.maximum, max(parameter.minimum, value))
    return int(number) if parameter.type == "integer" else float(number)
