"""Splits: the samples of each part, the file that holds them, and the check that no group is in two parts.

This module owns the format of ``split.csv``: UTF-8, comma-separated, quoted as `csv` does it, one header row, then one
row per sample. The columns ``sample``, ``group``, ``label`` and ``part`` are required; every other column belongs to
the plugin that writes the file and is read back as text. A sample appears once. Its part is ``train``, ``validation``
or ``test``, or empty where no part is assigned, for example in cross-validation, where a column of the plugin holds the
fold. Bytes of a file name that are not UTF-8 are kept (``surrogateescape``).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, TextIO

from mlops_core.errors import DatasetError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

SPLIT_FILE = "split.csv"
PARTS = ("train", "validation", "test")
_UNASSIGNED = ""
_REQUIRED = ("sample", "group", "label", "part")
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSample:
    """A sample as a split sees it.

    Attributes:
        sample: name of the sample; unique within a data set.
        group: samples of one group, such as the clips of one recording, belong to one part.
        label: class, or target value as text.

    Example:
        >>> SplitSample(sample="clip-1.wav", group="speaker-7", label="yes").group
        'speaker-7'
    """

    sample: str
    group: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow(SplitSample):
    """A row of ``split.csv``.

    Attributes:
        part: ``train``, ``validation`` or ``test``; empty where no part is assigned.
        columns: further columns of the plugin, name -> text; the same names in every row of a file.

    Example:
        >>> SplitRow(sample="clip-1.wav", group="speaker-7", label="yes", part="train").part
        'train'
    """

    part: str
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)


def check_no_leak(split: Mapping[str, Iterable[SplitSample]]) -> None:
    """Raise an error if a group appears in more than one part.

    Args:
        split: part (``train``, ``validation``, ``test``) -> its samples.

    Raises:
        DatasetError: a group is in several parts; the first few are named.

    Example:
        >>> one = SplitSample(sample="clip-1.wav", group="speaker-7", label="yes")
        >>> check_no_leak({"train": [one], "test": []})
    """
    parts_of: defaultdict[str, set[str]] = defaultdict(set)
    for part, samples in split.items():
        for sample in samples:
            parts_of[sample.group].add(part)
    leaks = sorted((group, sorted(parts)) for group, parts in parts_of.items() if len(parts) > 1)
    if leaks:
        shown = ", ".join(f"'{group}' ({' and '.join(parts)})" for group, parts in leaks[:_SHOWN])
        more = f" and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
        raise DatasetError(
            f"split leaks: {len(leaks)} group(s) appear in more than one part: {shown}{more}; split by group"
        )


def write_split(folder: Path, rows: Iterable[SplitRow]) -> None:
    """Write ``split.csv`` into `folder`, row by row.

    Args:
        folder: existing folder; a file from an earlier call is replaced once the new one is complete.
        rows: one per sample, in the order in which `read_split` returns them.

    Raises:
        DatasetError: a sample is empty or appears twice, a part is unknown, or a row has other columns than the first.

    Example:
        >>> write_split(Path("."), [SplitRow(sample="clip-1.wav", group="speaker-7", label="yes", part="test")])
        >>> print(Path("split.csv").read_text(), end="")
        sample,group,label,part
        clip-1.wav,speaker-7,yes,test
    """
    path = folder / SPLIT_FILE
    partial = folder / f"{SPLIT_FILE}.partial"
    checks = _Checks(path)
    columns: tuple[str, ...] | None = None
    with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = _Writer(stream)
        for number, row in enumerate(rows, 2):
            if columns is None:
                columns = tuple(row.columns)
                checks.check_columns(columns)
                writer.write((*_REQUIRED, *columns))
            checks.check(number, row)
            if row.columns.keys() != set(columns):
                raise DatasetError(
                    f"{path} (row {number}): columns {sorted(row.columns)}; expected those of row 2: {sorted(columns)}"
                )
            writer.write((row.sample, row.group, row.label, row.part, *(row.columns[name] for name in columns)))
        if columns is None:
            writer.write(_REQUIRED)
    partial.replace(path)


def read_split(folder: Path, *parts: str) -> Iterator[SplitRow]:
    """Return an iterator over the rows of ``split.csv`` in `folder`, in the order of the file.

    The file is streamed; all of its rows are checked, also those of parts that are not returned.

    Args:
        folder: folder of the file.
        *parts: return the rows of these parts only; without any, all rows.

    Raises:
        DatasetError: at once if a part is unknown, during iteration if the file is missing or damaged, lacks a column,
            or holds an unknown part or a sample twice; file, row and what was expected are named.

    Example:
        >>> write_split(Path("."), [SplitRow(sample="clip-1.wav", group="speaker-7", label="yes", part="test")])
        >>> [row.sample for row in read_split(Path("."), "test")]
        ['clip-1.wav']
    """
    for part in parts:
        if part not in PARTS:
            raise DatasetError(f"unknown part '{part}'; expected {_listed(PARTS)}{did_you_mean(part, PARTS)}")
    return _rows(folder / SPLIT_FILE, frozenset(parts or (*PARTS, _UNASSIGNED)))


class _Checks:
    """The rules for the rows of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._samples: set[str] = set()

    def check_columns(self, names: Iterable[str]) -> None:
        """Raise an error if a plugin's column has no name or one of the required names."""
        for name in names:
            if not name or name in _REQUIRED:
                raise DatasetError(f"{self._path}: column '{name}'; expected a name other than {_listed(_REQUIRED)}")

    def check(self, number: int, row: SplitRow) -> None:
        """Raise an error if row `number` is not valid after the rows before it."""
        problem = ""
        if not row.sample:
            problem = "the sample is empty; expected its name"
        elif row.part not in PARTS and row.part != _UNASSIGNED:
            problem = f"unknown part '{row.part}'; expected {_listed(PARTS)}{did_you_mean(row.part, PARTS)}"
        elif row.sample in self._samples:
            problem = f"sample '{row.sample}' appears twice; expected each sample once"
        if problem:
            raise DatasetError(f"{self._path} (row {number}): {problem}")
        self._samples.add(row.sample)


