"""What a loaded model can do: the `Predictor` protocol that a plugin's ``mlops_load_predictor`` returns, its answers.

An answer holds the scores of the classes, or the predicted number with an interval around it. How predictions are
stored for the metrics is `mlops_core.predictions`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happens in a recording, from `onset_s` to `offset_s` seconds after its beginning.

    Attributes:
        onset_s: when it begins.
        offset_s: when it ends.
        label: its class.
        confidence: mean score of the class meanwhile, 0 to 1.
    """

    onset_s: float
    offset_s: float
    label: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOptions:
    """How events are told from scores.

    Attributes:
        threshold: the score from which on a class is there, 0 to 1.
        shortest_s: shorter events are left out.
        raw_rate_hz: the source has no header and holds 16-bit little-endian mono samples at this rate; else None.
    """

    threshold: float = 0.5
    shortest_s: float = 0.0
    raw_rate_hz: int | None = None


class Listening(Protocol):
    """One recording that is being listened to: iterate once over its events, in the order of their ends."""

    @property
    def duration_s(self) -> float:
        """Seconds of the recording that have been heard."""

    @property
    def computed_s(self) -> float:
        """Seconds of computing that this took."""

    @property
    def latency_s(self) -> float:
        """Seconds from the beginning of a sound to its first scores: what must be heard, and the mean computing."""

    def __iter__(self) -> Iterator[Event]:
        """Yield the events as they end."""

    def draw(self, path: Path) -> None:
        """Write a picture of what was heard and found, in the format of the path's suffix."""


@runtime_checkable
class EventPredictor(Protocol):
    """A predictor that also finds events in long recordings and streams."""

    def listen(self, source: Path | IO[bytes], options: EventOptions) -> Listening:
        """Begin to listen to a file, or to a stream that cannot be sought.

        Raises:
            DatasetError: the source cannot be decoded; also while iterating.
        """
