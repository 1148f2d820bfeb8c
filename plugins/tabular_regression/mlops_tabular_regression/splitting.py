"""Folds of equal target distribution in which rows of one group stay together, and ``split.csv`` that tells them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_tabular_regression.table_store import StoredTable

TRAIN, TEST = "train", "test"
SPLIT_FILE = "split.csv"


def assign_folds(
    target: NDArray[np.float64], groups: NDArray[np.int64], *, folds: int, seed: int | list[int]
) -> NDArray[np.int16]:
    """Return the fold of each row, from 1.

    Groups are ordered by the mean of their target, ties by chance; of each `folds` neighbours, one goes to each fold.

    Args:
        target: one number a row.
        groups: rows of one number stay together.
        folds: how many.
        seed: of what is left to chance.
    """
    draw = np.random.default_rng(seed)
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    means = np.bincount(codes, weights=target) / sizes
    order = np.lexsort((draw.random(len(sizes)), means))
    blocks = -(-len(sizes) // folds)
    dealt = np.argsort(draw.random((blocks, folds)), axis=1).ravel()[: len(sizes)] + 1
    fold_of_group = np.empty(len(sizes), dtype=np.int16)
    fold_of_group[order] = dealt
    return fold_of_group[codes]


def write_split(folder: Path, table: StoredTable, folds: NDArray[np.int16], *, test_fold: int) -> None:
    """Write ``split.csv``: sample, part, fold, group and label of each row, in the order of the table."""
    with (folder / SPLIT_FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("sample", "part", "fold", "group", "label"))
        for index, (fold, label) in enumerate(zip(folds.tolist(), table.target.tolist(), strict=True)):
            part = TEST if fold == test_fold else TRAIN
            writer.writerow((table.sample(index), part, fold, table.group(index), f"{label:.10g}"))


def rows_of_part(folder: Path, part: str) -> NDArray[np.intp]:
    """Return which rows of the table ``split.csv`` in `folder` puts into `part`."""
    with (folder / SPLIT_FILE).open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        column = next(rows).index("part")
        return np.flatnonzero(np.fromiter((row[column] == part for row in rows), dtype=bool))
