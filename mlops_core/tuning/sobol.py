"""Points of a Sobol sequence, shifted by a seed: they fill a space more evenly than random points do.

Source: S. Joe and F. Y. Kuo, Constructing Sobol sequences with better two-dimensional projections, SIAM J. Sci.
Comput. 30 (2008) 2635-2654: primitive polynomials and initial numbers of the table ``new-joe-kuo-6``. The digital shift
(each coordinate's bits are exchanged by one random number) keeps the evenness: A. B. Owen, Variance with alternative
scramblings of digital nets, ACM Trans. Model. Comput. Simul. 13 (2003) 363-378.
"""

from __future__ import annotations

import random
from functools import lru_cache

_BITS = 32
_TABLE = (
    (3, (1,)),
    (7, (1, 3)),
    (11, (1, 3, 1)),
    (13, (1, 1, 1)),
    (19, (1, 1, 3, 3)),
    (25, (1, 3, 5, 13)),
    (37, (1, 1, 5, 5, 17)),
    (41, (1, 1, 5, 5, 5)),
    (47, (1, 1, 7, 11, 19)),
    (55, (1, 1, 5, 1, 1)),
    (59, (1, 1, 1, 3, 11)),
    (61, (1, 3, 5, 5, 31)),
    (67, (1, 3, 3, 9, 7, 49)),
    (91, (1, 1, 1, 15, 21, 21)),
    (97, (1, 3, 1, 13, 27, 49)),
    (103, (1, 1, 1, 15, 7, 5)),
    (109, (1, 3, 1, 15, 13, 25)),
    (115, (1, 1, 5, 5, 19, 61)),
    (131, (1, 3, 7, 11, 23, 15, 103)),
    (137, (1, 3, 7, 13, 13, 15, 69)),
    (143, (1, 1, 3, 13, 7, 35, 63)),
    (145, (1, 3, 5, 9, 1, 25, 53)),
    (157, (1, 3, 1, 13, 9, 35, 107)),
)
"""The polynomial, its coefficients as bits, and the initial numbers of each dimension from the second on."""
MAX_DIMENSIONS = len(_TABLE) + 1


def sobol_point(number: int, *, dimensions: int, seed: int) -> tuple[float, ...]:
    """Return point `number` (from 0) of the sequence, each coordinate from 0 to 1, 1 excluded.

    Args:
        number: below 2**32.
        dimensions: at most `MAX_DIMENSIONS`; the first coordinates do not depend on it.
        seed: of the shift.

    Example:
        >>> points = [sobol_point(number, dimensions=2, seed=1) for number in range(4)]
        >>> sorted(int(4 * first) for first, _ in points)  # one in each quarter
        [0, 1, 2, 3]
    """
    coordinates = []
    for dimension in range(dimensions):
        shift = random.Random(f"{seed}/sobol/{dimension}").getrandbits(_BITS)  # noqa: S311  no secret
        bits, gray = shift, number ^ (number >> 1)
        for place, direction in enumerate(_directions(dimension)):
            if gray >> place & 1:
                bits ^= direction
        coordinates.append(bits / 2**_BITS)
    return tuple(coordinates)


@lru_cache(maxsize=MAX_DIMENSIONS)
def _directions(dimension: int) -> tuple[int, ...]:
    if dimension == 0:
        return tuple(1 << (_BITS - 1 - place) for place in range(_BITS))
    polynomial, initial = _TABLE[dimension - 1]
    degree = len(initial)
    found = [value << (_BITS - 1 - place) for place, value in enumerate(initial)]
    for place in range(degree, _BITS):
        value = found[place - degree] ^ (found[place - degree] >> degree)
        for term in range(1, degree):
            if polynomial >> (degree - term) & 1:
                value ^= found[place - term]
        found.append(value)
    return tuple(found)
