"""Folds of equal target distribution in which rows of one group stay together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
