"""Sums over groups that are drawn with replacement: the inner loop of the paired bootstrap.

A group is chosen by 32 bits of the Mersenne Twister, and sums are those of fixed-point numbers, so that the result is
the same to the last bit with NumPy and without. NumPy is imported only for many draws, and only where it is installed:
it is then about forty times as fast (decision 28).
"""

from __future__ import annotations

import importlib.util
import math
import random
import sys
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_FEW_DRAWS = 1_000_000
"""Up to so many, plain Python takes less time than the import of NumPy."""
_WORD_BITS = 32
_SUM_BITS = 62
"""No sum needs more bits, so that it fits into a machine word with its sign."""


def ratios_of_drawn_groups(
    groups: Sequence[tuple[int, float]], *, resamples: int, seed: int, uses_numpy: bool | None = None
) -> list[float]:
    """Return, for each resample of as many groups as there are, the sum of their values by the sum of their sizes.

    Values are rounded to multiples of a power of two: with 100,000 groups, that is less than 2⁻⁴⁵ of the largest one.

    Args:
        groups: size, at least 1, and sum of finite values, of each group.
        resamples: their number.
        seed: of the draws.
        uses_numpy: None for many draws, where NumPy is installed; the result is the same.

    Example:
        >>> ratios_of_drawn_groups([(2, 1.0), (1, 0.5)], resamples=3, seed=1)
        [0.5, 0.5, 0.5]
    """
    count = len(groups)
    exponent = _exponent(groups)
    values = [_fixed(value, exponent) for _, value in groups]
    sizes = [size for size, _ in groups]
    if uses_numpy is None:
        uses_numpy = count * resamples > _FEW_DRAWS and importlib.util.find_spec("numpy") is not None
    draw = _with_numpy if uses_numpy and sum(sizes) < 1 << _SUM_BITS - count.bit_length() else _in_python
    sums = draw(values, None if sizes == sizes[:1] * count else sizes, resamples=resamples, seed=seed)
    same = sizes[0] * count
    return [_ratio(total, size or same, exponent) for total, size in sums]


def _exponent(groups: Sequence[tuple[int, float]]) -> int:
    """Return the exponent of the unit of fixed-point numbers: the sum of as many as there are fits into a word."""
    largest = max(abs(value) for _, value in groups)
    return math.frexp(largest)[1] - (_SUM_BITS - len(groups).bit_length())


def _fixed(value: float, exponent: int) -> int:
    numerator, denominator = value.as_integer_ratio()
    shift = -exponent
    scaled = numerator << shift if shift >= 0 else numerator
    divisor = denominator if shift >= 0 else denominator << -shift
    return (2 * scaled + divisor) // (2 * divisor)


def _ratio(total: int, size: int, exponent: int) -> float:
    """Return total · 2^exponent / size, rounded once."""
    return total * (1 << exponent) / size if exponent >= 0 else total / (size << -exponent)


def _in_python(
    values: Sequence[int], sizes: Sequence[int] | None, *, resamples: int, seed: int
) -> list[tuple[int, int]]:
    """Return the sums of values and sizes of each resample; 0 for the sizes where all are equal."""
    source = random.Random(seed)  # noqa: S311  statistics, not secrets
    count = len(values)
    found = []
    for _ in range(resamples):
        words = array("I", source.randbytes(_WORD_BITS // 8 * count))
        if sys.byteorder == "big":
            words.byteswap()
        drawn = [word * count >> _WORD_BITS for word in words]
        size = 0 if sizes is None else sum(map(sizes.__getitem__, drawn))
        found.append((sum(map(values.__getitem__, drawn)), size))
    return found


def _with_numpy(
    values: Sequence[int], sizes: Sequence[int] | None, *, resamples: int, seed: int
) -> list[tuple[int, int]]:
    """Return what `_in_python` returns, from the same random words."""
    import numpy as np

    _, state, _ = random.Random(seed).getstate()  # noqa: S311  statistics, not secrets
    source = np.random.MT19937()
    source.state = {"bit_generator": "MT19937", "state": {"key": np.array(state[:-1], np.uint32), "pos": state[-1]}}
    count = len(values)
    table = np.array(values, np.int64)
    weights = None if sizes is None else np.array(sizes, np.int64)
    found = []
    for _ in range(resamples):
        words = source.random_raw(count)
        words *= np.uint64(count)
        words >>= np.uint64(_WORD_BITS)
        drawn = words.view(np.int64)
        found.append((int(table.take(drawn).sum()), 0 if weights is None else int(weights.take(drawn).sum())))
    return found
