"""The split: which part each picture belongs to, with copies and conflicting labels.

Pictures that are linked, by a common track or by being copies, belong to one part. Parts that the data set assigns are
kept; a training picture that is a copy of a test picture is then left out, so that the test part stays unchanged.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core import DatasetError, SplitSample, check_no_leak
from mlops_image_classification.data.labelled import PARTS, TEST, TRAIN, VALIDATION, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlops_image_classification.config import SplitSection
    from mlops_image_classification.data.fingerprints import Pair
    from mlops_image_classification.data.labelled import Picture

_SMALLEST_PARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A picture that is used.

    Attributes:
        number: number of its record.
        name: name of its file.
        label: class.
        group: name of the set of linked pictures: a track and all copies.
        part: ``train``, ``validation`` or ``test``.
    """

    number: int
    name: str
    label: str
    group: str
    part: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A picture that is not used, with the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The samples, and what was found out about the pictures.

    Attributes:
        samples: ordered by number.
        copies: pairs of pictures by position.
        conflicts: those of the copies whose labels differ.
        left_out: pictures that are not used.
    """

    samples: tuple[Sample, ...]
    copies: tuple[Pair, ...]
    conflicts: tuple[Pair, ...]
    left_out: tuple[LeftOut, ...]


def make_split(pictures: Sequence[Picture], copies: Sequence[Pair], settings: SplitSection, *, seed: int) -> Split:
    """Return the split of `pictures`.

    Exact copies with different labels are left out of every part, because it is unknown which label is wrong. Near
    copies with different labels are listed and stay together.

    Args:
        pictures: all readable pictures.
        copies: pairs of positions in `pictures`.
        settings: shares of the parts, and the handling of conflicts.
        seed: seed of the random draw.

    Raises:
        DatasetError: labels conflict and the settings forbid it, the data set assigns a track to several parts, or a
            part lacks a class.
    """
    conflicts = tuple(pair for pair in copies if pictures[pair.first].label != pictures[pair.second].label)
    left_out = _conflicting(pictures, copies, conflicts, settings)
    left_out |= _copies_of_test(pictures, copies, set(left_out))
    used = [position for position in range(len(pictures)) if position not in left_out]
    sets = _linked(pictures, copies, used)
    assigned = {position: pictures[position].part for position in used}
    _refuse_tracks_in_two_parts(pictures, used)
    if TEST not in assigned.values():
        assigned = _held_out(pictures, sets, assigned, part=TEST, share=settings.test_split, seed=seed)
    if VALIDATION not in assigned.values():
        assigned = _held_out(pictures, sets, assigned, part=VALIDATION, share=settings.validation_split, seed=seed + 1)
    samples = tuple(
        Sample(
            number=pictures[position].number,
            name=pictures[position].name,
            label=pictures[position].label,
            group=sets[position],
            part=assigned[position] or TRAIN,
        )
        for position in used
    )
    _check(samples, classes={picture.label for picture in pictures})
    return Split(
        samples=samples,
        copies=tuple(copies),
        conflicts=conflicts,
        left_out=tuple(LeftOut(name=pictures[k].name, reason=left_out[k]) for k in sorted(left_out)),
    )


def _conflicting(
    pictures: Sequence[Picture], copies: Sequence[Pair], conflicts: Sequence[Pair], settings: SplitSection
) -> dict[int, str]:
    """Return position -> reason for all exact copies with different labels."""
    wrong = {pair.first for pair in conflicts if pair.is_exact}
    if wrong and settings.conflicting_labels == "fail":
        shown = [
            f"{pictures[pair.first].name} ({pictures[pair.first].label}) and {pictures[pair.second].name} "
            f"({pictures[pair.second].label})"
            for pair in conflicts
            if pair.is_exact
        ]
        raise DatasetError(
            f"{len(shown)} pair(s) of exact copies have different labels: {listed(shown)}; correct the labels"
        )
    reasons: dict[int, str] = {}
    for pair in copies:
        if pair.is_exact and pair.first in wrong:
            for position, other in ((pair.first, pair.second), (pair.second, pair.first)):
                reasons.setdefault(position, f"an exact copy has another label: {pictures[other].name}")
    return reasons


def _copies_of_test(pictures: Sequence[Picture], copies: Sequence[Pair], out: set[int]) -> dict[int, str]:
    """Return position -> reason for pictures to leave out because a more important part has a copy of them.

    These are training and validation pictures that are copies of test pictures, and training pictures that are copies
    of validation pictures.
    """
    neighbours: defaultdict[int, set[int]] = defaultdict(set)
    for pair in copies:
        if not {pair.first, pair.second} & out:
            neighbours[pair.first].add(pair.second)
            neighbours[pair.second].add(pair.first)
    reasons: dict[int, str] = {}
    for part in (TEST, VALIDATION):
        waiting = [k for k in neighbours if pictures[k].part == part and k not in reasons]
        reached = {position: pictures[position].name for position in waiting}
        while waiting:
            position = waiting.pop()
            for other in neighbours[position] - reached.keys() - reasons.keys():
                if part == VALIDATION and pictures[other].part == TEST:
                    continue
                reached[other] = reached[position]
                waiting.append(other)
        for position, origin in reached.items():
            if pictures[position].part != part:
                reasons[position] = f"a copy of {origin}, which is in the {part} part"
    return reasons


def _linked(pictures: Sequence[Picture], copies: Sequence[Pair], used: Sequence[int]) -> dict[int, str]:
    """Return position -> name of its set of linked pictures: the first of their group names in alphabetical order."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    is_used = set(used)
    for pair in copies:
        if pair.first in is_used and pair.second in is_used:
            low, high = sorted((root(pictures[pair.first].group), root(pictures[pair.second].group)))
            parent[high] = low
    return {position: root(pictures[position].group) for position in used}


