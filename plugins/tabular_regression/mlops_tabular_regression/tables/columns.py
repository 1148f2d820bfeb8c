"""Matching of a file's columns with those that the schema declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core import DatasetError, did_you_mean
from mlops_tabular_regression.config import normalise_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_tabular_regression.config import TableSection

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedColumns:
    """The positions of the declared columns in a file.

    Attributes:
        positions: declared column -> its position in each row, from 0.
        unknown: columns of the file that are not declared.
    """

    positions: Mapping[str, int]
    unknown: tuple[str, ...] = ()

    def remarks(self) -> tuple[str, ...]:
        """Return what a person should know of it."""
        return (f"columns that table.columns does not declare are not used: {_listed(self.unknown)}",) * bool(
            self.unknown
        )


def wanted_columns(table: TableSection, *, needs_target: bool) -> tuple[str, ...]:
    """Return the names that a file must have: features, and for training the target, the id and the group."""
    features = tuple(column.name for column in table.features)
    if not needs_target:
        return features
    return (*features, table.target, *(name for name in (table.id, table.group) if name is not None))


def count_matches(names: Sequence[str], table: TableSection) -> int:
    """Return the number of declared columns among `names`."""
    declared = {normalise_name(column.name) for column in table.columns}
    return len(declared & set(map(normalise_name, names)))


def match_columns(names: Sequence[str], table: TableSection, *, needs_target: bool, where: str) -> MatchedColumns:
    """Return the positions of the declared columns among the columns `names` of a file.

    Args:
        names: columns of the file.
        table: the schema.
        needs_target: whether the target is required.
        where: file and line, for messages.

    Raises:
        DatasetError: a declared column is missing or appears twice, or the file has an unknown column and the schema
            refuses those.
    """
    places: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        places.setdefault(normalise_name(name), []).append(position)
    wanted = wanted_columns(table, needs_target=needs_target)
    declared = {normalise_name(name) for name in (*wanted, table.target, table.id, table.group) if name}
    unknown = tuple(name for name in names if normalise_name(name) not in declared)
    _refuse_ambiguous(places, wanted, where=where)
    missing = [name for name in wanted if normalise_name(name) not in places]
    if missing:
        hint = did_you_mean(missing[0], unknown)
        raise DatasetError(f"{where}: no column {_listed(missing)}{hint}; the file has {_listed(names)}")
    if unknown and table.unknown_columns == "refuse":
        raise DatasetError(
            f"{where}: unknown columns {_listed(unknown)}; declare them in table.columns, or set "
            "table.unknown_columns to report"
        )
    return MatchedColumns(positions={name: places[normalise_name(name)][0] for name in wanted}, unknown=unknown)


def _refuse_ambiguous(places: Mapping[str, Sequence[int]], wanted: Sequence[str], *, where: str) -> None:
    for name in wanted:
        positions = places.get(normalise_name(name), ())
        if len(positions) > 1:
            shown = " and ".join(str(position + 1) for position in positions)
            raise DatasetError(f"{where}: column '{name}' appears {len(positions)} times, at {shown}; expected once")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name[:60]) if name.strip() else "one without a name" for name in names[:_SHOWN]) + more
