"""Folds with the same distribution of the target that keep groups together, and how ``split.csv`` holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_core import SplitRow, read_split, write_split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_tabular_regression.tables.storage import StoredTable

TRAIN, TEST = "train", "test"


def assign_folds(
    target: NDArray[np.float64], groups: NDArray[np.int64], *, folds: int, seed: int | list[int]
) -> NDArray[np.int16]:
    """Return the fold of each row, from 1.

    Groups are ordered by the mean of their target, ties at random; of each `folds` neighbours, one goes to each fold.

    Args:
        target: target of each row, (rows,).
        groups: group of each row, (rows,); rows of one group belong to one fold.
        folds: number of folds.
        seed: random seed.
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


def write_folds(folder: Path, table: StoredTable, folds: NDArray[np.int16], *, test_fold: int) -> None:
    """Write ``split.csv`` into `folder`: one row per row of the table, in its order, with the fold as a column."""
    write_split(
        folder,
        (
            SplitRow(
                sample=table.sample(index),
                group=table.group(index),
                label=f"{label:.10g}",
                part=TEST if fold == test_fold else TRAIN,
                columns={"fold": str(fold)},
            )
            for index, (fold, label) in enumerate(zip(folds.tolist(), table.target.tolist(), strict=True))
        ),
    )


def rows_of_part(folder: Path, part: str) -> NDArray[np.intp]:
    """Return the positions of the rows of the table that ``split.csv`` in `folder` assigns to `part`.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    return np.flatnonzero(np.fromiter((row.part == part for row in read_split(folder)), dtype=bool))
