"""The channels of a sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def to_mono(samples: Floats) -> Floats:
    """Return the mean of the channels, shape (samples,); `samples` is (samples,) or (samples, channels)."""
    if samples.ndim == 1:
        return samples
    return cast("Floats", np.mean(samples, axis=1, dtype=np.float32))
