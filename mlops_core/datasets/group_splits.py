"""Splits by group: which groups to hold out, and the check that no part and no class of a split is empty.

The check runs after each step whose output holds a ``split.csv``, for every plugin.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from mlops_core.datasets.splits import EMPTY_DIGEST, SPLIT_FILE, iter_members
from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from mlops_core.datasets.splits import SplitSample

_TRAIN, _TEST = "train", "test"
_LABEL_SEPARATOR = "|"
_SHOWN = 5


def hold_out_groups(samples: Iterable[SplitSample], *, share: float, seed: int) -> frozenset[str]:
    """Return groups that together hold about `share` of the samples of each class.

    A group may have samples of several classes, as a speaker says many words. Each class keeps at least one group that
    is not held out, and has one that is, where its groups allow both.

    Args:
        samples: all samples; their labels are classes.
        share: share of each class to hold out, above 0 and below 1.
        seed: random seed.

    Example:
        >>> words = [SplitSample(sample=f"{s}-{w}", group=s, label=w) for s in "abcd" for w in ("yes", "no")]
        >>> len(hold_out_groups(words, share=0.25, seed=1))
        1
    """
    classes_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        classes_of[sample.group][sample.label] += 1
    groups = sorted(classes_of)
    random.Random(seed).shuffle(groups)  # noqa: S311  a split, not a secret
    choice = _Choice(classes_of, share=share)
    for group in groups:
        if choice.is_closer_with(group) and choice.is_possible(group):
            choice.take(group)
    for label in sorted(choice.totals):
        if not choice.taken[label]:
            able = [group for group in groups if classes_of[group][label] and choice.is_possible(group)]
            if able:
                choice.take(min(able, key=lambda group: classes_of[group].total()))
    return frozenset(choice.held)


def join_groups(members: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return group -> name of the joined group, where groups that share a digest are one.

    Copies of a file under another name then stay in one part of a split. A joined group has the name of the first of
    its groups in alphabetical order.

    Args:
        members: group and digest of each sample; an empty digest, and that of an empty file, joins nothing.

    Example:
        >>> join_groups([("speaker-1", "aa"), ("speaker-2", "aa"), ("speaker-3", "bb")])
        {'speaker-1': 'speaker-1', 'speaker-2': 'speaker-1', 'speaker-3': 'speaker-3'}
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[str, str] = {}
    for group, digest in members:
        is_known = digest not in ("", EMPTY_DIGEST)
        low, high = sorted((root(group), root(first.setdefault(digest, group) if is_known else group)))
        parent[high] = low
    return {group: root(group) for group in list(parent)}


class _Choice:
    """The groups that are held out so far."""

    def __init__(self, classes_of: Mapping[str, Counter[str]], *, share: float) -> None:
        self._classes_of = classes_of
        self._share = share
        self.totals: Counter[str] = Counter()
        for classes in classes_of.values():
            self.totals.update(classes)
        self.taken: Counter[str] = Counter()
        self.held: set[str] = set()

    def is_possible(self, group: str) -> bool:
        """Return whether each class keeps samples of other groups."""
        if group in self.held:
            return False
        return all(self.taken[label] + count < self.totals[label] for label, count in self._classes_of[group].items())

    def is_closer_with(self, group: str) -> bool:
        """Return whether the shares of the classes come closer to the wanted one with this group."""
        change = 0.0
        for label, count in self._classes_of[group].items():
            missing = self._share - self.taken[label] / self.totals[label]
            change += (missing - count / self.totals[label]) ** 2 - missing**2
        return change < 0

    def take(self, group: str) -> None:
        """Hold a group out."""
        self.held.add(group)
        self.taken.update(self._classes_of[group])


def check_split_file(folder: Path, *, is_trained: bool, known: Collection[str] = ()) -> None:
    """Refuse the split in `folder` if a part or a class is empty; a folder without a split is accepted.

    Labels that are all numbers are regarded as values unless all of them are `known` as classes. Several classes of a
    sample are joined by ``|``.

    Args:
        folder: output of a step.
        is_trained: whether the pipeline trains a model; without, only test samples are needed.
        known: names of the classes; empty if it is not known whether there are any.

    Raises:
        DatasetError: the file is damaged, there are no test samples or, for a training, no training samples, or a class
            is missing in one of the two parts.
    """
    if not (folder / SPLIT_FILE).is_file():
        return
    counts, classes_of = _counted(folder)
    if not counts:
        return
    needed = (_TRAIN, _TEST) if is_trained else (_TEST,)
    shown = ", ".join(f"{counts[part]} {part}" for part in dict.fromkeys((*needed, *sorted(counts))))
    for part in needed:
        if not counts[part]:
            raise DatasetError(
                f"the {part} part of the split is empty ({shown}): lower the share of the other parts, or add groups; "
                "hold_out_groups splits by group where groups have several classes"
            )
    classes = set().union(*classes_of.values())
    if not is_trained or (all(map(_is_number, classes)) and not classes <= set(known)):
        return
    for part in needed:
        missing = sorted(classes - classes_of[part])
        if missing:
            raise DatasetError(
                f"the {part} part of the split has no sample of {_listed(missing)} ({shown}); expected each class in "
                f"each part: add groups of that class, or leave it out"
            )


def _counted(folder: Path) -> tuple[Counter[str], Mapping[str, set[str]]]:
    """Return samples and classes per part; both empty for a split without parts."""
    counts: Counter[str] = Counter()
    classes_of: defaultdict[str, set[str]] = defaultdict(set)
    for _, _, label, part, _ in iter_members(folder):
        if part:
            counts[part] += 1
            classes_of[part].update(label.split(_LABEL_SEPARATOR))
    return counts, classes_of


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more
