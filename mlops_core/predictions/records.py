"""A prediction, and all predictions of an evaluation.

A prediction is about one sample. It holds a score for each class, a number, or, for detections, the boxes that were
found beside those that are true. In each case, it is one row per sample or part of a sample: whatever selects, counts,
draws or compares samples needs to know nothing else about a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.predictors import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueBox:
    """An object that a sample shows.

    Attributes:
        label: name of its class.
        box: left, top, right and bottom, in one unit for all boxes of a sample, such as pixels.
        is_crowd: the box is around many objects of the class; detections in it are neither right nor wrong.

    Example:
        >>> TrueBox(label="valve", box=(10.0, 20.0, 42.0, 40.0)).is_crowd
        False
    """

    label: str
    box: tuple[float, float, float, float]
    is_crowd: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBox:
    """An object that a model found; its score is that of the row at the same position.

    Attributes:
        label: name of the class.
        box: left, top, right and bottom, in the unit of the sample's true boxes.

    Example:
        >>> FoundBox(label="valve", box=(11.0, 20.0, 42.0, 41.0)).label
        'valve'
    """

    label: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The model's prediction for one sample, or for one part of it.

    Attributes:
        sample: the identifier of the clip, image or row.
        part: position within the sample where the model scores pieces of it; 0 otherwise.
        group: what must not cross a split (a source recording); the unit of the bootstrap.
        label: the true class, or the true number; for detections, the number of objects.
        scores: one score a class, in the order of the file's classes; (prediction,) for a regression; one score for
            each of `found` for detections.
        interval: for a regression, the prediction interval; None if the model gives none.
        model: name of another model that is compared with the evaluated one on the same samples; empty for the
            evaluated model.
        truth: for detections, the objects of the sample.
        found: for detections, what the model found.

    Example:
        >>> Prediction(sample="clip-1.wav", group="speaker-7", label="yes", scores=(0.2, 0.8)).part
        0
    """

    sample: str
    part: int = 0
    group: str
    label: str | float
    scores: tuple[float, ...]
    interval: Interval | None = None
    model: str = ""
    truth: tuple[TrueBox, ...] = ()
    found: tuple[FoundBox, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """All rows of a predictions file.

    Attributes:
        classes: in the order of the scores; empty for a regression.
        rows: one per sample, or per part of a sample; a tuple, or `PredictionRows`, which make a row when it is read.
        facts: numbers about the model that no row shows, for example its size in bytes.
        has_boxes: the rows are detections: `Prediction.truth` and `Prediction.found` count.

    Example:
        >>> rows = (Prediction(sample="clip-1.wav", group="speaker-7", label="yes", scores=(0.2, 0.8)),)
        >>> Predictions(classes=("no", "yes"), rows=rows).rows[0].label
        'yes'
    """

    classes: tuple[str, ...]
    rows: Sequence[Prediction]
    facts: Mapping[str, float] = field(default_factory=dict)
    has_boxes: bool = False

    def __repr__(self) -> str:
        """Return how many rows there are, in one line."""
        return f"<Predictions {len(self.rows)} rows, {len(self.classes)} classes>"
