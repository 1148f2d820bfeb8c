"""Cumulative sums of each feature in both directions: which feature moved.

Page: Continuous Inspection Schemes, Biometrika 41 (1954): S⁺ ← max(0, S⁺ + z - κ), S⁻ ← max(0, S⁻ - z - κ) for a
standardised feature z. The allowance κ of half a standard deviation makes a shift of one the one that is found fastest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALLOWANCE = 0.5
LIMIT = 4.0
"""A feature counts at most so many standard deviations, so that one odd sample alone raises no alarm."""


def advance(sums: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """Update the sums, ... x 2 x d, with standardised values, ... x d, in place.

    Example:
        >>> import numpy as np
        >>> sums = np.zeros((2, 3))
        >>> advance(sums, np.array([2.0, -1.0, 9.0]))
        >>> sums.tolist()
        [[1.5, 0.0, 3.5], [0.0, 0.5, 0.0]]
    """
    limited = np.clip(values, -LIMIT, LIMIT)
    sums[..., 0, :] += limited
    sums[..., 1, :] -= limited
    sums -= ALLOWANCE
    np.maximum(sums, 0.0, out=sums)
