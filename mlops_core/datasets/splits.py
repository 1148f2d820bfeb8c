"""Splits: the samples of each part, the manifest that holds them, and the check that no group is in two parts.

This module owns the format of the split manifest, ``split.csv``: UTF-8, comma-separated, quoted as `csv` does it, one
header row, then one row per sample. The columns ``sample``, ``group``, ``label``, ``part`` and ``digest`` are required;
every other column belongs to the plugin that writes the file and is read back as text. A sample appears once. Its part
is ``train``, ``validation`` or ``test``, or empty where no part is assigned, for example in cross-validation, where the
column ``fold`` holds the fold. Its digest is the SHA-256 of its content: of the bytes of its file, or of its row
(`row_digest`). Bytes of a file name that are not UTF-8 are kept (``surrogateescape``). Files from before the column
``digest`` existed are read; their digests are empty.

The digest of a manifest is the SHA-256 of the file (`manifest_digest`), so that ``sha256sum`` confirms it. Rows are in
the order in which the plugin writes them, which depends on the data and the seed alone.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, TextIO

from mlops_core.datasets.digests import file_digest
from mlops_core.errors import DatasetError, did_you_mean
from mlops_core.quantities import counted
from mlops_core.reading import bounded_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

SPLIT_FILE = "split.csv"
PARTS = ("train", "validation", "test")
_UNASSIGNED = ""
DIGEST = "digest"
EMPTY_DIGEST = hashlib.sha256().hexdigest()
"""Digest of an empty file, which holds nothing that could leak: such files are not copies of each other."""
FOLD = "fold"
"""Column with the fold of a sample; where no part is assigned, the folds of a cross-validation."""
_OLD_COLUMNS = ("sample", "group", "label", "part")
_REQUIRED = (*_OLD_COLUMNS, DIGEST)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
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
        digest: SHA-256 of the sample's content (`file_digest`, `row_digest`); `write_split` requires it. Empty only in
            rows of a file from before the column existed.
        columns: further columns of the plugin, name -> text; the same names in every row of a file.

    Example:
        >>> digest = row_digest(["1.5", "yes"])
        >>> SplitRow(sample="clip-1.wav", group="speaker-7", label="yes", part="train", digest=digest).part
        'train'
    """

    part: str
    digest: str = ""
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
            f"split leaks: {counted(len(leaks), 'group', one='appears', more='appear')} in more than one part: "
            f"{shown}{more}; split by group"
        )


