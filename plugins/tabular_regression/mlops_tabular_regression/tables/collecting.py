"""Join checked batches to one table; find equal rows and assign each row to a group."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from mlops_tabular_regression.config import Policy, Rule
from mlops_tabular_regression.tables.checking import Violation
from mlops_tabular_regression.tables.storage import StoredTable, sample_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlops_tabular_regression.config import RulesSection
    from mlops_tabular_regression.tables.checking import CheckedBatch, Checker
    from mlops_tabular_regression.tables.rows import OpenTable


def collect(batches: Sequence[CheckedBatch], opened: OpenTable, checker: Checker, rules: RulesSection) -> StoredTable:
    """Return the rows of all batches as one table; add a violation to `checker` for each row equal to an earlier one.

    Args:
        batches: the usable rows.
        opened: the table that they come from.
        checker: receives the violations.
        rules: the policy for equal rows.
    """
    if not batches:
        return StoredTable(
            features=np.empty((0, 0)),
            target=np.empty(0),
            rows=np.empty(0, dtype=np.int64),
            groups=np.empty(0, dtype=np.int64),
            ids=np.empty(0, dtype=np.str_),
        )
    features = np.concatenate([batch.features for batch in batches])
    target = np.concatenate([batch.target for batch in batches])
    rows = np.concatenate([batch.rows for batch in batches])
    ids = [text for batch in batches for text in batch.ids]
    groups = [text for batch in batches for text in batch.groups]
    first, is_repeated = find_equal_rows(features, target)
    policy = rules.policy(Rule.DUPLICATE)
    for index in np.flatnonzero(is_repeated):
        checker.add(_duplicate(opened, int(rows[index]), int(rows[first[index]]), policy))
    is_kept = ~is_repeated if policy is Policy.DROP else np.ones(len(target), dtype=bool)
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
    """Return per row the position of the first row with equal columns, and whether that is an earlier row."""
    whole = np.ascontiguousarray(np.column_stack([features, target]) + 0.0)  # +0.0 makes -0.0 equal to 0.0
    as_bytes = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()
    _, first, inverse = np.unique(as_bytes, return_index=True, return_inverse=True)
    first_of_row = first[inverse]
    return first_of_row, first_of_row != np.arange(len(whole))


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
