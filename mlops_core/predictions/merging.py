"""Predictions of several shards in one order, and the digest of the test set, both with little memory."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import tempfile
from contextlib import ExitStack
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from mlops_core.errors import StepError
from mlops_core.predictions.files import (
    PREDICTIONS_FILE,
    iter_predictions,
    read_header,
    row_to_line,
    write_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    from mlops_core.predictions.records import Prediction, Predictions

_CHUNK_BYTES = 4 << 20
"""So much text is sorted in memory at once; what is longer is merged from sorted chunks in temporary files."""
_MOST_CHUNKS = 400

_Keyed: TypeAlias = "tuple[tuple[str, str, int], str]"
"""Model, sample and part of a row, and its line."""


def merge_predictions(parts: Iterable[Path], folder: Path) -> None:
    """Write the rows of several predictions files into one, in `folder`, ordered by model, sample and part.

    The order does not depend on how the samples were spread over the parts. Facts are those of the first part.

    Raises:
        StepError: a part is missing or damaged, or the parts have different classes.
    """
    parts = tuple(parts)
    headers = [read_header(part) for part in parts]
    found = {header.classes for header in headers}
    if len(found) > 1:
        raise StepError(f"shards wrote predictions of different classes: {' and '.join(map(str, sorted(found)))}")
    header = headers[0]
    if any(other.has_boxes != header.has_boxes for other in headers):
        raise StepError("some shards wrote detections, others scores; expected one format")
    rows = itertools.chain.from_iterable(map(iter_predictions, parts))
    keyed = (((row.model, row.sample, row.part), row_to_line(row, header)) for row in rows)
    size = sum((part / PREDICTIONS_FILE).stat().st_size for part in parts)
    with ExitStack() as opened:
        chunks = _chunks(keyed, size=max(_CHUNK_BYTES, size // _MOST_CHUNKS))
        first = next(chunks, [])
        spilled = [_spilled(chunk, opened.enter_context(_temporary(folder))) for chunk in chunks]
        merged = heapq.merge(first, *map(_read_back, spilled), key=itemgetter(0))
        write_lines(folder, header, (line for _, line in merged))


def _chunks(keyed: Iterable[_Keyed], *, size: int) -> Iterator[list[_Keyed]]:
    """Yield the rows in lists of about `size` characters, each sorted."""
    chunk: list[_Keyed] = []
    length = 0
    for item in keyed:
        chunk.append(item)
        length += len(item[1])
        if length >= size:
            yield sorted(chunk, key=itemgetter(0))
            chunk, length = [], 0
    yield sorted(chunk, key=itemgetter(0))


def _temporary(folder: Path) -> TextIO:
    return tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=folder)


def _spilled(chunk: Sequence[_Keyed], stream: TextIO) -> TextIO:
    stream.writelines(f"{json.dumps(key)}\t{line}" for key, line in chunk)  # JSON has no tab
    return stream


def _read_back(stream: TextIO) -> Iterator[_Keyed]:
    stream.seek(0)
    for text in stream:
        key, _, line = text.partition("\t")
        model, sample, part = json.loads(key)
        yield (model, sample, part), line


def digest_test_set(predictions: Predictions) -> str:
    """Return the SHA-256 over the samples with their groups and labels, whatever their order.

    It is equal for two models exactly if they were tested on the same data. Each sample counts once per label, however
    many parts a model scores and whichever other models are compared with it. Of detections, the true boxes count.
    """
    digest = hashlib.sha256(b"[")
    separator = ""
    for identity in _identities(predictions.rows):
        digest.update((separator + json.dumps(identity, ensure_ascii=False)).encode())
        separator = ", "
    digest.update(b"]")
    return digest.hexdigest()


def test_identity(row: Prediction) -> tuple[str, ...]:
    """Return what a row says about the test set; the order of true boxes does not matter."""
    boxes = sorted((box.label, *map(repr, map(float, box.box)), str(box.is_crowd)) for box in row.truth)
    return row.sample, row.group, str(row.label), *(" ".join(cells) for cells in boxes)


def _identities(rows: Sequence[Prediction]) -> Iterable[tuple[str, ...]]:
    """Return the distinct samples with group and label, sorted; one sample at a time where the rows are in order."""
    evaluated = (test_identity(row) for row in rows if not row.model)
    samples = (row.sample for row in rows if not row.model)
    if all(one <= other for one, other in itertools.pairwise(samples)):
        by_sample = itertools.groupby(evaluated, key=itemgetter(0))
        return (identity for _, found in by_sample for identity in sorted(set(found)))
    return sorted(set(evaluated))
