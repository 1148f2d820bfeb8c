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
from typing import TYPE_CHECKING, NamedTuple

from mlops_core.predictions import iter_predictions, read_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mlops_core.predictions import Prediction

_SMALLEST = 1e-12
_SUM_TOLERANCE = 0.01
_GUESSES = 3


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


class _Candidate(NamedTuple):
    """A sample with what its judgement needs; only those that are kept are judged in full."""

    sample: str
    parts: tuple[Prediction, ...]
    shares: list[float]
    position: int | None
    loss: float

    @property
    def is_wrong(self) -> bool:
        return bool(self.shares) and self.shares.index(max(self.shares)) != self.position


def find_worst(folder: Path, *, limit: int) -> WorstSamples:
    """Return the `limit` worst samples of ``predictions.jsonl`` in `folder`.

    Raises:
        StepError: it is missing or damaged; file and line are named.
    """
    classes = read_classes(folder)
    count = wrong = 0
    # The smallest of the kept samples is on top; equal losses are ordered by name, so that the choice is repeatable.
    kept: list[tuple[float, _Reversed, _Candidate]] = []
    for candidate in _candidates(iter_predictions(folder), classes):
        count += 1
        wrong += candidate.is_wrong
        entry = (candidate.loss, _Reversed(candidate.sample), candidate)
        if len(kept) < limit:
            heapq.heappush(kept, entry)
        elif entry[:2] > kept[0][:2]:
            heapq.heapreplace(kept, entry)
    ordered = sorted((candidate for _, _, candidate in kept), key=lambda found: (-found.loss, found.sample))
    return WorstSamples(
        samples=tuple(_judged(candidate, classes) for candidate in ordered),
        count=count,
        wrong=wrong,
        is_regression=not classes,
    )


class _Reversed(str):
    """A text that sorts after those that come later in the alphabet."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)

    def __gt__(self, other: str) -> bool:
        return str.__lt__(self, other)


def _candidates(rows: Iterable[Prediction], classes: tuple[str, ...]) -> Iterator[_Candidate]:
    """Yield each sample; its rows follow each other, as core writes them."""
    index = {name: position for position, name in enumerate(classes)}
    for sample, found in groupby(rows, key=lambda row: row.sample):
        parts = tuple(found)
        scores = mean_scores(parts)
        if not classes:
            yield _Candidate(sample, parts, [], None, abs(scores[0] - float(parts[0].label)))
            continue
        shares = as_distribution(scores)
        position = index.get(str(parts[0].label))
        score = shares[position] if position is not None else 0.0
        yield _Candidate(sample, parts, shares, position, -math.log(max(score, _SMALLEST)))


def _judged(found: _Candidate, classes: tuple[str, ...]) -> JudgedSample:
    first = found.parts[0]
    best = heapq.nlargest(_GUESSES, range(len(found.shares)), key=found.shares.__getitem__)
    label_score = found.shares[found.position] if found.position is not None else 0.0
    return JudgedSample(
        sample=found.sample,
        group=first.group,
        parts=len(found.parts),
        label=str(first.label) if classes else f"{float(first.label):g}",
        loss=found.loss,
        guesses=tuple(Guess(label=classes[position], score=found.shares[position]) for position in best),
        label_score=label_score if classes else mean_scores(found.parts)[0],
    )


def mean_scores(parts: Sequence[Prediction]) -> Sequence[float]:
    """Return the mean of the parts' scores, class by class."""
    if len(parts) == 1:
        return parts[0].scores
    return [sum(column) / len(parts) for column in zip(*(row.scores for row in parts), strict=True)]


def as_distribution(scores: Sequence[float]) -> list[float]:
    """Return `scores` where they are a distribution, else their softmax."""
    if min(scores) >= 0 and abs(sum(scores) - 1) <= _SUM_TOLERANCE:
        return list(scores)
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]
