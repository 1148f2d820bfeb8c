"""What a loaded model can do: the `Predictor` protocol that a plugin's ``mlops_load_predictor`` returns, its answers.

An answer holds the scores of the classes, or the predicted number with an interval around it. How predictions are
stored for the metrics is `mlops_core.predictions`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where a model expects the true number to be.

    Attributes:
        low: its lower end, in the target's unit.
        high: its upper end, not below the lower.
        level: the share of samples whose true number it is meant to hold, between 0 and 1.
    """

    low: float
    high: float
    level: float

    def __post_init__(self) -> None:
        """Refuse ends that are no interval and a level that is no share.

        Raises:
            ValueError: says which.
        """
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"an interval from {self.low} to {self.high}: expected finite ends, the lower first")
        if not 0 < self.level < 1:
            raise ValueError(f"an interval of the level {self.level}: expected a share between 0 and 1, such as 0.9")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleScores:
    """The answer of a model for one sample: a file, or a part of a file that holds many.

    Attributes:
        path: the file as it was given.
        scores: one score a class, in the order of `Predictor.classes`; (prediction,) for a regression.
        sample: which sample of the file, where one holds many: of a table, the row; empty where the file is the sample.
        interval: of a regression, where the true number is expected; None where the model gives none.
    """

    path: str
    scores: tuple[float, ...]
    sample: str = ""
    interval: Interval | None = None


@runtime_checkable
class Predictor(Protocol):
    """A trained model that is ready to be asked."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores; empty for a regression."""

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield one answer a file, in their order; of a file that holds many samples, one a sample, in its order.

        Raises:
            DatasetError: a file cannot be used; it is named.
        """
