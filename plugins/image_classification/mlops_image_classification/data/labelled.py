"""One labelled picture of a data set, before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The part of a picture that shows the sign, in pixels, both corners included."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One labelled image file.

    Attributes:
        number: its position among all pictures of the data set, ordered by name.
        name: path below the data set, with forward slashes; unique.
        label: class.
        group: track, or the name of the picture; a group belongs to one part of the split.
        track: track within the class; empty if the group pattern does not match, None if no pattern was applied.
        part: ``train``, ``validation`` or ``test`` where the data set assigns it; else empty.
        region: region of the sign; None for the whole picture.
    """

    number: int = 0
    name: str
    label: str
    group: str
    track: str | None = None
    part: str = ""
    region: Region | None = None


def group_of(name: str, label: str, track: str | None) -> str:
    """Return the track within its class, the same in all parts; without a track, the name of the picture."""
    return f"{label}/{track}" if track else name


def listed(names: Sequence[str], *, separator: str = ", ") -> str:
    """Return the first few of `names` as one text, and the number of the others."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return separator.join(names[:_SHOWN]) + more
