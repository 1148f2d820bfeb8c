"""The formats of an answer: JSON, JSON lines and CSV. A number has the same digits in each, enough to restore its bits.

* JSON: ``{"predictions": [...]}``, one object per sample, with the keys of ``mlops predict --json``.
* JSON lines: one such object per line.
* Of a model that finds objects, JSON has ``objects`` in place of ``scores``, a list of label, score and box; CSV has
  one line per object with label, score, left, top, right and bottom.
* CSV: one line per sample: the best class and the score of each class in the order of the model; for a regression the
  number and the ends of its interval, if the model returns one. No heading, unless the request asks for
  ``text/csv; header=present``.

Where the answers of many files are put together, each names its file: the key ``path`` in JSON lines; in CSV the
columns path and sample come first, and a regression always has the columns of an interval. A picture without objects
has no line in CSV.
"""

from __future__ import annotations

import json
import math
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any

from mlops_core.errors import DatasetError
from mlops_core.evaluation.reference_statistics import DESCRIPTION, MOST_OBSERVED
from mlops_core.predictors import Detection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlops_core.predictors import SampleScores

_LOGGED_SAMPLES = 16
_OBJECT_COLUMNS = ("label", "score", "left", "top", "right", "bottom")
_QUOTED = frozenset('",\r\n')


class AnswerFormat(StrEnum):
    """A format of answers; the values are media types."""

    JSON = "application/json"
    JSON_LINES = "application/jsonlines"
    CSV = "text/csv"


def encoded(
    answers: Sequence[SampleScores],
    classes: Sequence[str],
    *,
    kind: AnswerFormat,
    has_heading: bool = False,
    name: str | None = None,
) -> bytes:
    """Return the body of an answer; with `name`, each line of JSON lines or CSV names its file by it."""
    if name is not None:
        return _named(answers, classes, kind=kind, name=name)
    if kind is AnswerFormat.JSON:
        return _json({"predictions": [prediction(answer, classes) for answer in answers]}).encode()
    if kind is AnswerFormat.JSON_LINES:
        return "".join(f"{_json(prediction(answer, classes))}\n" for answer in answers).encode()
    rows = [*([_heading(answers, classes)] if has_heading else [])]
    for answer in answers:
        rows += map(iter, _object_rows(answer)) if isinstance(answer, Detection) else [_row(answer, classes)]
    return b"".join(map(_csv_line, rows))


def named_heading(classes: Sequence[str], *, has_objects: bool = False) -> bytes:
    """Return the first line of a CSV file whose lines name their files.

    Args:
        classes: in the order of the scores.
        has_objects: the lines are those of objects with boxes.
    """
    columns = ("class", *classes) if classes else ("prediction", "low", "high")
    if has_objects:
        columns = _OBJECT_COLUMNS
    return _csv_line(("path", "sample", *columns))


def _named(answers: Sequence[SampleScores], classes: Sequence[str], *, kind: AnswerFormat, name: str) -> bytes:
    if kind is AnswerFormat.CSV:
        if len({isinstance(answer, Detection) for answer in answers}) > 1:
            raise DatasetError(f"{name}: some answers are objects with boxes, and some are not; write .jsonl")
        rows = ((name, answer.sample, *cells) for answer in answers for cells in _cells(answer, classes))
        return b"".join(map(_csv_line, rows))
    documents = ({"path": name, **prediction(answer, classes)} for answer in answers)
    return "".join(f"{_json(document)}\n" for document in documents).encode()


def _cells(answer: SampleScores, classes: Sequence[str]) -> Iterator[Iterable[str]]:
    """Yield the further cells of each line of an answer."""
    if isinstance(answer, Detection):
        yield from _object_rows(answer)
    else:
        yield (*_row(answer, classes), *_padding(answer, classes))


def _padding(answer: SampleScores, classes: Sequence[str]) -> tuple[str, ...]:
    return () if classes or answer.interval else ("", "")


def prediction(answer: SampleScores, classes: Sequence[str]) -> dict[str, Any]:
    """Return an answer as JSON types; a non-finite number becomes None."""
    if isinstance(answer, Detection):
        return {**({"sample": answer.sample} if answer.sample else {}), "objects": answer.objects()}
    scores = [_number(score) for score in answer.scores]
    interval = answer.interval
    return {
        **({"sample": answer.sample} if answer.sample else {}),
        "scores": dict(zip(classes, scores, strict=True)) if classes else scores,
        **({"interval": {"low": interval.low, "high": interval.high, "level": interval.level}} if interval else {}),
    }


def summary(answers: Sequence[SampleScores], classes: Sequence[str], *, observed: str = "") -> dict[str, Any]:
    """Return what the log says about an answer and, for a drift detector, its features.

    Args:
        answers: one per sample.
        classes: in the order of the scores.
        observed: what a drift detector sees: ``scores``, ``description``, or nothing.
    """
    first = answers[:_LOGGED_SAMPLES]
    facts: dict[str, Any] = {"samples": len(answers)}
    if any(isinstance(answer, Detection) for answer in first):
        facts["objects"] = [len(answer.scores) for answer in first]
    elif classes:
        facts["classes"] = [_best(answer, classes) for answer in first]
        facts["scores"] = [_number(max(answer.scores)) for answer in first]
    else:
        facts["values"] = [_number(answer.scores[0]) for answer in first]
    if observed:
        vectors = (answer.description if observed == DESCRIPTION else answer.scores for answer in answers)
        facts["features"] = [list(map(_number, vector)) for vector in islice(vectors, MOST_OBSERVED)]
    return facts


def _best(answer: SampleScores, classes: Sequence[str]) -> str:
    return classes[max(range(len(classes)), key=lambda index: answer.scores[index])]


def _heading(answers: Sequence[SampleScores], classes: Sequence[str]) -> Iterator[str]:
    if any(isinstance(answer, Detection) for answer in answers):
        yield from _OBJECT_COLUMNS
        return
    if classes:
        yield from ("class", *classes)
        return
    yield "prediction"
    if any(answer.interval for answer in answers):
        yield from ("low", "high")


def _object_rows(answer: Detection) -> Iterator[list[str]]:
    for label, score, box in zip(answer.labels, answer.scores, answer.boxes, strict=True):
        yield [label, *(repr(float(value)) for value in (score, *box))]


def _row(answer: SampleScores, classes: Sequence[str]) -> Iterator[str]:
    if classes:
        yield _best(answer, classes)
    yield from (repr(float(score)) for score in answer.scores)
    if answer.interval:
        yield from (repr(float(answer.interval.low)), repr(float(answer.interval.high)))


def _csv_line(row: Iterable[str]) -> bytes:
    return f"{','.join(map(_cell, row))}\n".encode()


def _cell(text: str) -> str:
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if _QUOTED & set(text) else text


def _number(value: float) -> float | None:
    number = float(value)  # of numpy
    return number if math.isfinite(number) else None


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
