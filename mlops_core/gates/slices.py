"""Finds the slices of a gate that a split does not have, before a model is trained.

The same slices are looked for in the predictions when the model is judged (`mlops_core.gates.evidence`); a gate with
one that does not exist accepts no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import did_you_mean
from mlops_core.gates.clauses import LABEL
from mlops_core.gates.conditions import iter_clauses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlops_core.datasets.splits import SplitRow
    from mlops_core.gates.clauses import Slice
    from mlops_core.gates.gate import Gate

TEST = "test"
_SHOWN = 20


def missing_slice(gate: Gate, rows: Iterable[SplitRow]) -> str:
    """Return which clause of a gate is about a part of the test set that does not exist; empty if all exist.

    Args:
        gate: the gate.
        rows: of the split. Where a row has no part, as in cross-validation, all rows count as the test set.
    """
    clauses = [(str(clause), clause.slice) for clause, _ in iter_clauses(gate.condition) if clause.slice]
    if not clauses:
        return ""
    found = list(rows)
    tested = [row for row in found if row.part == TEST]
    if not tested or not all(row.part for row in found):
        tested = found
    faults = (f"{text}: {fault}" for text, part in clauses if (fault := _fault(part, tested)))
    return next(faults, "")


def _fault(part: Slice, rows: list[SplitRow]) -> str:
    if part.column == LABEL:
        labels = {row.label for row in rows}
        value = part.value
        # A label may name several classes, and a number may be written in several ways.
        if value is None or _is_number(value) or any(value in label for label in labels):
            return ""
        if all(map(_is_number, labels)):  # numbers, or numbers of objects, whose classes the split does not have
            return ""
        return _no_sample(f"class '{value}'", value, labels)
    columns = {name for row in rows for name in row.columns}
    if rows and part.column not in columns:
        known = ", ".join([LABEL, *sorted(columns)])
        return f"the split has no column '{part.column}'{did_you_mean(part.column, columns) or ';'} columns: {known}"
    values = {row.columns[part.column] for row in rows if part.column in row.columns}
    if part.value is None or part.value in values:
        return ""
    return _no_sample(f"'{part.column}' '{part.value}'", part.value, values)


def _no_sample(what: str, value: str, known: set[str]) -> str:
    shown = ", ".join(sorted(known)[:_SHOWN])
    return f"the test set has no sample of {what}{did_you_mean(value, known) or ';'} there are: {shown}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
