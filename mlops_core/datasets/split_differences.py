"""The difference between two split manifests, and what of the first one's training is tested in the second."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.splits import EMPTY_DIGEST, PARTS, manifest_digest, read_split

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlops_core.datasets.splits import SplitRow

_TRAINED = ("train", "validation")
_TEST = "test"
_FIELDS = ("part", "label", "group", "digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSample:
    """A sample that both splits have, with another part, label, group or content.

    Attributes:
        sample: its name.
        field: ``part``, ``label``, ``group`` or ``digest``.
        earlier: value in the first split.
        later: value in the second one.
    """

    sample: str
    field: str
    earlier: str
    later: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitLeak:
    """A sample that the first split trains or validates on and the second one tests.

    Attributes:
        trained: name of the sample in the first split.
        part: its part there.
        tested: name of the sample in the second split.
        reason: ``same sample``, ``same content`` or ``same group``.
    """

    trained: str
    part: str
    tested: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitDifference:
    """The difference between two splits.

    Attributes:
        digests: SHA-256 of both files.
        counts: part -> samples in the first and in the second split; empty text for no part.
        added: samples of the second split only, in its order.
        removed: samples of the first split only, in its order.
        changed: what changed about the samples of both.
        leaks: what the first split trains on and the second one tests; one reason per tested sample.
    """

    digests: tuple[str, str]
    counts: Mapping[str, tuple[int, int]]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[ChangedSample, ...]
    leaks: tuple[SplitLeak, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the two files are the same."""
        return self.digests[0] == self.digests[1]

    def to_json(self) -> dict[str, Any]:
        """Return the difference as JSON types only."""
        return {
            "is_equal": self.is_equal,
            "digests": list(self.digests),
            "counts": {part: list(counts) for part, counts in self.counts.items()},
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": [
                {"sample": one.sample, "field": one.field, "earlier": one.earlier, "later": one.later}
                for one in self.changed
            ],
            "leaks": [
                {"trained": leak.trained, "part": leak.part, "tested": leak.tested, "reason": leak.reason}
                for leak in self.leaks
            ],
        }


def compare_splits(earlier: Path, later: Path) -> SplitDifference:
    """Return the difference between the manifests in two folders.

    Raises:
        DatasetError: a manifest is missing or damaged.
    """
    first = {row.sample: row for row in read_split(earlier)}
    second = {row.sample: row for row in read_split(later)}
    counts = Counter(row.part for row in first.values()), Counter(row.part for row in second.values())
    parts = [part for part in (*PARTS, "") if counts[0][part] or counts[1][part]]
    return SplitDifference(
        digests=(manifest_digest(earlier), manifest_digest(later)),
        counts={part: (counts[0][part], counts[1][part]) for part in parts},
        added=tuple(sample for sample in second if sample not in first),
        removed=tuple(sample for sample in first if sample not in second),
        changed=tuple(
            ChangedSample(sample=sample, field=name, earlier=getattr(first[sample], name), later=getattr(row, name))
            for sample, row in second.items()
            if sample in first
            for name in _FIELDS
            if _has_changed(first[sample], row, name)
        ),
        leaks=_leaks(first.values(), second.values()),
    )


def _has_changed(earlier: SplitRow, later: SplitRow, name: str) -> bool:
    values = getattr(earlier, name), getattr(later, name)
    is_known = name != "digest" or all(values)
    return is_known and values[0] != values[1]


def _leaks(earlier: Iterable[SplitRow], later: Iterable[SplitRow]) -> tuple[SplitLeak, ...]:
    by_sample: dict[str, SplitRow] = {}
    by_digest: dict[str, SplitRow] = {}
    by_group: dict[str, SplitRow] = {}
    for row in earlier:
        if row.part in _TRAINED:
            by_sample[row.sample] = row
            by_digest.setdefault(row.digest, row)
            by_group.setdefault(row.group, row)
    for unknown in ("", EMPTY_DIGEST):
        by_digest.pop(unknown, None)
    leaks = []
    for row in later:
        if row.part != _TEST:
            continue
        for trained, reason in (
            (by_sample.get(row.sample), "same sample"),
            (by_digest.get(row.digest), "same content"),
            (by_group.get(row.group), "same group"),
        ):
            if trained is not None:
                leak = SplitLeak(trained=trained.sample, part=trained.part, tested=row.sample, reason=reason)
                leaks.append(leak)
                break
    return tuple(leaks)
