"""The samples that the model gets most wrong, found in one pass over the predictions.

A sample's score is the mean over its parts. Where the scores are no distribution (negative, or not of sum 1) their
softmax is taken, for the ranking only. The loss of a sample is minus the logarithm of the score of its true class; of
a regression, the absolute error. Only the rows of one sample and the worst samples so far are in memory.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from mlops_core.predictions import iter_predictions, read_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mlops_core.predictions import Prediction

_SMALLEST = 1e-12
_SUM_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A class with the score that the model gave it."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSample:
    """What the model made of one sample.

    Attributes:
        sample: its id.
        group: what must not cross a split.
        parts: how many pieces of it were scored.
        label: the true class, or the true number.
        loss: the larger, the worse.
        guesses: the best three classes, best first; empty for a regression.
        label_score: of the true class; the prediction itself for a regression.
    """

    sample: str
    group: str
    parts: int
    label: str
    loss: float
    guesses: tuple[Guess, ...]
    label_score: float

    @property
    def is_wrong(self) -> bool:
        """Another class has the highest score; of a regression, nothing is wrong or right."""
        return bool(self.guesses) and self.guesses[0].label != self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstSamples:
    """The worst of all samples.

    Attributes:
        samples: the worst first.
        count: of all samples.
        wrong: how many of them are classified wrongly.
        is_regression: their labels are numbers.
    """

    samples: tuple[JudgedSample, ...]
    count: int
    wrong: int
    is_regression: bool


def find_worst(folder: Path, *, limit: int) -> WorstSamples:
    """Return the `limit` worst samples of ``predictions.jsonl`` in `folder`.

    Raises:
        StepError: it is missing or damaged; file and line are named.
    """
    classes = read_classes(folder)
    count = wrong = 0
    # The smallest of the kept samples is on top; equal losses are ordered by name, so that the choice is repeatable.
    kept: list[tuple[float, _Reversed, JudgedSample]] = []
    for sample in judge(iter_predictions(folder), classes):
        count += 1
        wrong += sample.is_wrong
        entry = (sample.loss, _Reversed(sample.sample), sample)
        if len(kept) < limit:
            heapq.heappush(kept, entry)
        elif entry[:2] > kept[0][:2]:
            heapq.heapreplace(kept, entry)
    ordered = sorted((sample for _, _, sample in kept), key=lambda sample: (-sample.loss, sample.sample))
    return WorstSamples(samples=tuple(ordered), count=count, wrong=wrong, is_regression=not classes)


class _Reversed(str):
    """A text that sorts after those that come later in the alphabet."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)

    def __gt__(self, other: str) -> bool:
        return str.__lt__(self, other)


def judge(rows: Iterable[Prediction], classes: tuple[str, ...]) -> Iterator[JudgedSample]:
    """Yield a judgement of each sample; the rows of a sample follow each other, as core writes them."""
    index = {name: position for position, name in enumerate(classes)}
    for sample, found in groupby(rows, key=lambda row: row.sample):
        parts = list(found)
        scores = [sum(column) / len(parts) for column in zip(*(row.scores for row in parts), strict=True)]
        yield _judged(sample, parts, scores, index) if classes else _regressed(sample, parts, scores)


def _judged(sample: str, parts: Sequence[Prediction], scores: Sequence[float], index: dict[str, int]) -> JudgedSample:
    shares = as_distribution(scores)
    names = list(index)
    best = heapq.nlargest(3, range(len(shares)), key=lambda position: shares[position])
    label = str(parts[0].label)
    label_score = shares[index[label]] if label in index else 0.0
    return JudgedSample(
        sample=sample,
        group=parts[0].group,
        parts=len(parts),
        label=label,
        loss=-math.log(max(label_score, _SMALLEST)),
        guesses=tuple(Guess(label=names[position], score=shares[position]) for position in best),
        label_score=label_score,
    )


def _regressed(sample: str, parts: Sequence[Prediction], scores: Sequence[float]) -> JudgedSample:
    label = float(parts[0].label)
    return JudgedSample(
        sample=sample,
        group=parts[0].group,
        parts=len(parts),
        label=f"{label:g}",
        loss=abs(scores[0] - label),
        guesses=(),
        label_score=scores[0],
    )


def as_distribution(scores: Sequence[float]) -> list[float]:
    """Return `scores` where they are a distribution, else their softmax."""
    if min(scores) >= 0 and abs(sum(scores) - 1) <= _SUM_TOLERANCE:
        return list(scores)
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]
