"""The predictions file, ``predictions.jsonl``: a header and one row per sample or part of a sample.

There are two formats: ``mlops-predictions/1`` with scores of classes or numbers, and ``mlops-detections/1``, whose rows
also have ``truth``, a list of ``{"label", "box"}`` with ``"crowd": true`` for a crowd, and ``found``, a list of
``{"label", "box"}`` whose scores are those of the row. A box is ``[left, top, right, bottom]``.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.errors import StepError
from mlops_core.predictions.boxes import boxes_from_json, boxes_to_json, check_boxes
from mlops_core.predictions.records import Prediction, Predictions
from mlops_core.predictions.rows import PredictionRows
from mlops_core.reading import bounded_lines, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from types import UnionType

PREDICTIONS_FILE = "predictions.jsonl"
_FORMAT = "mlops-predictions/1"
_DETECTIONS = "mlops-detections/1"
_SHOWN_CLASSES = 20
_FEW_ROWS = 5000
"""Up to so many rows, objects take less time than columns, and little memory."""
_NUMBERS = frozenset((int, float))


def write_predictions(
    folder: Path,
    classes: Iterable[str],
    rows: Iterable[Prediction],
    *,
    facts: Mapping[str, float] | None = None,
    has_boxes: bool = False,
) -> None:
    """Write ``predictions.jsonl`` into `folder`, row by row.

    Args:
        folder: where the file is written.
        classes: in the order of the scores; empty for a regression.
        rows: one per sample, or per part of a sample.
        facts: numbers about the model that no row shows; each finite.
        has_boxes: the rows are detections.

    Raises:
        StepError: a row has a wrong number of scores, a score or a number that is not finite, an unknown
            label, an interval around a class, or a box without area.

    Example:
        >>> row = Prediction(sample="clip-1.wav", group="speaker-7", label="yes", scores=(0.2, 0.8))
        >>> write_predictions(Path("."), ["no", "yes"], [row])
        >>> read_predictions(Path(".")).rows == (row,)
        True
    """
    names = tuple(classes)
    header = Header(classes=names, facts=facts or {}, has_boxes=has_boxes)
    write_lines(folder, header, (row_to_line(row, header) for row in rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of a predictions file.

    Attributes:
        classes: in the order of the scores; empty for a regression.
        facts: numbers about the model.
        has_boxes: the rows are detections.
    """

    classes: tuple[str, ...]
    facts: Mapping[str, float] = field(default_factory=dict)
    has_boxes: bool = False


