"""Join checked batches to one table; find equal rows and assign each row to a group."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from mlops_tabular_regression.config import Policy, Rule
from mlops_tabular_regression.tables.checking import Violation
from mlops_tabular_regression.tables.storage import StoredTable, sample_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from mlops_tabular_regression.config import RulesSection
    from mlops_tabular_regression.tables.checking import CheckedBatch, Checker
    from mlops_tabular_regression.tables.rows import OpenTable


def collect(batches: Iterable[CheckedBatch], opened: OpenTable, checker: Checker, rules: RulesSection) -> StoredTable:
    """Return the rows of all batches as one table; add a violation to `checker` for each row equal to an earlier one.

    Args:
        batches: the usable rows; read once.
        opened: the table that they come from.
        checker: receives the violations.
        rules: the policy for equal rows.
    """
    parts: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]] = []
    ids: list[str] = []
    groups: list[str] = []
    for batch in batches:
        parts.append((batch.features, batch.target, batch.rows))
        ids += batch.ids
        groups += batch.groups
    if not parts:
        return StoredTable(
            features=np.empty((0, 0)),
            target=np.empty(0),
            rows=np.empty(0, dtype=np.int64),
            groups=np.empty(0, dtype=np.int64),
            ids=np.empty(0, dtype=np.str_),
        )
    features, target, rows = map(np.concatenate, zip(*parts, strict=True))
    parts.clear()
    first, is_repeated = find_equal_rows(features, target)
    policy = rules.policy(Rule.DUPLICATE)
    for index in np.flatnonzero(is_repeated):
        checker.add(_duplicate(opened, int(rows[index]), int(rows[first[index]]), policy))
    is_kept = ~is_repeated if policy is Policy.DROP and is_repeated.any() else slice(None)
    codes = join_groups(np.unique(groups, return_inverse=True)[1], first) if groups else first
    return StoredTable(
        features=features[is_kept],
        target=target[is_kept],
        rows=rows[is_kept],
        groups=np.asarray(codes, dtype=np.int64)[is_kept],
        ids=np.asarray(_sample_names(ids, rows), dtype=np.str_)[is_kept] if ids else np.empty(0, dtype=np.str_),
    )


def _sample_names(ids: Sequence[str], rows: NDArray[np.int64]) -> list[str]:
    """Return one name per row: its id, with the row's number where the id is empty or appears more than once."""
    counts = Counter(ids)
    return [
        text if text and counts[text] == 1 else f"{text} ({sample_name(row)})".strip()
        for text, row in zip(ids, rows.tolist(), strict=True)
    ]


def find_equal_rows(
    features: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return per row the position of the first row with equal columns, and whether that is an earlier row.

    Only rows that share their hash with another one are compared.
    """
    hashes = _hashes(features, target)
    order = np.argsort(hashes, kind="stable")
    is_shared = np.zeros(len(order), dtype=bool)
    is_shared[1:] = hashes[order][1:] == hashes[order][:-1]
    is_shared[:-1] |= is_shared[1:]
    candidates = np.sort(order[is_shared])
    first_of_row = np.arange(len(target))
    if len(candidates):
        whole = np.column_stack([features[candidates], target[candidates]])
        whole += 0.0  # makes -0.0 equal to 0.0
        as_bytes = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()
        _, first, inverse = np.unique(as_bytes, return_index=True, return_inverse=True)
        first_of_row[candidates] = candidates[first[inverse]]
    return first_of_row, first_of_row != np.arange(len(target))


def _hashes(features: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return a hash of each row, (rows,), equal for rows with equal columns.

    The mixing is the finalizer of SplitMix64. Source: G. Steele, D. Lea, C. Flood, Fast Splittable Pseudorandom Number
    Generators, OOPSLA 2014, fig. 16.
    """
    hashes = np.zeros(len(target), dtype=np.uint64)
    for column in (*features.T, target):
        hashes += np.uint64(0x9E3779B97F4A7C15)
        hashes ^= (column + 0.0).view(np.uint64)
        hashes ^= hashes >> np.uint64(30)
        hashes *= np.uint64(0xBF58476D1CE4E5B9)
        hashes ^= hashes >> np.uint64(27)
        hashes *= np.uint64(0x94D049BB133111EB)
        hashes ^= hashes >> np.uint64(31)
    return hashes


def _duplicate(opened: OpenTable, row: int, earlier: int, policy: Policy) -> Violation:
    return Violation(
        file=opened.path.name,
        row=row,
        line=0,
        column="",
        rule=Rule.DUPLICATE,
        found=f"equal to row {earlier} in every column",
        expected="each row once",
        policy=policy,
    )


def join_groups(groups: NDArray[np.intp], first: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return groups in which rows of one group and equal rows are together.

    Args:
        groups: group of each row, (rows,).
        first: position of the first equal row of each row, (rows,).
    """
    codes = groups.copy()
    while True:
        low = np.minimum(codes, codes[first])
        np.minimum.at(low, first, low)  # joins the group of an equal row with that of the first one
        smallest = np.full(len(codes), len(codes), dtype=codes.dtype)
        np.minimum.at(smallest, groups, low)
        joined = smallest[groups]
        if np.array_equal(joined, codes):
            return joined
        codes = joined
