"""Whether the groups of a split follow from the data set itself."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import defaultdict
from itertools import accumulate
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_TABLES = (".csv", ".tsv", ".txt")
_LARGEST_TABLE_BYTES = 64 << 20
_FIELDS = re.compile(r"([/_.\-\s]+)")


def is_explained(groups: Mapping[str, str], dataset: Path) -> bool:
    """Tell whether the groups are sets that the data set gives, or unions of such sets, which leak less.

    Args:
        groups: sample -> group.
        dataset: folder of the data set.
    """
    return any(
        _is_union_of(groups, {name: key[name] for name in groups})
        for key in (*_from_names(groups), *_from_tables(groups, dataset), *_from_files(groups, dataset))
        if key.keys() >= groups.keys()
    )


def _is_union_of(groups: Mapping[str, str], key: Mapping[str, str]) -> bool:
    """Tell whether samples of one key are in one group; a key that most samples have for themselves says nothing."""
    members: defaultdict[str, list[str]] = defaultdict(list)
    for name in groups:
        members[key[name]].append(name)
    linked = sum(len(names) for names in members.values() if len(names) > 1)
    return 2 * linked >= len(groups) and all(len({groups[name] for name in names}) == 1 for names in members.values())


def _from_names(groups: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the beginnings of the names up to each separator, each field, and neighbouring fields."""
    fields = {name: _FIELDS.split(name) for name in groups}
    fewest = min(map(len, fields.values()))
    for count in range(fewest):
        yield {name: list(accumulate(parts))[count] for name, parts in fields.items()}
    for first in range(0, fewest, 2):
        for last in range(first + 1, fewest + 1, 2):
            yield {name: "".join(parts[first:last]) for name, parts in fields.items()}


def _from_tables(groups: Mapping[str, str], dataset: Path) -> Iterator[dict[str, str]]:
    """Yield each column, and each pair of a column with its neighbour, of every table with a column of samples."""
    known = {alias: name for name in groups for alias in (PurePosixPath(name).stem, PurePosixPath(name).name, name)}
    for path in sorted(dataset.rglob("*")):
        if path.suffix.lower() not in _TABLES or path.stat().st_size > _LARGEST_TABLE_BYTES:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        delimiter = max(",;\t", key=text.count)
        rows = list(csv.reader(text.splitlines(), delimiter=delimiter))
        width = min(map(len, rows), default=0)
        for column in range(width):
            named = [(known[row[column]], row) for row in rows if row[column] in known]
            if len(named) >= len(groups):
                for other in range(width):
                    yield {name: row[other] for name, row in named}
                    yield {name: f"{row[other - 1]}/{row[other]}" for name, row in named}


def _from_files(groups: Mapping[str, str], dataset: Path) -> Iterator[dict[str, str]]:
    found = {}
    for name in groups:
        path = dataset / name
        if not path.is_file():
            return
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    yield found
