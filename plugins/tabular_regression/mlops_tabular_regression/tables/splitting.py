"""Folds with the same distribution of the target that keep groups together, and the files that hold them.

``split.csv`` is what core and people read; ``is_test.npy`` says the same of each row of the table, (rows,), in a form
that the later steps read at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_core import DatasetError, SplitRow, row_digest, write_split
from mlops_tabular_regression.tables.rows import BATCH_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_tabular_regression.tables.storage import StoredTable

TRAIN, TEST = "train", "test"
_IS_TEST = "is_test.npy"


def check_groups(table: StoredTable, *, folds: int) -> None:
    """Refuse a table that has too few groups for the folds.

    Raises:
        DatasetError: there are fewer than two groups per fold.
    """
    count = len(np.unique(table.groups))
    if count < 2 * folds:
        raise DatasetError(
            f"{len(table.target)} rows in {count} groups; {folds} folds need at least {2 * folds} groups: "
            "add rows of other groups, or lower split.folds"
        )


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
    """Write ``split.csv`` into `folder`, one row per row of the table, in its order, with the fold as a column.

    ``is_test.npy`` is written, too.
    """
    np.save(folder / _IS_TEST, folds == test_fold, allow_pickle=False)
    columns = {fold: {"fold": str(fold)} for fold in np.unique(folds).tolist()}
    write_split(
        folder,
        (
            SplitRow(
                sample=sample,
                group=group,
                label=f"{label:.10g}",
                part=TEST if fold == test_fold else TRAIN,
                digest=digest,
                columns=columns[fold],
            )
            for part in _slices(len(folds))
            for digest, sample, group, label, fold in zip(
                _digests(table, part),
                table.samples(part),
                map(str, table.groups[part].tolist()),
                table.target[part].tolist(),
                folds[part].tolist(),
                strict=True,
            )
        ),
    )


def _digests(table: StoredTable, part: slice) -> Iterator[str]:
    """Yield the digest of each row: of its features and its target as decimal texts, NaN for a missing cell."""
    cells = np.column_stack([table.features[part], table.target[part]]) + 0.0  # makes -0.0 equal to 0.0
    for row in cells.tolist():
        yield row_digest(map(repr, row))


def _slices(count: int) -> Iterator[slice]:
    """Yield slices of `count` rows, of which so many are in memory as Python objects at once."""
    for start in range(0, count, BATCH_ROWS):
        yield slice(start, start + BATCH_ROWS)


def rows_of_part(folder: Path, part: str) -> NDArray[np.intp]:
    """Return the positions of the rows of the table that `write_folds` assigned to `part`, in `folder`.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    try:
        is_test = np.load(folder / _IS_TEST, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder / _IS_TEST} cannot be read: {error}; expected a file of the step split") from error
    return np.flatnonzero(is_test if part == TEST else ~is_test)
