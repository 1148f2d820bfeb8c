"""The splits of a bundle, and whether the predictions are of their samples."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.datasets.splits import PARTS, read_split
from mlops_core.errors import MlopsError
from mlops_core.quantities import counted
from mlops_core.trust.bundles.differences import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from mlops_core.trust.bundles.envelopes import EvidenceFaultError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledSplit:
    """A split manifest of the bundle, read once.

    Attributes:
        name: the output that holds it, such as ``split.data``.
        counts: part -> number of its samples; '' for samples in no part.
        tested: test sample -> its group and label; every sample where the split has no parts.
        has_digests: whether it has the digest of the content of every sample.
    """

    name: str
    counts: Mapping[str, int]
    tested: Mapping[str, tuple[str, str]]
    has_digests: bool

    @property
    def is_assigned(self) -> bool:
        """Whether any sample is in a part."""
        return any(self.counts[part] for part in PARTS)


@dataclass(slots=True)
class PredictedSample:
    """What the predictions of a sample say about it; one of several classes has several labels."""

    groups: set[str] = field(default_factory=set)
    labels: set[str | float] = field(default_factory=set)


def split_folder(number: int) -> str:
    """Return the folder, below the scratch folder, of a split of the bundle."""
    return f"split-{number}"


def read_bundled_split(folder: Path, name: str) -> BundledSplit:
    """Return a split, read in one pass.

    Raises:
        EvidenceFaultError: it is damaged.
    """
    counts: defaultdict[str, int] = defaultdict(int)
    tested: dict[str, tuple[str, str]] = {}
    everything: dict[str, tuple[str, str]] = {}
    has_digests = True
    try:
        for row in read_split(folder):
            counts[row.part] += 1
            (everything if not row.part else tested if row.part == "test" else {})[row.sample] = (row.group, row.label)
            has_digests &= bool(row.digest)
    except MlopsError as error:
        raise EvidenceFaultError(f"{name}: {str(error).replace(str(folder), 'the bundle')}") from error
    is_assigned = any(counts[part] for part in PARTS)
    return BundledSplit(name=name, counts=counts, tested=tested if is_assigned else everything, has_digests=has_digests)


def part_counts(split: BundledSplit) -> str:
    """Return how many samples each part has, as text."""
    shown = ", ".join(f"{split.counts[part]} {part}" for part in PARTS if split.counts[part])
    return shown or f"{counted(split.counts[''], 'sample')} in folds"


def compare_samples(samples: Mapping[str, PredictedSample], splits: Sequence[BundledSplit]) -> None:
    """Refuse predictions whose groups or labels are not those of the split.

    Raises:
        EvidenceFaultError: the sample is named.
    """
    expected = {sample: facts for split in splits for sample, facts in split.tested.items()}
    for name, found in samples.items():
        sample = name if name in expected else name.rpartition("//")[2]
        group, label = expected[sample]
        if found.groups != {group}:
            raise EvidenceFaultError(
                f"sample '{name}' has the group {_shown(found.groups)}, and '{group}' in the split"
            )
        if not _are_same_labels(found.labels, label):
            raise EvidenceFaultError(
                f"sample '{name}' has the label {_shown(found.labels)}, and '{label}' in the split"
            )


def _shown(values: AbstractSet[str | float] | AbstractSet[str]) -> str:
    return " and ".join(sorted(f"'{value}'" for value in values))


def _are_same_labels(labels: AbstractSet[str | float], text: str) -> bool:
    """Return whether labels are those of a split, where a number is text and several classes are joined by ``|``."""
    if labels in ({text}, set(text.split("|"))):
        return True
    (label, *more) = labels
    if more or isinstance(label, str):
        return False
    try:
        return math.isclose(float(text), label, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
    except ValueError:
        return False
