"""Confusion matrices, and how they are written to ``evaluation.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CELLS_BY_LINE = 100
"""Up to so many classes, a matrix is written cell by cell and by the names of the classes: a few hundred kilobytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionMatrix:
    """Counts of truth (rows) against prediction (columns), square, in the order of `classes`.

    Attributes:
        classes: names.
        counts: one row per true class.
        section: section of ``evaluation.json`` that also holds the matrix as ``confusion_matrix``, class by class, in
            the layout of existing model quality reports, up to 100 classes; empty for none.

    Example:
        >>> ConfusionMatrix(classes=("no", "yes"), counts=((8, 2), (1, 9))).by_name()["no"]
        {'no': 8, 'yes': 2}
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    section: str = ""

    @property
    def is_square(self) -> bool:
        """Whether there is a row and a column for each class."""
        count = len(self.classes)
        return len(self.counts) == count and all(len(row) == count for row in self.counts)

    def by_name(self) -> dict[str, dict[str, int]]:
        """Return true class -> predicted class -> count."""
        return {
            name: dict(zip(self.classes, row, strict=True)) for name, row in zip(self.classes, self.counts, strict=True)
        }

    @property
    def is_large(self) -> bool:
        """Whether it is written once, one line per true class, instead of one line per cell."""
        return len(self.classes) > _CELLS_BY_LINE

    def to_json(self) -> dict[str, Any]:
        """Return the matrix as JSON types only: ``counts``, or ``rows`` of a large one.

        A row is a text of counts, or of those that are not 0 as ``column:count``, whichever is shorter.
        """
        classes = list(self.classes)
        if self.is_large:
            return {"classes": classes, "rows": list(map(_row_to_text, self.counts)), "section": self.section}
        return {"classes": classes, "counts": list(map(list, self.counts)), "section": self.section}


def matrices_from_json(found: object) -> dict[str, ConfusionMatrix]:
    """Return the matrices that `ConfusionMatrix.to_json` wrote, by name; without those that were changed by hand."""
    matrices = {name: _matrix(matrix) for name, matrix in found.items()} if isinstance(found, dict) else {}
    return {name: matrix for name, matrix in matrices.items() if matrix is not None}


def _matrix(data: Any) -> ConfusionMatrix | None:
    try:
        classes = tuple(map(str, data["classes"]))
        return ConfusionMatrix(classes=classes, counts=_counts(data), section=str(data.get("section", "")))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None


def _counts(matrix: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    if "counts" in matrix:
        return tuple(tuple(map(int, row)) for row in matrix["counts"])
    return tuple(_row_from_text(text, len(matrix["classes"])) for text in matrix["rows"])


def _row_to_text(row: Sequence[int]) -> str:
    dense = " ".join(map(str, row))
    sparse = " ".join(f"{column}:{count}" for column, count in enumerate(row) if count)
    return sparse if len(sparse) < len(dense) else dense


def _row_from_text(text: str, size: int) -> tuple[int, ...]:
    if text and ":" not in text:
        return tuple(map(_number, text.split()))
    row: list[int] = [0] * size
    for cell in text.split():
        column, _, count = cell.partition(":")
        if not 0 <= int(column) < size:
            raise ValueError(f"column {column} of a confusion matrix with {size} classes")
        row[int(column)] = _number(count)
    return tuple(row)


def _number(text: str) -> int:
    """Return a count; a plugin may count weights, which are not whole."""
    try:
        return int(text)
    except ValueError:
        return float(text)  # type: ignore[return-value]  # as it was given
