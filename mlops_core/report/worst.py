"""The samples with the worst predictions, selected in one pass over the predictions file.

The score of a sample is the mean over its parts. Scores that are not a distribution (negative, or with a sum other than
1) are replaced by their softmax, for the ranking only. The loss of a sample is the negative logarithm of the score of
its true class, or for a regression the absolute error. Memory holds the rows of one sample and the worst so far.
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
    """A class with its score."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSample:
    """A sample with its prediction and loss.

    Attributes:
        sample: its id.
        group: its group, which no split divides.
        parts: number of parts that were scored.
        label: the true class, or for a regression the true number.
        loss: negative log score of the true class, or the absolute error.
        guesses: the three classes with the highest scores, highest first; empty for a regression.
        label_score: score of the true class; for a regression, the predicted number.
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
        """Whether another class has the highest score; always False for a regression."""
        return bool(self.guesses) and self.guesses[0].label != self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstSamples:
    """The samples with the highest losses.

    Attributes:
        samples: highest loss first.
        count: number of all samples.
        wrong: number of misclassified samples.
        is_regression: the labels are numbers.
    """

    samples: tuple[JudgedSample, ...]
    count: int
    wrong: int
    is_regression: bool


class _Candidate(NamedTuple):
    """A sample with its loss; only the samples that are kept become a `JudgedSample`."""

    sample: str
    parts: tuple[Prediction, ...]
    shares: list[float]
    position: int | None
    loss: float

    @property
    def is_wrong(self) -> bool:
        return bool(self.shares) and self.shares.index(max(self.shares)) != self.position


def find_worst(folder: Path, *, limit: int) -> WorstSamples:
    """Return the `limit` worst samples of the predictions file in `folder`, by the evaluated model.

    Raises:
        StepError: the file is missing or damaged; the message names file and line.
    """
    classes = read_classes(folder)
    count = wrong = 0
    # A min-heap by loss; equal losses are ordered by name, so that the selection is repeatable.
    kept: list[tuple[float, _Reversed, _Candidate]] = []
    evaluated = (row for row in iter_predictions(folder) if not row.model)
    for candidate in _candidates(evaluated, classes):
        count += 1
        wrong += candidate.is_wrong
        entry = (candidate.loss, _Reversed(candidate.sample), candidate)
        if len(kept) < limit:
            heapq.heappush(kept, entry)
        elif entry[:2] > kept[0][:2]:
            heapq.heapreplace(kept, entry)
    ordered = sorted((candidate for _, _, candidate in kept), key=lambda candidate: (-candidate.loss, candidate.sample))
    return WorstSamples(
        samples=tuple(_judged(candidate, classes) for candidate in ordered),
        count=count,
        wrong=wrong,
        is_regression=not classes,
    )


class _Reversed(str):
    """A string with the reverse of the alphabetical order."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)

    def __gt__(self, other: str) -> bool:
        return str.__lt__(self, other)


def _candidates(rows: Iterable[Prediction], classes: tuple[str, ...]) -> Iterator[_Candidate]:
    """Yield each sample; its rows are consecutive, as core writes them."""
    index = {name: position for position, name in enumerate(classes)}
    for sample, sample_rows in groupby(rows, key=lambda row: row.sample):
        parts = tuple(sample_rows)
        scores = mean_scores(parts)
        if not classes:
            yield _Candidate(sample, parts, [], None, abs(scores[0] - float(parts[0].label)))
            continue
        shares = as_distribution(scores)
        position = index.get(str(parts[0].label))
        score = shares[position] if position is not None else 0.0
        yield _Candidate(sample, parts, shares, position, -math.log(max(score, _SMALLEST)))


def _judged(candidate: _Candidate, classes: tuple[str, ...]) -> JudgedSample:
    first = candidate.parts[0]
    best = heapq.nlargest(_GUESSES, range(len(candidate.shares)), key=candidate.shares.__getitem__)
    label_score = candidate.shares[candidate.position] if candidate.position is not None else 0.0
    return JudgedSample(
        sample=candidate.sample,
        group=first.group,
        parts=len(candidate.parts),
        label=str(first.label) if classes else f"{float(first.label):g}",
        loss=candidate.loss,
        guesses=tuple(Guess(label=classes[position], score=candidate.shares[position]) for position in best),
        label_score=label_score if classes else mean_scores(candidate.parts)[0],
    )


def mean_scores(parts: Sequence[Prediction]) -> Sequence[float]:
    """Return the mean score of each class over the parts."""
    if len(parts) == 1:
        return parts[0].scores
    return [sum(column) / len(parts) for column in zip(*(row.scores for row in parts), strict=True)]


def as_distribution(scores: Sequence[float]) -> list[float]:
    """Return `scores` if they are a distribution, else their softmax."""
    if min(scores) >= 0 and abs(sum(scores) - 1) <= _SUM_TOLERANCE:
        return list(scores)
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]