def write_split(folder: Path, rows: Iterable[SplitRow]) -> None:
    """Write ``split.csv`` into `folder`, row by row.

    Args:
        folder: existing folder; a file from an earlier call is replaced once the new one is complete.
        rows: one per sample, in the order in which `read_split` returns them.

    Raises:
        DatasetError: a sample is empty or appears twice, a group is empty, a part is unknown, a digest is missing or
            not a SHA-256, or a row has other columns than the first.

    Example:
        >>> digest = row_digest(["1.5"])
        >>> row = SplitRow(sample="clip-1.wav", group="speaker-7", label="yes", part="test", digest=digest)
        >>> write_split(Path("."), [row])
        >>> print(Path("split.csv").read_text(), end="")
        sample,group,label,part,digest
        clip-1.wav,speaker-7,yes,test,6ee9fe2b4e18a401b907f73feaa9b780dd4fd0b81efbd467998d5b015b5eba27
    """
    path = folder / SPLIT_FILE
    partial = folder / f"{SPLIT_FILE}.partial"
    checks = _Checks(path)
    columns: tuple[str, ...] | None = None
    names: set[str] = set()
    with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = _Writer(stream)
        for number, row in enumerate(rows, 2):
            if columns is None:
                columns, names = tuple(row.columns), set(row.columns)
                checks.check_columns(columns)
                writer.write((*_REQUIRED, *columns))
            checks.check(number, row.sample, row.part, row.digest)
            if not row.group.strip():
                raise DatasetError(
                    f"{path} (row {number}): sample '{row.sample}' has no group; expected that of its data set, or the "
                    "name of the sample where it depends on no other"
                )
            if row.columns.keys() != names:
                raise DatasetError(
                    f"{path} (row {number}): columns {sorted(row.columns)}; expected those of row 2: {sorted(names)}"
                )
            cells = (row.sample, row.group, row.label, row.part, row.digest)
            writer.write((*cells, *(row.columns[name] for name in columns)))
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
        >>> digest = row_digest(["1.5"])
        >>> row = SplitRow(sample="clip-1.wav", group="speaker-7", label="yes", part="test", digest=digest)
        >>> write_split(Path("."), [row])
        >>> [row.sample for row in read_split(Path("."), "test")]
        ['clip-1.wav']
    """
    for part in parts:
        if part not in PARTS:
            raise DatasetError(f"unknown part '{part}'; expected {_listed(PARTS)}{did_you_mean(part, PARTS)}")
    return _rows(folder / SPLIT_FILE, frozenset(parts or (*PARTS, _UNASSIGNED)))


def row_digest(cells: Iterable[str]) -> str:
    """Return the digest of a sample that is not a file: the SHA-256 of its cells as a JSON list, in their order.

    Args:
        cells: everything that a model may see of the sample, and its label; not its name.

    Example:
        >>> row_digest(["0.35", "0.265", "15"])[:12]
        'f117106db27e'
    """
    return hashlib.sha256(json.dumps(list(cells), ensure_ascii=False).encode(errors="surrogateescape")).hexdigest()


def manifest_digest(folder: Path) -> str:
    """Return the digest of the manifest in `folder`: the SHA-256 of its ``split.csv``.

    Raises:
        DatasetError: the file cannot be read.
    """
    path = folder / SPLIT_FILE
    try:
        return file_digest(path)
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror}; expected a file written by write_split"
        ) from error


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

    def check(self, number: int, sample: str, part: str, digest: str | None) -> None:
        """Raise an error if row `number` is not valid after the rows before it; without the column, digest is None."""
        problem = ""
        if not sample:
            problem = "the sample is empty; expected its name"
        elif part not in PARTS and part != _UNASSIGNED:
            problem = f"unknown part '{part}'; expected {_listed(PARTS)}{did_you_mean(part, PARTS)}"
        elif sample in self._samples:
            problem = f"sample '{sample}' appears twice; expected each sample once"
        elif digest is not None and not _SHA256.match(digest):
            problem = (
                f"sample '{sample}' has {f'the digest {digest!r}' if digest else 'no digest'}; expected the SHA-256 of "
                "its content: mlops_core.file_digest of its file, or mlops_core.row_digest of its row"
            )
        if problem:
            raise DatasetError(f"{self._path} (row {number}): {problem}")
        self._samples.add(sample)


class _Writer:
    """Writes rows so that `csv.reader` returns the same cells.

    `csv.writer` does not quote a lone carriage return unless the line terminator contains one; a row that has one is
    therefore quoted as a whole.
    """

    def __init__(self, stream: TextIO) -> None:
        self._plain = csv.writer(stream, lineterminator="\n")
        self._quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(self, cells: Sequence[str]) -> None:
        has_return = "\r" in "".join(cells)
        try:
            (self._quoted if has_return else self._plain).writerow(cells)
        except UnicodeEncodeError as error:
            raise DatasetError(f"{SPLIT_FILE}: {error.object!r} cannot be written as UTF-8: {error.reason}") from error


def _rows(path: Path, parts: frozenset[str]) -> Iterator[SplitRow]:
    header: list[str] = []
    positions: list[tuple[str, int]] = []
    for cells, (sample, group, label, part, digest) in _checked_cells(path, header):
        if not positions:
            positions = [(name, position) for position, name in enumerate(header) if name not in _REQUIRED]
        if part in parts:
            yield SplitRow(
                sample=sample,
                group=group,
                label=label,
                part=part,
                digest=digest,
                columns={name: cells[position] for name, position in positions},
            )


def iter_members(folder: Path, *columns: str) -> Iterator[tuple[str, ...]]:
    """Yield sample, group, label, part, digest and the named columns of each row of ``split.csv`` in `folder`.

    As checked as by `read_split`, but without an object for each row. A column that the file lacks is empty.

    Raises:
        DatasetError: as for `read_split`.
    """
    header: list[str] = []
    positions: list[int | None] | None = None
    for cells, required in _checked_cells(folder / SPLIT_FILE, header):
        if positions is None:
            positions = [header.index(name) if name in header else None for name in columns]
        yield (*required, *("" if position is None else cells[position] for position in positions))


def _checked_cells(path: Path, header: list[str]) -> Iterator[tuple[list[str], tuple[str, str, str, str, str]]]:
    """Yield all cells of each row, and the required ones; put the names of all columns into `header` before.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    rows = _cells(path)
    header += next(rows, (1, []))[1]
    _check_header(header, path)
    required = itemgetter(*(header.index(name) for name in _OLD_COLUMNS))
    digests = header.index(DIGEST) if DIGEST in header else None
    checks = _Checks(path)
    width = len(header)
    for number, cells in rows:
        if len(cells) != width:
            raise DatasetError(f"{path} (row {number}): {len(cells)} cells; expected {width}: {', '.join(header)}")
        sample, group, label, part = required(cells)
        digest = None if digests is None else cells[digests]
        checks.check(number, sample, part, digest)
        yield cells, (sample, group, label, part, digest or "")


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each row that is not blank; the header is row 1."""
    number = 0
    try:
        lines = bounded_lines(path, newline="", errors="surrogateescape")
        for number, cells in enumerate(csv.reader(lines, strict=True), 1):
            if cells:
                yield number, cells
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror}; expected a file written by write_split"
        ) from error
    except csv.Error as error:
        raise DatasetError(f"{path} (row {number + 1}): {error}; expected comma-separated cells") from error


def _check_header(header: list[str], path: Path) -> None:
    missing = [name for name in _OLD_COLUMNS if name not in header]
    if missing:
        raise DatasetError(
            f"{path} (row 1): no column {_listed(missing)}; expected a header with {', '.join(_REQUIRED)}"
        )
    if len(set(header)) != len(header):
        raise DatasetError(f"{path} (row 1): a column appears twice: {', '.join(header)}; expected each name once")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
