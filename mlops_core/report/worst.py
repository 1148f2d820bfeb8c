"""The samples with the worst predictions, selected in one pass over the predictions file.

The score of a sample is the mean over its parts. Scores that are not a distribution (negative, or with a sum other than
1) are replaced by their softmax, for the ranking only. The loss of a sample is the negative logarithm of the score of
its true class, or for a regression the absolute error; that of detections is the number of objects that were missed,
invented or found as another class. Memory holds the rows of one sample and the worst so far.
"""

from __future__ import annotations

import heapq
import json
import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from mlops_core.predictions import iter_predictions
from mlops_core.predictions.boxes import DEFAULT_SCORE, SCORE_FACT, BoxErrors, MarkedBox, count_errors
from mlops_core.predictions.files import read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_core.predictions import Prediction
    from mlops_core.predictions.files import Header
    from mlops_core.workspace.manifests import ManifestStore

_FORMAT = "mlops-worst/1"
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
        label: the true class, for a regression the true number, or for detections the number of objects.
        loss: negative log score of the true class, the absolute error, or the number of wrong boxes.
        guesses: the three classes with the highest scores, highest first; empty without scores of classes.
        label_score: score of the true class; for a regression, the predicted number; for detections, the number of
            objects that were found.
        has_several_labels: its parts do not have the same label, which `label` is the first of.
        errors: of detections, what became of the boxes; None otherwise.
    """

    sample: str
    group: str
    parts: int
    label: str
    loss: float
    guesses: tuple[Guess, ...]
    label_score: float
    has_several_labels: bool = False
    errors: BoxErrors | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether another class has the highest score, or a box is wrong; always False for a regression."""
        if self.errors is not None:
            return self.errors.count > 0
        return bool(self.guesses) and self.guesses[0].label != self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstSamples:
    """The samples with the highest losses.

    Attributes:
        samples: highest loss first.
        count: number of all samples.
        wrong: number of misclassified samples.
        is_regression: the labels are numbers.
        has_boxes: the predictions are detections.
    """

    samples: tuple[JudgedSample, ...]
    count: int
    wrong: int
    is_regression: bool
    has_boxes: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the samples as JSON types only."""
        return {"format": _FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WorstSamples:
        """Return the samples that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is damaged, or another version wrote it.
        """
        if data["format"] != _FORMAT:
            raise ValueError(f"format {data['format']!r}")
        samples = tuple(
            JudgedSample(
                **{
                    **sample,
                    "guesses": tuple(Guess(**guess) for guess in sample["guesses"]),
                    "errors": _errors_from_json(sample.get("errors")),
                }
            )
            for sample in data["samples"]
        )
        known = {name: data[name] for name in ("count", "wrong", "is_regression")}
        return cls(samples=samples, has_boxes=data.get("has_boxes", False), **known)


def _errors_from_json(data: Mapping[str, Any] | None) -> BoxErrors | None:
    return BoxErrors(**{**data, "boxes": tuple(MarkedBox(**box) for box in data["boxes"])}) if data else None


class _Candidate(NamedTuple):
    """A sample with its loss; only the samples that are kept become a `JudgedSample`."""

    sample: str
    parts: tuple[Prediction, ...]
    shares: list[float]
    position: int | None
    loss: float
    errors: BoxErrors | None = None

    @property
    def is_wrong(self) -> bool:
        if self.errors is not None:
            return self.errors.count > 0
        return bool(self.shares) and self.predicted != self.position

    @property
    def predicted(self) -> int | None:
        """Return the class with the highest score; None for a regression."""
        return self.shares.index(max(self.shares)) if self.shares else None

    @property
    def confusion(self) -> tuple[int | None, int | None]:
        """Return the true and the predicted class."""
        return self.position, self.predicted


_Entry: TypeAlias = "tuple[float, _Reversed, _Candidate]"
"""An element of a min-heap by loss; equal losses are ordered by name, so that the selection is repeatable."""


def recorded_worst(manifests: ManifestStore, folder: Path, *, limit: int, per_confusion: int) -> WorstSamples:
    """Return the worst samples of the artifact `folder`, which is read once: they are kept beside its manifest.

    Raises:
        StepError: the file is missing or damaged; the message names file and line.
    """
    name = f"worst-{limit}-{per_confusion}.json"
    note = manifests.find_note(folder.name, name)
    if note is not None:
        try:
            return WorstSamples.from_json(json.loads(note))
        except (ValueError, KeyError, TypeError):  # written by another version: find them again
            pass
    found = find_worst(folder, limit=limit, per_confusion=per_confusion)
    manifests.save_note(folder.name, name, json.dumps(found.to_json()))
    return found


def find_worst(folder: Path, *, limit: int, per_confusion: int | None = None) -> WorstSamples:
    """Return the worst samples of the predictions file in `folder`, by the evaluated model.

    Args:
        folder: holds the file.
        limit: how many samples at most.
        per_confusion: how many of them at most have the same true and predicted class; None for no limit.

    Raises:
        StepError: the file is missing or damaged; the message names file and line.
    """
    header = read_header(folder)
    classes = header.classes
    count = wrong = 0
    kept: defaultdict[tuple[int | None, int | None] | None, list[_Entry]] = defaultdict(list)
    evaluated = (row for row in iter_predictions(folder) if not row.model)
    for candidate in _candidates(evaluated, header):
        count += 1
        wrong += candidate.is_wrong
        is_limited = per_confusion is not None and bool(classes) and not header.has_boxes
        heap = kept[candidate.confusion if is_limited else None]
        entry = (candidate.loss, _Reversed(candidate.sample), candidate)
        if len(heap) < (min(limit, per_confusion or limit) if is_limited else limit):
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            heapq.heapreplace(heap, entry)
    candidates = (candidate for heap in kept.values() for _, _, candidate in heap)
    ordered = sorted(candidates, key=lambda candidate: (-candidate.loss, candidate.sample))[:limit]
    return WorstSamples(
        samples=tuple(_judged(candidate, classes) for candidate in ordered),
        count=count,
        wrong=wrong,
        is_regression=not classes,
        has_boxes=header.has_boxes,
    )


def iter_judged(folder: Path) -> Iterator[JudgedSample]:
    """Yield each sample of the predictions file in `folder`, judged by the evaluated model, in the order of the file.

    Raises:
        StepError: the file is missing or damaged; the message names file and line.
    """
    header = read_header(folder)
    evaluated = (row for row in iter_predictions(folder) if not row.model)
    return (_judged(candidate, header.classes) for candidate in _candidates(evaluated, header))


class _Reversed(str):
    """A string with the reverse of the alphabetical order."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)

    def __gt__(self, other: str) -> bool:
        return str.__lt__(self, other)


def _candidates(rows: Iterable[Prediction], header: Header) -> Iterator[_Candidate]:
    """Yield each sample; its rows are consecutive, as core writes them."""
    if header.has_boxes:
        threshold = header.facts.get(SCORE_FACT, DEFAULT_SCORE)
        for row in rows:
            errors = count_errors(row, threshold=threshold)
            yield _Candidate(row.sample, (row,), [], None, float(errors.count), errors)
        return
    classes = header.classes
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
    if candidate.errors is not None:
        return JudgedSample(
            sample=candidate.sample,
            group=first.group,
            parts=1,
            label=f"{float(first.label):g}",
            loss=candidate.loss,
            guesses=(),
            label_score=float(candidate.errors.right),
            errors=candidate.errors,
        )
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
        has_several_labels=any(part.label != first.label for part in candidate.parts),
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
