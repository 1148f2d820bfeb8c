"""Captured requests of several servers, or tables of features, in the order of their time.

Servers write one line per request, each into files of its own; clocks jump, files overlap, and the last line of a
killed server is torn. Samples are therefore sorted by their time, a line that occurs twice is used once, and what
cannot be read is counted. They are sorted on disk (`mlops_core.serving.drift.replay.sorting`).
"""

from __future__ import annotations

import csv
import json
import math
import re
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_core.errors import DatasetError
from mlops_core.evaluation.reference_statistics import MOST_OBSERVED
from mlops_core.serving.drift.replay.sorting import CapturedSamples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_core.serving.protocols import Exchange, ServingProtocol

_CSV_TYPES = frozenset({"text/csv"})
_LABEL = re.compile(r"(\S+) (version \d+)")
"""A registered version; a model in a folder has the folder's name, which says nothing."""
_FACTS = ("time", "id", "model")
"""Columns of a table of features that are no features."""
_EARLIEST = -62_135_510_400.0
"""Second day of the year 1, in seconds since 1970."""
_LATEST = 2e11
"""In the year 8307: a cool-down after it still ends before the year 9999."""
_DAMAGED = (ValueError, TypeError, OverflowError, RecursionError, csv.Error)
"""What a damaged line raises: it is counted, and the others are used."""


class UndescribedRequestError(ValueError):
    """The plugin failed on the samples of one captured request: it is counted, and the others are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A line of a file: its id, time, model and vectors."""

    id: str
    time: float
    model: str
    vectors: Sequence[Sequence[float | None]]


class CaptureReader:
    """Reads files of captured requests and of features."""

    def __init__(
        self,
        features: Sequence[str],
        *,
        model: str,
        protocols: Sequence[ServingProtocol] = (),
        vectors: Callable[[Exchange], Sequence[Sequence[float | None]]] | None = None,
    ) -> None:
        """Prepare reading.

        Args:
            features: names of the reference's features.
            model: use case and version; requests of another one are refused.
            protocols: that read lines of captured requests.
            vectors: returns the features of the samples of a request; None takes the scores of its answer.
        """
        self._features = tuple(features)
        self._model = model
        self._protocols = protocols
        self._vectors = vectors or (lambda exchange: answer_scores(exchange, self._features))

    def read(self, paths: Iterable[Path]) -> CapturedSamples:
        """Return the samples of all files.

        Args:
            paths: files, or folders in which all files ``*.jsonl`` are read.

        Raises:
            DatasetError: a file is missing, holds no request at all, or one of another model or with other features.
        """
        found = CapturedSamples()
        for path in _files(paths):
            newest = -math.inf
            for at, request in self._requests(path, found):
                self._check_model(request, path, at)
                vectors = [array("d", map(_number, vector)) for vector in request.vectors[:MOST_OBSERVED]]
                if not found.add(request.id, request.time, vectors):
                    found.duplicates += 1
                    continue
                found.requests += 1
                found.beyond += len(request.vectors) - len(vectors)
                found.without_model += re.fullmatch(_LABEL, request.model) is None
                found.late += request.time < newest
                newest = max(newest, request.time)
        return found

    def _check_model(self, request: _Request, path: Path, at: int) -> None:
        found, expected = (re.fullmatch(_LABEL, label) for label in (request.model, self._model))
        if found and expected and found.groups() != expected.groups():
            raise DatasetError(
                f"{path} line {at} was answered by {request.model}, not by {self._model}; choose that model with "
                "--model, or leave the file out"
            )

    def _requests(self, path: Path, found: CapturedSamples) -> Iterator[tuple[int, _Request]]:
        count = before = 0
        reason = ""
        try:
            reader = self._table(path) if path.suffix.lower() == ".csv" else self._lines(path)
            for at, request in reader:
                if isinstance(request, str):
                    before += 1
                    found.leave_out(request)
                    reason = reason or request
                    continue
                count += 1
                yield at, request
        except OSError as error:
            raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
        if not count and reason:
            raise DatasetError(f"{path}: none of its {before} lines can be used; the plugin failed on one: {reason}")
        if not count and before:
            known = " or ".join(["features", *(f"captured requests of '{each.name}'" for each in self._protocols)])
            raise DatasetError(f"{path}: none of its {before} lines can be read; expected {known}")

    def _lines(self, path: Path) -> Iterator[tuple[int, _Request | str]]:
        """Yield number and request of each line; what the plugin said, or nothing, of one that cannot be used."""
        with path.open("rb") as stream:
            for at, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                try:
                    data = json.loads(line)
                    found = self._request(data, f"{path} line {at}") if isinstance(data, dict) else None
                except UndescribedRequestError as error:
                    yield at, str(error)
                except _DAMAGED:
                    yield at, ""
                else:
                    yield at, found or ""

    def _request(self, data: Mapping[str, Any], where: str) -> _Request | None:
        """Return a line's request; None for a line of no known format.

        Raises:
            ValueError, TypeError, OverflowError, csv.Error: it is damaged.
            UndescribedRequestError: the plugin failed on it.
            DatasetError: it has other features.
        """
        if "features" in data and "time" in data:
            return _Request(
                id=str(data.get("id", "")),
                time=_seconds(data["time"]),
                model=str(data.get("model", "")),
                vectors=[self._named(data["features"], where)],
            )
        for protocol in self._protocols:
            exchange = protocol.read_captured(data)
            if exchange is not None:
                try:
                    vectors = self._vectors(exchange)
                except DatasetError as error:
                    raise DatasetError(f"{where}: {error}") from error
                moment = _seconds(exchange.received.timestamp())
                return _Request(id=exchange.request_id, time=moment, model=exchange.model, vectors=vectors)
        return None

    def _named(self, features: object, where: str) -> Sequence[float | None]:
        if isinstance(features, dict):
            if features.keys() != set(self._features):
                raise DatasetError(f"{where}: {_other_names(features, self._features)}")
            features = [features[name] for name in self._features]
        if not isinstance(features, list):
            raise ValueError("features are neither a list nor an object")  # noqa: TRY004  counted as a damaged line
        if len(features) != len(self._features):
            raise DatasetError(f"{where}: {len(features)} features; expected {len(self._features)}")
        return [None if each is None else float(each) for each in features]

    def _table(self, path: Path) -> Iterator[tuple[int, _Request | str]]:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:  # damaged bytes are no number
            reader = csv.DictReader(stream)
            try:
                columns = reader.fieldnames or ()
            except csv.Error as error:
                raise DatasetError(f"{path}: the line of names cannot be read: {error}") from error
            names = [name for name in columns if name not in _FACTS]
            if set(names) != set(self._features):
                raise DatasetError(f"{path}: {_other_names(names, self._features)}")
            has_time = "time" in columns
            while True:
                try:
                    row = next(reader, None)
                    at = reader.line_num
                    if row is None:
                        return
                    vector = [float(row[name]) if row[name].strip() else None for name in self._features]
                    time = _seconds(row["time"]) if has_time else float(at)
                except (AttributeError, *_DAMAGED):  # a short row has None
                    yield reader.line_num, ""
                    continue
                yield at, _Request(id=row.get("id") or "", time=time, model=row.get("model") or "", vectors=[vector])