def write_lines(folder: Path, header: Header, lines: Iterable[str]) -> None:
    """Write ``predictions.jsonl`` into `folder` from rows as `row_to_line` returned them."""
    partial = folder / f"{PREDICTIONS_FILE}.partial"
    partial.unlink(missing_ok=True)  # whatever it is: a named pipe would block
    with partial.open("x", encoding="utf-8", newline="\n") as stream:
        data: dict[str, object] = {"format": _DETECTIONS if header.has_boxes else _FORMAT, "classes": header.classes}
        data |= {"facts": dict(header.facts)} if header.facts else {}
        stream.write(json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")
        stream.writelines(lines)
    partial.replace(folder / PREDICTIONS_FILE)


def row_to_line(row: Prediction, header: Header) -> str:
    """Return a row as a line of the file.

    Raises:
        StepError: the row cannot be a prediction below this header.
    """
    _check(row, header)
    return json.dumps(_fields(row, has_boxes=header.has_boxes), ensure_ascii=False, allow_nan=False) + "\n"


def read_predictions(folder: Path) -> Predictions:
    """Return all of ``predictions.jsonl`` in `folder`; many rows are kept as columns (`PredictionRows`).

    Raises:
        StepError: it is missing or damaged; file and line are named.

    Example:
        >>> write_predictions(Path("."), ["no", "yes"], [])
        >>> read_predictions(Path(".")).classes
        ('no', 'yes')
    """
    path = folder / PREDICTIONS_FILE
    lines = _lines(path)
    header = _header(next(lines, None), path)
    rows = (_row(line, path, number, header) for number, line in enumerate(lines, 2))
    few = tuple(itertools.islice(rows, _FEW_ROWS + 1))
    width = len(header.classes) or 1
    kept = few if len(few) <= _FEW_ROWS else PredictionRows.of(itertools.chain(few, rows), width=width)
    return Predictions(classes=header.classes, rows=kept, facts=header.facts, has_boxes=header.has_boxes)


def read_classes(folder: Path) -> tuple[str, ...]:
    """Return the classes of ``predictions.jsonl`` in `folder`, in the order of the scores; empty for a regression.

    Raises:
        StepError: it is missing, or its first line is not a header.
    """
    return read_header(folder).classes


def read_header(folder: Path) -> Header:
    """Return the first line of ``predictions.jsonl`` in `folder`; errors are those of `read_predictions`."""
    path = folder / PREDICTIONS_FILE
    return _header(next(_lines(path), None), path)


def iter_predictions(folder: Path) -> Iterator[Prediction]:
    """Yield the rows of ``predictions.jsonl`` in `folder` one by one; errors are those of `read_predictions`."""
    path = folder / PREDICTIONS_FILE
    lines = _lines(path)
    header = _header(next(lines, None), path)
    for number, line in enumerate(lines, 2):
        yield _row(line, path, number, header)


def _check(row: Prediction, header: Header) -> None:
    classes = header.classes
    if header.has_boxes:
        check_boxes(row, classes)
        return
    if row.truth or row.found:
        raise StepError(f"prediction of '{row.sample}' has boxes; write it with has_boxes=True")
    expected = len(classes) or 1
    if len(row.scores) != expected:
        raise StepError(f"prediction of '{row.sample}' has {len(row.scores)} scores; expected {expected}")
    if not all(map(math.isfinite, row.scores)):
        raise StepError(f"prediction of '{row.sample}' has a score that is not finite: {row.scores}")
    if classes and row.label not in classes:
        shown = ", ".join(map(repr, classes[:_SHOWN_CLASSES])) + (", ..." if len(classes) > _SHOWN_CLASSES else "")
        raise StepError(f"prediction of '{row.sample}' has the label {row.label!r}, which is none of ({shown})")
    if classes and row.interval:
        raise StepError(f"prediction of '{row.sample}' has an interval; it belongs to a number, not to a class")
    if not classes and not _is_finite_number(row.label):
        raise StepError(
            f"prediction of '{row.sample}' has the label {row.label!r}; without classes it must be a finite number"
        )


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _fields(row: Prediction, *, has_boxes: bool) -> dict[str, object]:
    """Return a row as JSON types; without keys for the interval, the model and boxes where there is none."""
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
    if has_boxes:
        fields["truth"], fields["found"] = boxes_to_json(row)
    return fields


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from bounded_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StepError(f"{path} cannot be read: {error}") from error


def _header(line: str | None, path: Path) -> Header:
    try:
        header = parse_json(line or "null")
        if header["format"] in (_FORMAT, _DETECTIONS):
            classes, has_boxes = header["classes"], header["format"] == _DETECTIONS
            if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
                return Header(classes=tuple(classes), facts=_facts(line, path), has_boxes=has_boxes)
    except (ValueError, KeyError, TypeError):
        pass
    raise StepError(f"{path} (line 1): expected a header with the format {_FORMAT!r} or {_DETECTIONS!r}")


def _facts(line: str | None, path: Path) -> dict[str, float]:
    found = parse_json(line or "{}").get("facts", {})
    if not isinstance(found, dict) or not all(map(_is_finite_number, found.values())):
        raise StepError(f"{path} (line 1): facts {found!r} are not finite numbers by name")
    return found


def _row(line: str, path: Path, number: int, header: Header) -> Prediction:
    try:
        data = parse_json(line)
        if "interval" in data:
            low, high, level = map(float, data["interval"])
            from mlops_core.predictors import Interval

            data["interval"] = Interval(low=low, high=high, level=level)
        if header.has_boxes:
            data["truth"], data["found"] = boxes_from_json(data)
        row = Prediction(**{**data, "scores": tuple(data["scores"])})
        _require_types(row)
        _check(row, header)
    except (ValueError, KeyError, TypeError, OverflowError, StepError) as error:
        raise StepError(f"{path} (line {number}) is not a prediction: {error}") from error
    return row


def _require_types(row: Prediction) -> None:
    """Refuse a row whose JSON types are not those of the fields."""
    if (
        type(row.sample) is type(row.group) is type(row.model) is str
        and type(row.part) is int
        and type(row.label) in (str, int, float)
        and _NUMBERS.issuperset(map(type, row.scores))
    ):
        return
    texts: tuple[object, ...] = (row.sample, row.group, row.model)
    others: tuple[tuple[object, type | UnionType], ...] = (
        (row.part, int),
        (row.label, str | int | float),
        *((score, int | float) for score in row.scores),
    )
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(*other) for other in others):
        raise TypeError("a field has the wrong type")
