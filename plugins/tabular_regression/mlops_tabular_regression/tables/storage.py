"""A checked table on disk: NumPy files that are memory-mapped, and ``table.json``.

``features.npy`` (rows, features), ``target.npy``, ``rows.npy`` (row numbers in the file), ``groups.npy`` (rows of one
group belong to one part of a split) and ``ids.npy`` (empty for a table without an id column).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_FACTS = "table.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTable:
    """The usable rows of a table.

    Attributes:
        features: (rows, features); a category is its position, a missing cell NaN.
        target: (rows,).
        rows: number of each row in the file, (rows,).
        groups: group of each row, (rows,); equal rows are one group.
        ids: name of each row, (rows,); empty without an id column.
    """

    features: NDArray[np.float64]
    target: NDArray[np.float64]
    rows: NDArray[np.int64]
    groups: NDArray[np.int64]
    ids: NDArray[np.str_]

    def samples(self, chosen: NDArray[np.intp] | slice = slice(None)) -> list[str]:
        """Return the names of some rows, as `sample` does."""
        names: NDArray[np.str_] | NDArray[np.int64] = self.ids if len(self.ids) else self.rows
        return [name if isinstance(name, str) else sample_name(name) for name in names[chosen].tolist()]

    def sample(self, index: int) -> str:
        """Return the name of a row in split and predictions: its id, or else its number in the file."""
        return str(self.ids[index]) if len(self.ids) else sample_name(int(self.rows[index]))

    def group(self, index: int) -> str:
        """Return the name of a row's group."""
        return str(self.groups[index])


def sample_name(row: int) -> str:
    """Return the name of a row without an id."""
    return f"row {row}"


def write_table(folder: Path, table: StoredTable, *, file: str) -> None:
    """Write a table into `folder`; `file` is the name of the file that it came from."""
    for name in ("features", "target", "rows", "groups", "ids"):
        np.save(folder / f"{name}.npy", getattr(table, name), allow_pickle=False)
    facts = {"file": file, "rows": len(table.target)}
    (folder / _FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_features(folder: Path, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the features of some rows of the table that `write_table` wrote; the file is in memory only meanwhile."""
    return np.asarray(np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)[chosen])


def read_table(folder: Path) -> StoredTable:
    """Return the table that `write_table` wrote, memory-mapped."""
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("features", "target", "rows", "groups")
    }
    return StoredTable(**arrays, ids=np.load(folder / "ids.npy", allow_pickle=False))