class _Writer:
    """Writes rows so that `csv.reader` returns the same cells.

    `csv.writer` does not quote a lone carriage return unless the line terminator contains one; a row that has one is
    therefore quoted as a whole.
    """

    def __init__(self, stream: TextIO) -> None:
        self._plain = csv.writer(stream, lineterminator="\n")
        self._quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(self, cells: Sequence[str]) -> None:
        has_return = any("\r" in cell for cell in cells)
        try:
            (self._quoted if has_return else self._plain).writerow(cells)
        except UnicodeEncodeError as error:
            raise DatasetError(f"{SPLIT_FILE}: {error.object!r} cannot be written as UTF-8: {error.reason}") from error


def _rows(path: Path, parts: frozenset[str]) -> Iterator[SplitRow]:
    rows = _cells(path)
    header = next(rows, (1, []))[1]
    columns = _columns_of_header(header, path)
    required = itemgetter(*(header.index(name) for name in _REQUIRED))
    positions = [(name, header.index(name)) for name in columns]
    checks = _Checks(path)
    for number, cells in rows:
        if len(cells) != len(header):
            raise DatasetError(
                f"{path} (row {number}): {len(cells)} cells; expected {len(header)}: {', '.join(header)}"
            )
        sample, group, label, part = required(cells)
        row = SplitRow(
            sample=sample,
            group=group,
            label=label,
            part=part,
            columns={name: cells[position] for name, position in positions},
        )
        checks.check(number, row)
        if part in parts:
            yield row


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each row that is not blank; the header is row 1."""
    number = 0
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            for number, cells in enumerate(csv.reader(stream, strict=True), 1):
                if cells:
                    yield number, cells
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror}; expected a file written by write_split"
        ) from error
    except csv.Error as error:
        raise DatasetError(f"{path} (row {number + 1}): {error}; expected comma-separated cells") from error


def _columns_of_header(header: list[str], path: Path) -> tuple[str, ...]:
    missing = [name for name in _REQUIRED if name not in header]
    if missing:
        raise DatasetError(
            f"{path} (row 1): no column {_listed(missing)}; expected a header with {', '.join(_REQUIRED)}"
        )
    if len(set(header)) != len(header):
        raise DatasetError(f"{path} (row 1): a column appears twice: {', '.join(header)}; expected each name once")
    return tuple(name for name in header if name not in _REQUIRED)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
