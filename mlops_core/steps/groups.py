"""How the rows of a test set divide into groups and samples, as numbers, with little memory for a million of them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.predictions import PredictionRows

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from mlops_core.predictions import Prediction

_BUCKET = 1 << 15
"""Keys are numbered bucket by bucket, so that no more than about so many are in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """Distinct keys of rows, numbered from 0.

    Attributes:
        numbers: row -> number of its key.
        first: number -> the first row that has the key.
    """

    numbers: array[int]
    first: array[int]

    @classmethod
    def of(cls, key: Callable[[int], Hashable], count: int) -> Numbering:
        """Number the keys of `count` rows."""
        buckets = [array("I") for _ in range(count // _BUCKET + 1)]
        for row in range(count):
            buckets[hash(key(row)) % len(buckets)].append(row)
        numbers, first = array("I", bytes(4 * count)), array("I")
        for bucket in buckets:
            known: dict[Hashable, int] = {}
            for row in bucket:
                number = known.setdefault(key(row), len(first))
                numbers[row] = number
                if number == len(first):
                    first.append(row)
        return cls(numbers=numbers, first=first)

    def __len__(self) -> int:
        """Return how many distinct keys there are."""
        return len(self.first)


class SampleGroups:
    """The groups and samples of the rows of a test set."""

    def __init__(self, rows: Sequence[Prediction]) -> None:
        """Number the groups of `rows`."""
        self._rows = rows
        self._name = rows.group if isinstance(rows, PredictionRows) else lambda row: rows[row].group
        self._sample = rows.sample if isinstance(rows, PredictionRows) else lambda row: rows[row].sample
        self._groups = Numbering.of(self._name, len(rows))

    def __len__(self) -> int:
        """Return how many groups there are."""
        return len(self._groups)

    def name(self, group: int) -> str:
        """Return the name of a group."""
        return self._name(self._groups.first[group])

    def without(self, is_left_out: Callable[[int], bool]) -> Sequence[Prediction]:
        """Return the rows of all groups except those for which `is_left_out` holds."""
        return self._selected(row for row, group in enumerate(self._groups.numbers) if not is_left_out(group))

    def members(self, groups: Iterable[int]) -> dict[int, Sequence[Prediction]]:
        """Return the rows of some groups, by group."""
        positions = {group: array("I") for group in groups}
        for row, group in enumerate(self._groups.numbers):
            if group in positions:
                positions[group].append(row)
        return {group: self._selected(found) for group, found in positions.items()}

    def samples(self) -> tuple[int, array[int]]:
        """Return how many samples there are in all groups together, and in each."""
        samples = Numbering.of(self._sample, len(self._rows))
        groups = self._groups.numbers
        pairs = Numbering.of(lambda row: (groups[row], samples.numbers[row]), len(self._rows))
        sizes = array("I", bytes(4 * len(self)))
        for row in pairs.first:
            sizes[groups[row]] += 1
        return len(samples), sizes

    def _selected(self, positions: Iterable[int]) -> Sequence[Prediction]:
        if isinstance(self._rows, PredictionRows):
            return self._rows.select(positions)
        return tuple(self._rows[position] for position in positions)

    def __iter__(self) -> Iterator[int]:
        """Yield the number of each group."""
        return iter(range(len(self)))
