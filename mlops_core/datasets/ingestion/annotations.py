"""Annotations: corrections of labels and new samples, as files that several people put below one prefix.

A file is a CSV table, or JSON Lines, with these fields:

* ``sample``: path of the sample in the data set, with forward slashes;
* ``label``: its label;
* ``at``: when it was decided, as ISO 8601 with a zone; of several, the last one holds, whatever the order of the files;
* ``by``: who decided; optional;
* ``file``: for a new sample, the file beside the annotations that it comes from; empty for a correction.

Other fields are ignored, so that the exports of annotation tools can be used.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.listing import list_data_files
from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_SUFFIXES = (".csv", ".jsonl")
_FIELDS = ("sample", "label", "at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One decision about one sample.

    Attributes:
        sample: path of the sample in the data set.
        label: its label.
        at: when it was decided; aware.
        by: who decided; empty if the file does not say.
        file: relative path of the file of a new sample; empty for a correction.
        origin: file and line that it was read from.
    """

    sample: str
    label: str
    at: dt.datetime
    by: str = ""
    file: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Different labels for one sample.

    Attributes:
        sample: path of the sample.
        winner: the annotation that holds.
        others: those that it replaces, with other labels.
        is_tie: another label was given at the same moment, so that the order of the files decided.
    """

    sample: str
    winner: Annotation
    others: tuple[Annotation, ...]
    is_tie: bool

    def __str__(self) -> str:
        """Return the conflict in one line."""
        others = ", ".join(
            f"{each.label!r}{f' by {each.by}' if each.by else ''} ({each.origin})" for each in self.others
        )
        tie = ", at the same moment" if self.is_tie else ""
        return f"{self.sample}: {self.winner.label!r} ({self.winner.origin}) holds instead of {others}{tie}"


def read_annotations(folder: Path) -> tuple[Annotation, ...]:
    """Return the annotations in the files below a folder, in the order of files and lines.

    Raises:
        DatasetError: a file cannot be read, or an annotation is not complete; the message names file and line.
    """
    found: list[Annotation] = []
    for path in list_data_files(folder).files:
        if not path.endswith(_SUFFIXES):
            continue
        try:
            rows = _csv_rows(folder / path) if path.endswith(".csv") else _json_rows(folder / path)
            found += [_annotation(row, origin=f"{path}:{number}") for number, row in rows]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(
                f"annotations {path} cannot be read: {error}; expected CSV or JSON Lines in UTF-8"
            ) from None
    return tuple(found)


def resolve_annotations(annotations: Iterable[Annotation]) -> tuple[dict[str, Annotation], tuple[Conflict, ...]]:
    """Return sample -> the annotation that holds, and where several labels were given.

    The last one by time holds; of two at the same moment, the one in the later file.
    """
    by_sample: dict[str, list[Annotation]] = {}
    for annotation in annotations:
        by_sample.setdefault(annotation.sample, []).append(annotation)
    held: dict[str, Annotation] = {}
    conflicts = []
    for sample, given in sorted(by_sample.items()):
        ordered = sorted(given, key=lambda each: each.at)  # stable: the later file comes last
        winner = ordered[-1]
        file = next((each.file for each in reversed(ordered) if each.file), "")
        held[sample] = Annotation(**{**_fields(winner), "file": winner.file or file})
        others = tuple(each for each in ordered[:-1] if each.label != winner.label)
        if others:
            is_tie = any(each.at == winner.at for each in others)
            conflicts.append(Conflict(sample=sample, winner=winner, others=others, is_tie=is_tie))
    return held, tuple(conflicts)


def _fields(annotation: Annotation) -> dict[str, Any]:
    return {name: getattr(annotation, name) for name in Annotation.__slots__}


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in _FIELDS if name not in (reader.fieldnames or ())]
        if missing:
            raise DatasetError(
                f"annotations {path.name}: no column {', '.join(missing)}; expected {', '.join(_FIELDS)}"
            )
        for row in reader:
            yield reader.line_num, row


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DatasetError(f"annotations {path.name}:{number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise DatasetError(f"annotations {path.name}:{number}: expected one JSON object per line")
            yield number, row


def _annotation(row: Mapping[str, Any], *, origin: str) -> Annotation:
    values = {name: str(row.get(name) or "").strip() for name in (*_FIELDS, "by", "file")}
    for name in _FIELDS:
        if not values[name]:
            raise DatasetError(f"annotation {origin}: no {name}; each needs sample, label and at")
    if set(values["label"]) & set("/\\") or values["label"].startswith(".") or not values["label"].isprintable():
        raise DatasetError(f"annotation {origin}: {values['label']!r} is not a label; expected a name without slashes")
    for name in ("sample", "file"):
        _check_path(values[name], what=f"annotation {origin}: {name}")
    at = _moment(values.pop("at"), origin)
    return Annotation(**values, at=at, origin=origin)


def _check_path(path: str, *, what: str) -> None:
    parts = path.split("/")
    if path and (path.startswith("/") or "\\" in path or "\0" in path or {"", ".", ".."} & set(parts)):
        raise DatasetError(
            f"{what} is {path!r}, which leaves its folder; expected a relative path with forward slashes"
        )


def _moment(text: str, origin: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise DatasetError(
            f"annotation {origin}: at is {text!r}; expected a time with a zone, such as 2026-11-29T10:00:00Z"
        )
    return moment.astimezone(dt.UTC)
