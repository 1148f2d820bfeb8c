"""What a model answers for a sample: the scores of the classes, a number with an interval around it, or objects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The range in which a model expects the true number.

    Attributes:
        low: lower end, in the target's unit.
        high: upper end, not below the lower.
        level: share of samples whose true number should lie in the interval, between 0 and 1.

    Example:
        >>> Interval(low=8.5, high=11.5, level=0.9).level
        0.9
    """

    low: float
    high: float
    level: float

    def __post_init__(self) -> None:
        """Check the ends and the level.

        Raises:
            ValueError: the ends are not finite or not in order, or the level is not between 0 and 1.
        """
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"interval from {self.low} to {self.high}: expected finite ends, the lower first")
        if not 0 < self.level < 1:
            raise ValueError(f"interval level {self.level}: expected a share between 0 and 1, such as 0.9")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleScores:
    """The answer of a model for one sample: a file, or a part of a file that holds many.

    Attributes:
        path: the file, as passed to the predictor.
        scores: one score per class, in the order of `Predictor.classes`; (prediction,) for a regression.
        sample: which sample of a file that holds many, for example the row of a table; empty if the file is the sample.
        interval: the expected range of the true number of a regression; None if the model returns none.
        description: numbers that describe the sample itself, in the order of `DescribingPredictor.features`; empty
            unless the answer is of `DescribingPredictor.describe`.

    Example:
        >>> SampleScores(path="clip-1.wav", scores=(0.2, 0.8)).scores
        (0.2, 0.8)
    """

    path: str
    scores: tuple[float, ...]
    sample: str = ""
    interval: Interval | None = None
    description: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection(SampleScores):
    """The answer of a model that finds objects: the objects in one picture, with one score each.

    Attributes:
        labels: name of the class of each object.
        boxes: left, top, right and bottom of each object, in pixels of the picture as it is displayed.

    Example:
        >>> Detection(path="a.png", scores=(0.9,), labels=("valve",), boxes=((10.0, 20.0, 42.0, 40.0),)).labels
        ('valve',)
    """

    labels: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...]

    def __post_init__(self) -> None:
        """Check that there is a score, a label and a box for each object.

        Raises:
            ValueError: their numbers differ.
        """
        if not len(self.scores) == len(self.labels) == len(self.boxes):
            counts = f"{len(self.scores)} scores, {len(self.labels)} labels and {len(self.boxes)} boxes"
            raise ValueError(f"answer for {self.path}: {counts}; expected as many of each")

    def objects(self) -> list[dict[str, Any]]:
        """Return the objects as JSON types: label, score and box of each."""
        return [
            {"label": label, "score": float(score), "box": [float(value) for value in box]}
            for label, score, box in zip(self.labels, self.scores, self.boxes, strict=True)
        ]
