"""The samples and files that differ between the data of two runs.

A sample is compared by its row in the split: label, group, part and, where both splits have one, the digest of its
content. A file is compared by the digest that was kept when a run read the data. What is not known is a `Missing`, and
never counts as unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.report.facts import Missing
from mlops_core.report.split_rows import read_split_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.datasets.splits import SplitRow
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

_FIELDS = ("label", "group", "part")
CONTENT = "content"
"""The field of a sample whose content has another digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleChange:
    """A sample that both runs have and that differs.

    Attributes:
        sample: its id.
        fields: ``label``, ``group``, ``part`` or ``content`` -> its earlier and its later value.
    """

    sample: str
    fields: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleChanges:
    """The samples of two splits.

    Attributes:
        added: samples of the later run only, sorted.
        removed: samples of the earlier run only, sorted.
        changed: samples of both that differ, sorted.
        unchanged: number of the others.
        is_content_compared: both splits hold digests of the samples' content.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[SampleChange, ...]
    unchanged: int
    is_content_compared: bool

    @property
    def is_same(self) -> bool:
        """Whether nothing differs, as far as it was compared."""
        return not (self.added or self.removed or self.changed)

    def field_counts(self) -> dict[str, int]:
        """Return field -> number of samples whose value of it changed."""
        names = (*_FIELDS, CONTENT)
        counts = {name: sum(name in change.fields for change in self.changed) for name in names}
        return {name: count for name, count in counts.items() if count}

    def to_json(self) -> dict[str, Any]:
        """Return the changes as JSON types only."""
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": {
                change.sample: {name: {"earlier": old, "later": new} for name, (old, new) in change.fields.items()}
                for change in self.changed
            },
            "unchanged": self.unchanged,
            "is_content_compared": self.is_content_compared,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChanges:
    """The files of two data sets.

    Attributes:
        added: paths of the later data only, sorted.
        removed: paths of the earlier data only, sorted.
        changed: paths with another content, sorted.
        unchanged: number of the others.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: int

    def to_json(self) -> dict[str, Any]:
        """Return the changes as JSON types only."""
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": list(self.changed),
            "unchanged": self.unchanged,
        }


def compare_samples(store: Store, earlier: RunRecord, later: RunRecord) -> SampleChanges | Missing:
    """Return how the samples of two runs differ, by their splits."""
    rows = []
    for record in (earlier, later):
        found = read_split_rows(store, record)
        if isinstance(found, Missing):
            return Missing(f"The samples of run {record.run_id} are not known: {found.reason}")
        rows.append(found)
    return changes_of_rows(*rows)


def changes_of_rows(earlier: Mapping[str, SplitRow], later: Mapping[str, SplitRow]) -> SampleChanges:
    """Return how the rows of two splits differ."""
    both = [sample for sample in earlier if sample in later]
    is_content_compared = bool(both) and all(_digest(rows[sample]) for rows in (earlier, later) for sample in both)
    changed = []
    for sample in sorted(both):
        fields = {
            name: (str(getattr(earlier[sample], name)), str(getattr(later[sample], name)))
            for name in _FIELDS
            if getattr(earlier[sample], name) != getattr(later[sample], name)
        }
        old, new = _digest(earlier[sample]), _digest(later[sample])
        if old and new and old != new:
            fields[CONTENT] = (old, new)
        if fields:
            changed.append(SampleChange(sample=sample, fields=fields))
    return SampleChanges(
        added=tuple(sorted(later.keys() - earlier.keys())),
        removed=tuple(sorted(earlier.keys() - later.keys())),
        changed=tuple(changed),
        unchanged=len(both) - len(changed),
        is_content_compared=is_content_compared,
    )


def _digest(row: SplitRow) -> str:
    return str(getattr(row, "digest", "") or row.columns.get("digest", ""))


def compare_files(store: Store, earlier: RunRecord, later: RunRecord) -> FileChanges | Missing:
    """Return how the files of the data of two runs differ."""
    manifests = []
    for record in (earlier, later):
        if record.dataset is None:
            return Missing(f"Run {record.run_id} read no data.")
        found = store.manifests.find(record.dataset.digest)
        if found is None:
            return Missing(f"No list of the files that run {record.run_id} read was kept.")
        manifests.append(found)
    old, new = manifests
    both = old.keys() & new.keys()
    changed = sorted(path for path in both if old[path] != new[path])
    return FileChanges(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(changed),
        unchanged=len(both) - len(changed),
    )
