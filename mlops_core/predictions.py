"""The predictions file: one row per sample or part of a sample, from which every metric is computed and re-checked."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from mlops_core.predictors import Interval

PREDICTIONS_FILE = "predictions.jsonl"
_FORMAT = "mlops-predictions/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The model's prediction for one sample, or for one part of it.

    Attributes:
        sample: the identifier of the clip, image or row.
        part: position within the sample where the model scores pieces of it; 0 otherwise.
        group: what must not cross a split (a source recording); the unit of the bootstrap.
        label: the true class, or the true number.
        scores: one score a class, in the order of the file's classes; (prediction,) for a regression.
        interval: for a regression, the prediction interval; None if the model gives none.
        model: name of another model that is compared with the evaluated one on the same samples; empty for the
            evaluated model.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """All rows of a predictions file.

    Attributes:
        classes: in the order of the scores; empty for a regression.
        rows: one per sample, or per part of a sample.
        facts: numbers about the model that no row shows, for example its size in bytes.

    Example:
        >>> rows = (Prediction(sample="clip-1.wav", group="speaker-7", label="yes", scores=(0.2, 0.8)),)
        >>> Predictions(classes=("no", "yes"), rows=rows).rows[0].label
        'yes'
    """

    classes: tuple[str, ...]
    rows: tuple[Prediction, ...]
    facts: Mapping[str, float] = field(default_factory=dict)


def write_predictions(
    folder: Path, classes: Iterable[str], rows: Iterable[Prediction], *, facts: Mapping[str, float] | None = None
) -> None:
    """Write ``predictions.jsonl`` into `folder`, row by row.

    Args:
        folder: where the file is written.
        classes: in the order of the scores; empty for a regression.
        rows: one per sample, or per part of a sample.
        facts: numbers about the model that no row shows; each finite.

    Raises:
        StepError: a row has a wrong number of scores, a score or a number that is not finite, an unknown
            label, or an interval around a class.

    Example:
        >>> row = Prediction(sample="clip-1.wav", group="speaker-7", label="yes", scores=(0.2, 0.8))
        >>> write_predictions(Path("."), ["no", "yes"], [row])
        >>> read_predictions(Path(".")).rows == (row,)
        True
    """
    names = tuple(classes)
    partial = folder / f"{PREDICTIONS_FILE}.partial"
    with partial.open("w", encoding="utf-8", newline="\n") as stream:
        header = {"format": _FORMAT, "classes": names} | ({"facts": dict(facts)} if facts else {})
        stream.write(json.dumps(header, ensure_ascii=False, allow_nan=False) + "\n")
        for row in rows:
            _check(row, names)
            stream.write(json.dumps(_fields(row), ensure_ascii=False, allow_nan=False) + "\n")
    partial.replace(folder / PREDICTIONS_FILE)


def read_predictions(folder: Path) -> Predictions:
    """Return all of ``predictions.jsonl`` in `folder`.

    Raises:
        StepError: it is missing or damaged; file and line are named.

    Example:
        >>> write_predictions(Path("."), ["no", "yes"], [])
        >>> read_predictions(Path(".")).classes
        ('no', 'yes')
    """
    path = folder / PREDICTIONS_FILE
    lines = _lines(path)
    first = next(lines, None)
    return Predictions(
        classes=_classes(first, path),
        rows=tuple(_row(line, path, number) for number, line in enumerate(lines, 2)),
        facts=_facts(first, path),
    )


def read_classes(folder: Path) -> tuple[str, ...]:
    """Return the classes of ``predictions.jsonl`` in `folder`, in the order of the scores; empty for a regression.

    Raises:
        StepError: it is missing, or its first line is not a header.
    """
    path = folder / PREDICTIONS_FILE
    return _classes(next(_lines(path), None), path)


def iter_predictions(folder: Path) -> Iterator[Prediction]:
    """Yield the rows of ``predictions.jsonl`` in `folder` one by one; errors are those of `read_predictions`."""
    path = folder / PREDICTIONS_FILE
    lines = _lines(path)
    _classes(next(lines, None), path)
    for number, line in enumerate(lines, 2):
        yield _row(line, path, number)


def merge_predictions(parts: Iterable[Path], folder: Path) -> None:
    """Write the rows of several predictions files into one, in `folder`, ordered by model, sample and part.

    The order does not depend on how the samples were spread over the parts. Facts are those of the first part.

    Raises:
        StepError: a part is missing or damaged, or the parts have different classes.
    """
    found = [read_predictions(part) for part in parts]
    classes = {predictions.classes for predictions in found}
    if len(classes) > 1:
        raise StepError(f"shards wrote predictions of different classes: {' and '.join(map(str, sorted(classes)))}")
    rows = sorted(
        (row for predictions in found for row in predictions.rows), key=lambda row: (row.model, row.sample, row.part)
    )
    write_predictions(folder, classes.pop(), rows, facts=found[0].facts)


def digest_test_set(predictions: Predictions) -> str:
    """Return the SHA-256 over the samples with their groups and labels, whatever their order.

    It is equal for two models exactly if they were tested on the same data. Each sample counts once per label, however
    many parts a model scores and whichever other models are compared with it.
    """
    rows = sorted({(row.sample, row.group, str(row.label)) for row in predictions.rows if not row.model})
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def _check(row: Prediction, classes: tuple[str, ...]) -> None:
    expected = len(classes) or 1
    if len(row.scores) != expected:
        raise StepError(f"prediction of '{row.sample}' has {len(row.scores)} scores; expected {expected}")
    if not all(map(math.isfinite, row.scores)):
        raise StepError(f"prediction of '{row.sample}' has a score that is not finite: {row.scores}")
    if classes and row.label not in classes:
        raise StepError(f"prediction of '{row.sample}' has the label {row.label!r}, which is none of {classes}")
    if classes and row.interval:
        raise StepError(f"prediction of '{row.sample}' has an interval; it belongs to a number, not to a class")
    if not classes and not _is_finite_number(row.label):
        raise StepError(
            f"prediction of '{row.sample}' has the label {row.label!r}; without classes it must be a finite number"
        )


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _fields(row: Prediction) -> dict[str, object]:
    """Return a row as JSON types; without keys for the interval and the model where there is none."""
    fields: dict[str, object] = {
        "sample": row.sample,
        "part": row.part,
        "group": row.group,
        "label": row.label,
        "scores": row.scores,
    }
    if row.interval:
        fields["interval"] = (row.interval.low, row.interval.high, row.interval.level)
    if row.model:
        fields["model"] = row.model
    return fields


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as stream:
            yield from stream
    except (OSError, UnicodeDecodeError) as error:
        raise StepError(f"{path} cannot be read: {error}") from error


def _classes(line: str | None, path: Path) -> tuple[str, ...]:
    try:
        header = json.loads(line or "null")
        if header["format"] == _FORMAT:
            return tuple(header["classes"])
    except (ValueError, KeyError, TypeError):
        pass
    raise StepError(f"{path} (line 1): expected a header with the format {_FORMAT!r}")


def _facts(line: str | None, path: Path) -> dict[str, float]:
    found = json.loads(line or "{}").get("facts", {})
    if not isinstance(found, dict) or not all(map(_is_finite_number, found.values())):
        raise StepError(f"{path} (line 1): facts {found!r} are not finite numbers by name")
    return found


def _row(line: str, path: Path, number: int) -> Prediction:
    try:
        data = json.loads(line)
        if "interval" in data:
            low, high, level = map(float, data["interval"])
            from mlops_core.predictors import Interval

            data["interval"] = Interval(low=low, high=high, level=level)
        return Prediction(**{**data, "scores": tuple(data["scores"])})
    except (ValueError, KeyError, TypeError) as error:
        raise StepError(f"{path} (line {number}) is not a prediction: {error}") from error
