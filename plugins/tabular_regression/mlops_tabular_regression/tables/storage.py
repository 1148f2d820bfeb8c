"""A checked table on disk: numpy files that are opened without being read, and the names of their columns.

``features.npy`` (rows, features), ``target.npy``, ``rows.npy`` (row numbers in the file), ``groups.npy`` (rows of
one number stay on one side of a split), and ``ids.npy`` where the table has an id column.
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
    """The rows that are used.

    Attributes:
        features: (rows, features); categories as their positions, NaN where a cell is missing.
        target: one number a row.
        rows: number of each row in the file.
        groups: what must not cross a split; equal rows are one group.
        ids: name of each row; empty without an id column.
    """

    features: NDArray[np.float64]
    target: NDArray[np.float64]
    rows: NDArray[np.int64]
    groups: NDArray[np.int64]
    ids: NDArray[np.str_]

    def sample(self, index: int) -> str:
        """Return the name of a row in predictions: its id, else its number in the file."""
        return str(self.ids[index]) if len(self.ids) else sample_name(int(self.rows[index]))

    def group(self, index: int) -> str:
        """Return the name of a row's group."""
        return str(self.groups[index])


def sample_name(row: int) -> str:
    """Return the name of a row without an id."""
    return f"row {row}"


def write_table(folder: Path, table: StoredTable, *, file: str) -> None:
    """Write a table into the new folder `folder`; `file` is where it came from."""
    for name in ("features", "target", "rows", "groups", "ids"):
        np.save(folder / f"{name}.npy", getattr(table, name), allow_pickle=False)
    facts = {"file": file, "rows": len(table.target)}
    (folder / _FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_table(folder: Path) -> StoredTable:
    """Open what `write_table` wrote."""
    found = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("features", "target", "rows", "groups")
    }
    return StoredTable(**found, ids=np.load(folder / "ids.npy", allow_pickle=False))
