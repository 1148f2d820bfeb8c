"""Matching the columns that a file has with those that the schema declares."""

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
    """Where the declared columns stand in a file.

    Attributes:
        positions: declared column -> its position in each row, from 0.
        unknown: columns of the file that nobody declares.
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
    """Return how many declared columns are among `names`."""
    declared = {normalise_name(column.name) for column in table.columns}
    return len(declared & set(map(normalise_name, names)))


def match_columns(names: Sequence[str], table: TableSection, *, needs_target: bool, where: str) -> MatchedColumns:
    """Return where the declared columns stand among the columns `names` of a file.

    Args:
        names: as the file has them.
        table: what is declared.
        needs_target: whether the target must be there.
        where: file and line, for messages.

    Raises:
        DatasetError: a declared column is missing or stands twice, or an unknown one is there and refused.
    """
    places: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        places.setdefault(normalise_name(name), []).append(position)
    wanted = wanted_columns(table, needs_target=needs_target)
    known = {normalise_name(name) for name in (*wanted, table.target, table.id or "", table.group or "")}
    unknown = tuple(name for name in names if normalise_name(name) not in known)
    _refuse_ambiguous(places, wanted, where=where)
    missing = [name for name in wanted if normalise_name(name) not in places]
    if missing:
        hint = did_you_mean(missing[0], unknown)
        raise DatasetError(f"{where}: no column {_listed(missing)}{hint}; found: {_listed(names)}")
    if unknown and table.unknown_columns == "refuse":
        raise DatasetError(
            f"{where}: {_listed(unknown)} not declared in table.columns, and table.unknown_columns is 'refuse'"
        )
    return MatchedColumns(positions={name: places[normalise_name(name)][0] for name in wanted}, unknown=unknown)


def _refuse_ambiguous(places: Mapping[str, Sequence[int]], wanted: Sequence[str], *, where: str) -> None:
    for name in wanted:
        found = places.get(normalise_name(name), ())
        if len(found) > 1:
            told = " and ".join(str(position + 1) for position in found)
            raise DatasetError(f"{where}: column '{name}' stands {len(found)} times, in columns {told}; expected once")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name[:60]) for name in names[:_SHOWN]) + more