def _refuse_tracks_in_two_parts(pictures: Sequence[Picture], used: Sequence[int]) -> None:
    parts: dict[str, list[SplitSample]] = {part: [] for part in PARTS}
    for position in used:
        picture = pictures[position]
        if picture.part:
            parts[picture.part].append(SplitSample(sample=picture.name, group=picture.group, label=picture.label))
    check_no_leak(parts)


def _held_out(
    pictures: Sequence[Picture],
    sets: dict[int, str],
    assigned: dict[int, str],
    *,
    part: str,
    share: float,
    seed: int,
) -> dict[int, str]:
    """Move whole sets of unassigned or training pictures to `part`, class by class, up to `share` of each class."""
    by_class: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, current in assigned.items():
        if current in ("", TRAIN):
            by_class[pictures[position].label][sets[position]].append(position)
    draw = random.Random(seed)  # noqa: S311  a split, not a secret
    held: set[str] = set()
    for label in sorted(by_class):
        names = sorted(by_class[label])
        draw.shuffle(names)
        wanted = share * sum(len(members) for members in by_class[label].values())
        taken = sum(len(by_class[label][name]) for name in names if name in held)
        for name in [name for name in names if name not in held][:-1]:  # at least one set remains for training
            if taken >= wanted - 0.5 * len(by_class[label][name]) and taken > 0:
                break
            held.add(name)
            taken += len(by_class[label][name])
    return {
        position: part if current in ("", TRAIN) and sets[position] in held else current
        for position, current in assigned.items()
    }


def _check(samples: Sequence[Sample], *, classes: Iterable[str]) -> None:
    parts = {part: [sample for sample in samples if sample.part == part] for part in PARTS}
    check_no_leak(
        {
            part: [SplitSample(sample=sample.name, group=sample.group, label=sample.label) for sample in members]
            for part, members in parts.items()
        }
    )
    for part, members in parts.items():
        lacking = sorted(set(classes) - {sample.label for sample in members})
        if lacking:
            raise DatasetError(
                f"the {part} part has no picture of {listed(lacking)}; expected every class in every part: "
                f"add pictures (at least {_SMALLEST_PARTS} tracks or unrelated pictures per class), or leave the class "
                "out with dataset.class_names"
            )


def of_part(samples: Iterable[Sample], *parts: str) -> list[Sample]:
    """Return the samples that belong to one of `parts`, in their order."""
    return [sample for sample in samples if sample.part in parts]
