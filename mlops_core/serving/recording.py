"""Records requests: chooses test samples, and writes them with the answers of a model that is being registered.

``python -m mlops_core.serving.recording ORDER`` is a process of its own, since it loads the model. The order is a file
of JSON with ``use_case``, ``model``, ``predictions``, ``dataset``, ``files`` (path -> SHA-256) and ``output``.

A sample is chosen where the data set has it as a file of a content type that the use case serves, or as a row of such a
file, and where the file is the one that the run read. The answers come from the model itself, as a server would give
them; of rows, only those are kept whose answer is the one that was evaluated.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import file_digest
from mlops_core.deployments.recorded import (
    MOST_BODY_BYTES,
    MOST_BYTES,
    MOST_REQUESTS,
    RecordedRequest,
    write_requests,
)
from mlops_core.errors import MlopsError
from mlops_core.serving.workers.answers import AnswerFormat, encoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mlops_core.predictions import Prediction
    from mlops_core.predictors import ContentType, Predictor

_MOST_TRIED = 32
_TABLE_BYTES = 64 << 20
_ROW = "row "
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class _PossibleRequest:
    """A sample that may become a request: its prediction in the evaluation, its content, and whether it is a row."""

    row: Prediction
    body: bytes
    content_type: ContentType


def main(path: str) -> int:
    """Write the requests to the folder that the order names; print one line where there are none."""
    from mlops_core.predictions import read_predictions
    from mlops_core.use_cases.manager import load_use_case

    order = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        use_case = load_use_case(order["use_case"])
        types = use_case.content_types()
        rows = [row for row in read_predictions(Path(order["predictions"])).rows if not row.part and not row.model]
        source = _SampleFiles(Path(order["dataset"]), order["files"], types)
        candidates = source.candidates(_spread(rows))
        requests = _recorded(use_case.load_predictor(Path(order["model"])), candidates)
    except MlopsError as error:
        sys.stdout.write(f"{error}\n")
        return error.exit_code
    if not requests:
        sys.stdout.write("no test sample is a file, or a row of a file, of a content type that the use case serves\n")
        return 0
    write_requests(Path(order["output"]), requests)
    return 0


def _spread(rows: Sequence[Prediction]) -> Iterator[Prediction]:
    """Yield the rows so that the first few show each class, or values from low to high."""
    if any(isinstance(row.label, str) for row in rows):
        by_label: dict[str, list[Prediction]] = {}
        for row in sorted(rows, key=lambda row: row.sample):
            by_label.setdefault(str(row.label), []).append(row)
        groups = list(by_label.values())
    else:
        ordered = sorted(rows, key=lambda row: (row.label, row.sample))
        size = -(-len(ordered) // MOST_REQUESTS) or 1
        groups = [ordered[begin : begin + size] for begin in range(0, len(ordered), size)]
    for place in range(max(map(len, groups), default=0)):
        yield from (group[place] for group in groups if place < len(group))


class _SampleFiles:
    """The data set that the run read."""

    def __init__(self, folder: Path, files: Mapping[str, str], types: Iterable[ContentType]) -> None:
        self._folder = folder
        self._files = files
        self._types = {each.suffix.lower(): each for each in reversed(tuple(types))}
        self._by_name = {name.rpartition("/")[2]: name for name in files}
        self._lines: list[bytes] | None = None

    def candidates(self, rows: Iterable[Prediction]) -> Iterator[_PossibleRequest]:
        """Yield the candidates among the first rows."""
        for count, row in enumerate(rows):
            if count == _MOST_TRIED:
                return
            if row.sample.startswith(_ROW):
                yield from self._of_table(row)
                continue
            path = row.sample if row.sample in self._files else self._by_name.get(row.sample.rpartition("/")[2], "")
            kind = self._type_of(path)
            if path and kind is not None and not kind.has_rows:
                content = self._content(path, MOST_BODY_BYTES)
                if content is not None:
                    yield _PossibleRequest(row=row, body=content, content_type=kind)

    def _of_table(self, row: Prediction) -> Iterator[_PossibleRequest]:
        """Yield the row of the data set's only table, with and without its first line as a heading."""
        tables = [path for path in self._files if (kind := self._type_of(path)) is not None and kind.has_rows]
        number = row.sample.removeprefix(_ROW)
        if len(tables) != 1 or not number.isdecimal():
            return
        if self._lines is None:
            self._lines = (self._content(tables[0], _TABLE_BYTES) or b"").splitlines(keepends=True)
        kind, lines, index = self._type_of(tables[0]), self._lines, int(number)
        assert kind is not None  # noqa: S101  the condition above
        if index < len(lines):
            yield _PossibleRequest(row=row, body=lines[0] + lines[index], content_type=kind)
        if index <= len(lines):
            yield _PossibleRequest(row=row, body=lines[index - 1], content_type=kind)

    def _type_of(self, path: str) -> ContentType | None:
        suffix = Path(path).suffix.lower()
        return self._types.get({".jpeg": ".jpg", ".tiff": ".tif", ".data": ".csv"}.get(suffix, suffix))

    def _content(self, path: str, limit: int) -> bytes | None:
        """Return the content of a file; None where it is too large, or not the one that the run read."""
        place = self._folder / path
        try:
            if place.stat().st_size > limit or file_digest(place) != self._files[path]:
                return None
            return place.read_bytes()
        except OSError:
            return None


def _recorded(predictor: Predictor, candidates: Iterable[_PossibleRequest]) -> list[RecordedRequest]:
    requests: list[RecordedRequest] = []
    seen: set[str] = set()
    size = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, candidate in enumerate(candidates):
            if len(requests) == MOST_REQUESTS:
                break
            if candidate.row.sample in seen or size + len(candidate.body) > MOST_BYTES:
                continue
            path = Path(folder) / f"request-{number}{candidate.content_type.suffix}"
            path.write_bytes(candidate.body)
            answer = _answer(predictor, path, candidate)
            if answer is not None:
                seen.add(candidate.row.sample)
                size += len(candidate.body)
                requests.append(
                    RecordedRequest(
                        sample=candidate.row.sample,
                        content_type=candidate.content_type.media_type,
                        body=candidate.body,
                        answer=answer,
                    )
                )
    return requests


def _answer(predictor: Predictor, path: Path, candidate: _PossibleRequest) -> dict[str, Any] | None:
    """Return the answer to a request, as a server gives it; None where the body is not the sample."""
    try:
        answers = list(predictor.predict([path]))
    except MlopsError:  # such as a row without its heading
        return None
    if candidate.content_type.has_rows:
        scores = [tuple(map(float, answer.scores)) for answer in answers]
        expected = candidate.row.scores
        is_same = len(scores) == 1 and all(
            abs(found - value) <= _TOLERANCE * max(1.0, abs(value))
            for found, value in zip(scores[0], expected, strict=False)
        )
        if not is_same:
            return None
    document: dict[str, Any] = json.loads(encoded(answers, predictor.classes, kind=AnswerFormat.JSON))
    return document


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
