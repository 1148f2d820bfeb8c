"""Reference statistics: vectors that describe the held-out samples of an evaluation, with which drift is detected.

A vector is the answer of the model, its scores, unless the plugin describes its samples itself: by the level of each
frequency band, by colours, by columns. The file has the name `REFERENCE_FILE` and this format::

    {
        "format": "mlops-reference/1",
        "source": "scores",
        "features": ["no", "yes"],
        "samples": ["clip-1.wav", ...],
        "groups": ["speaker-7", ...],
        "vectors": [[0.2, 0.8], ...],
    }

Numbers have seven significant digits. It holds at most `MOST_SAMPLES` samples and `MOST_NUMBERS` numbers: of more, the
groups whose names have the smallest digests are kept, whole except for the last one, so that the samples of a group
still show how much they depend on each other.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_core.errors import StepError
from mlops_core.reading import read_json, replace_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mlops_core.predictions import Predictions

REFERENCE_FILE = "reference_statistics.json"
FORMAT = "mlops-reference/1"
SCORES = "scores"
"""Source of vectors that are the scores of the classes, or the predicted number."""
DESCRIPTION = "description"
"""Source of vectors that the plugin computed from the samples."""
PREDICTION = "prediction"
"""Name of the only feature of a regression without a description."""
MOST_OBSERVED = 256
"""Samples of one request that a drift detector takes, the first ones, while a model is served and in a replay. They
resemble each other, and a request of a million rows must neither hold up others nor fill every window."""
MOST_SAMPLES = 2000
MOST_NUMBERS = 512_000
MOST_FEATURES = 4096
_LIMIT_BYTES = 64 << 20
_SOURCES = (SCORES, DESCRIPTION)
_ADVICE = "evaluate the model again"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleDescription:
    """A vector that describes a sample.

    Attributes:
        sample: id of the sample, as its predictions name it.
        vector: one finite number per feature.
        group: what must not cross a split, as its predictions name it; empty if samples have no groups.

    Example:
        >>> SampleDescription(sample="clip-1.wav", vector=(0.5, 0.25), group="speaker-7").vector
        (0.5, 0.25)
    """

    sample: str
    vector: tuple[float, ...]
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceStatistics:
    """Vectors of held-out samples, against which a stream of samples is compared.

    Attributes:
        features: names of the numbers of a vector.
        vectors: one per sample, of shape (samples, features).
        samples: ids of the samples.
        groups: group of each sample; empty if every sample is a group of its own.
        source: `SCORES` or `DESCRIPTION`.

    Example:
        >>> reference = ReferenceStatistics(features=("level",), vectors=((0.5,), (0.25,)), samples=("a", "b"))
        >>> len(reference), reference.source, reference.digest[:12]
        (2, 'scores', '83e3983678a5')
    """

    features: tuple[str, ...]
    vectors: tuple[tuple[float, ...], ...]
    samples: tuple[str, ...]
    groups: tuple[str, ...] = ()
    source: str = SCORES

    def __post_init__(self) -> None:
        """Check names, shape and numbers.

        Raises:
            ValueError: they are not those of reference statistics; the message says why.
        """
        if fault := next(_faults(self), ""):
            raise ValueError(fault)

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.samples)

    def __repr__(self) -> str:
        """Return the size in one line."""
        return f"<ReferenceStatistics {len(self)} samples, {len(self.features)} features of the {self.source}>"

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal digits; the same on every machine."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()

    def to_text(self) -> str:
        """Return the content of the file."""
        data = {
            "format": FORMAT,
            "source": self.source,
            "features": self.features,
            "samples": self.samples,
            "groups": self.groups,
            "vectors": self.vectors,
        }
        return json.dumps(data, allow_nan=False, separators=(",", ":")) + "\n"

    @classmethod
    def draw(
        cls, features: Sequence[str], descriptions: Iterable[SampleDescription], *, source: str = DESCRIPTION
    ) -> ReferenceStatistics:
        """Return the reference that describes samples; of too many, the same ones are kept in whatever order they come.

        Args:
            features: names of the numbers of a vector.
            descriptions: one per held-out sample; read once.
            source: `SCORES` or `DESCRIPTION`.

        Raises:
            ValueError: a vector has a wrong number of numbers or one that is not finite, or a name is not unique.
        """
        limit = min(MOST_SAMPLES, MOST_NUMBERS // max(1, len(features)))
        kept = heapq.nsmallest(limit, descriptions, key=_rank)
        kept.sort(key=lambda one: one.sample)
        groups = tuple(one.group or one.sample for one in kept)
        return cls(
            features=tuple(features),
            vectors=tuple(tuple(map(_rounded, one.vector)) for one in kept),
            samples=tuple(one.sample for one in kept),
            groups=() if len(set(groups)) == len(groups) else groups,
            source=source,
        )


def reference_of_predictions(predictions: Predictions) -> ReferenceStatistics:
    """Return the reference made of the scores of the evaluated model; those of a sample's parts are averaged.

    Raises:
        ValueError: there are no rows, more classes than `MOST_FEATURES`, or the rows are detections.
    """
    if predictions.has_boxes:
        raise ValueError("detections have no score for each class")
    sums: dict[str, tuple[str, list[float], int]] = {}
    for row in predictions.rows:
        if row.model:
            continue
        group, total, count = sums.get(row.sample, (row.group, [0.0] * len(row.scores), 0))
        sums[row.sample] = (group, [old + new for old, new in zip(total, row.scores, strict=True)], count + 1)
    described = (
        SampleDescription(sample=sample, group=group, vector=tuple(number / count for number in total))
        for sample, (group, total, count) in sums.items()
    )
    return ReferenceStatistics.draw(predictions.classes or (PREDICTION,), described, source=SCORES)


def reference_of_evaluation(predictions: Predictions, folder: Path) -> ReferenceStatistics:
    """Return the reference of an evaluation: what the plugin wrote beside the predictions, else that of the scores.

    Args:
        predictions: of the test samples.
        folder: the output ``predictions`` of the evaluation.

    Raises:
        StepError: a described sample is not a test sample, or the file is damaged.
        ValueError: as for `reference_of_predictions`.
    """
    path = folder / REFERENCE_FILE
    if not path.is_file():
        return reference_of_predictions(predictions)
    described = read_reference(path)
    groups = {row.sample: row.group for row in predictions.rows if not row.model}
    for sample in described.samples:
        if sample not in groups:
            raise StepError(
                f"{path} describes {sample!r}, which has no prediction; expected test samples only, named as in the "
                "predictions"
            )
    own = tuple(groups[sample] for sample in described.samples)
    return replace(described, groups=() if len(set(own)) == len(own) else own)


def write_reference(folder: Path, reference: ReferenceStatistics) -> Path:
    """Write ``reference_statistics.json`` into a folder and return its path."""
    path = folder / REFERENCE_FILE
    replace_text(path, reference.to_text())
    return path


def write_descriptions(folder: Path, features: Sequence[str], descriptions: Iterable[SampleDescription]) -> None:
    """Write what describes the test samples beside their predictions; core makes the reference statistics from it.

    Called by an evaluation step whose predictor is a `DescribingPredictor`. The numbers must be those that the
    predictor computes for the file of the same sample.

    Args:
        folder: the output ``predictions`` of the evaluation.
        features: names of the numbers of a vector.
        descriptions: one per test sample; read once. Of too many, `ReferenceStatistics.draw` keeps some.

    Raises:
        StepError: a vector has a wrong number of numbers or one that is not finite, or a name is not unique.

    Example:
        >>> write_descriptions(Path("."), ["level"], [SampleDescription(sample="clip-1.wav", vector=(0.5,))])
        >>> Path("reference_statistics.json").read_text().count("clip-1.wav")
        1
    """
    try:
        reference = ReferenceStatistics.draw(features, descriptions)
    except ValueError as error:
        raise StepError(f"the descriptions of the test samples cannot be kept: {error}") from error
    write_reference(folder, reference)


def merge_references(references: Sequence[ReferenceStatistics]) -> ReferenceStatistics:
    """Return the reference of samples that were described in parts, the same as if they had been described at once.

    Raises:
        ValueError: there is none, they have other features, or a sample is in two of them.
    """
    first = references[0]
    if any((one.features, one.source) != (first.features, first.source) for one in references):
        raise ValueError("the parts have different features; expected the same ones in each")
    described = (
        SampleDescription(sample=sample, vector=vector, group=group)
        for one in references
        for sample, vector, group in zip(one.samples, one.vectors, one.groups or one.samples, strict=True)
    )
    return ReferenceStatistics.draw(first.features, described, source=first.source)


def read_reference(path: Path) -> ReferenceStatistics:
    """Return the reference statistics in a file.

    Raises:
        StepError: it is missing, too large or not of this format; the message says what to do.
    """
    try:
        return reference_from_json(read_json(path, limit_bytes=_LIMIT_BYTES))
    except OSError as error:
        raise StepError(f"{path} cannot be read: {error.strerror or error}; {_ADVICE}") from error
    except ValueError as error:
        raise StepError(f"{path} does not hold reference statistics: {error}; {_ADVICE}") from error


def reference_from_json(data: Any) -> ReferenceStatistics:
    """Return the reference that a file holds.

    Raises:
        ValueError: the data is not of the format `FORMAT`.
    """
    found = data.get("format") if isinstance(data, dict) else type(data).__name__
    if found != FORMAT:
        raise ValueError(f"the format is {found!r}; expected {FORMAT!r}")
    try:
        return ReferenceStatistics(
            features=_texts(data["features"]),
            vectors=tuple(tuple(map(_number, vector)) for vector in data["vectors"]),
            samples=_texts(data["samples"]),
            groups=_texts(data["groups"]),
            source=str(data["source"]),
        )
    except (KeyError, TypeError, OverflowError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{what}; expected source, features, samples, groups and vectors") from error


def _faults(reference: ReferenceStatistics) -> Iterator[str]:
    """Yield what is wrong with reference statistics."""
    features, samples = reference.features, reference.samples
    if reference.source not in _SOURCES:
        yield f"the source is {reference.source!r}; expected {' or '.join(_SOURCES)}"
    if not 0 < len(features) <= MOST_FEATURES:
        yield f"{len(features)} features; expected 1 to {MOST_FEATURES}"
    if not samples:
        yield "there are no samples; expected at least one"
    if len(samples) > MOST_SAMPLES or len(samples) * len(features) > MOST_NUMBERS:
        yield (
            f"{len(samples)} samples of {len(features)} features; expected at most {MOST_SAMPLES} samples and "
            f"{MOST_NUMBERS} numbers"
        )
    for what, names in (("feature", features), ("sample", samples)):
        if len(set(names)) < len(names):
            twice = next(name for number, name in enumerate(names) if name in names[:number])
            yield f"the {what} {twice!r} appears twice; expected each name once"
    yield from _vector_faults(reference)


def _vector_faults(reference: ReferenceStatistics) -> Iterator[str]:
    features, samples = reference.features, reference.samples
    if len(reference.vectors) != len(samples) or len(reference.groups) not in (0, len(samples)):
        yield f"{len(samples)} samples, {len(reference.vectors)} vectors and {len(reference.groups)} groups"
    for sample, vector in zip(samples, reference.vectors, strict=False):
        if len(vector) != len(features):
            yield f"the vector of {sample!r} has {len(vector)} numbers; expected {len(features)}, one per feature"
        if not all(map(math.isfinite, vector)):
            at = next(name for name, number in zip(features, vector, strict=True) if not math.isfinite(number))
            yield f"{at} of {sample!r} is not a finite number"


def _rank(description: SampleDescription) -> tuple[bytes, bytes]:
    return _hash(description.group or description.sample), _hash(description.sample)


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def _rounded(number: float) -> float:
    return float(f"{float(number):.7g}") + 0.0  # -0.0 is 0.0


def _texts(data: Any) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
        raise TypeError("a name is not a text")
    return tuple(data)


def _number(data: Any) -> float:
    if type(data) not in (int, float):
        raise TypeError(f"{data!r} is not a number")
    return float(data)