def answer_scores(exchange: Exchange, features: Sequence[str]) -> list[list[float | None]]:
    """Return the scores of each sample of a captured answer, in the order of the features.

    Raises:
        DatasetError: the answer has other classes.
        ValueError: it is damaged.
    """
    text = exchange.answer.decode("utf-8")
    if exchange.answer_type.partition(";")[0].strip() in _CSV_TYPES:
        return _csv_scores(text, features)
    try:
        data = json.loads(text)
        answers = data["predictions"] if isinstance(data, dict) and "predictions" in data else [data]
    except ValueError:
        answers = [json.loads(line) for line in text.splitlines() if line.strip()]
    found = []
    for answer in answers:
        scores = answer.get("scores") if isinstance(answer, dict) else None
        if isinstance(scores, dict):
            if scores.keys() != set(features):
                raise DatasetError(_other_names(scores, features))
            scores = [scores[name] for name in features]
        if not isinstance(scores, list):
            raise ValueError("the answer has no scores")  # noqa: TRY004  counted as a damaged line
        if len(scores) != len(features):
            raise DatasetError(f"the answer has {len(scores)} numbers; expected {len(features)}")
        found.append([None if each is None else float(each) for each in scores])
    return found


def _csv_scores(text: str, features: Sequence[str]) -> list[list[float | None]]:
    """Return the scores of lines of class and scores, or of a number with or without the ends of its interval."""
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if rows and rows[0][0] in ("class", "prediction"):
        if rows[0][0] == "class" and rows[0][1:] != list(features):
            raise DatasetError(_other_names(rows[0][1:], features))
        rows = rows[1:]
    found: list[list[float | None]] = []
    for row in rows:
        numbers = row[:1] if len(features) == 1 and len(row) in (1, 3) else row[1:]
        if len(numbers) != len(features):
            raise DatasetError(f"the answer has {len(numbers)} numbers; expected {len(features)}")
        found.append([float(each) for each in numbers])
    return found


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _other_names(found: Iterable[str], expected: Sequence[str]) -> str:
    given = list(found)
    more = [f"'{name}' is new" for name in given if name not in expected]
    less = [f"'{name}' is missing" for name in expected if name not in given]
    named = ", ".join([*more, *less][:4]) or "they are repeated"
    return f"the features are not those of the reference ({len(given)} instead of {len(expected)}): {named}"


def _seconds(value: object) -> float:
    """Return a time in seconds since 1970, from a number or ISO 8601; UTC where it has no offset.

    Raises:
        ValueError: it is neither, or not between the years 1 and 8307.
        OverflowError: it is far too large.
    """
    try:
        seconds = float(value)  # type: ignore[arg-type]  # anything else is a TypeError
    except (TypeError, ValueError):
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is no time") from None  # noqa: TRY004  counted as a damaged line
        moment = datetime.fromisoformat(value)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not _EARLIEST <= seconds <= _LATEST:  # NaN is not, either
        raise ValueError(f"{value!r} is no time")
    return seconds


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*.jsonl") if each.is_file())
            if not inside:
                raise DatasetError(f"{path} holds no files *.jsonl")
            yield from inside
        elif not path.is_file():
            raise DatasetError(f"no file {path}")
        else:
            yield path
