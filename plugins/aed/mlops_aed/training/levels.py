"""Other recording levels: the log-mel patches that the same sound would give, recorded louder or quieter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from mlops_aed.config import LOG_OFFSET

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How patches depend on the level of the waveform.

    Attributes:
        power: exponent of the spectrogram, ``feature_extraction.power``.
        mean: subtracted from the logarithms when the patches were normalised.
        deviation: divisor of the normalisation.
    """

    power: float = 1.0
    mean: float = 0.0
    deviation: float = 1.0

    def amplified(self, patches: Floats, gain_db: float) -> Floats:
        """Return normalised `patches`, of any shape, as if the waveform had been amplified by `gain_db` decibels.

        The features are ``ln(mel + 1e-4)``, so this is exact, except where a value was near the offset and is
        amplified.
        """
        factor = np.float32(10 ** (self.power * gain_db / 20))
        mel = np.exp(patches * np.float32(self.deviation) + np.float32(self.mean)) - np.float32(LOG_OFFSET)
        louder = np.log(np.maximum(mel, 0) * factor + np.float32(LOG_OFFSET))
        return cast("Floats", ((louder - np.float32(self.mean)) / np.float32(self.deviation)).astype(np.float32))
