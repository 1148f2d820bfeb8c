"""The data set that a run uses, made from what arrived: an archive or a folder, and annotations."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import iter_tree, tree_manifest
from mlops_core.datasets.fetching.archives import unpack
from mlops_core.datasets.fetching.trees import check_tree
from mlops_core.datasets.ingestion.annotations import Conflict, read_annotations, resolve_annotations
from mlops_core.datasets.ingestion.labels import Changes, LabelTable, apply_annotations
from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.datasets.digests import StatCache

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingestion:
    """A data set that was made from what arrived.

    Attributes:
        digest: of the data set.
        files: number of its files.
        size_bytes: of all its files.
        source_digest: of the data before annotations were applied.
        annotations: number of annotations.
        changes: what they changed.
        conflicts: where several labels were given.
    """

    digest: str
    files: int
    size_bytes: int
    source_digest: str
    annotations: int = 0
    changes: Changes = field(default_factory=Changes)
    conflicts: tuple[Conflict, ...] = ()

    def summary(self) -> str:
        """Return the ingestion in one line."""
        text = _counted(self.files, "file")
        if self.annotations:
            changes = self.changes
            text += f", {_counted(self.annotations, 'annotation')}: {len(changes.corrected)} corrected"
            text += f", {len(changes.added)} added"
            text += f", {_counted(len(self.conflicts), 'conflict')}" if self.conflicts else ""
        return text

    def to_json(self) -> dict[str, Any]:
        """Return the ingestion as JSON types only; of samples and conflicts, the first hundred."""
        return {
            "format": "mlops-ingestion/1",
            "digest": self.digest,
            "files": self.files,
            "size_bytes": self.size_bytes,
            "source_digest": self.source_digest,
            "annotations": self.annotations,
            "corrected": list(self.changes.corrected[:_SHOWN]),
            "corrected_count": len(self.changes.corrected),
            "added": list(self.changes.added[:_SHOWN]),
            "added_count": len(self.changes.added),
            "conflicts": [str(conflict) for conflict in self.conflicts[:_SHOWN]],
            "conflict_count": len(self.conflicts),
        }


def ingest(
    source: Path,
    destination: Path,
    *,
    annotations: Path | None = None,
    table: LabelTable | None = None,
    cache: StatCache | None = None,
) -> Ingestion:
    """Make a data set from what arrived.

    Args:
        source: an archive, a folder with data, or a folder with nothing but one archive.
        destination: empty or missing folder for the data set.
        annotations: folder with annotations; None for none.
        table: where labels are; None for a folder per class.
        cache: remembers digests of the files of `source`.

    Raises:
        DatasetError: the source is missing, empty, damaged or hostile, or an annotation does not fit it.
    """
    origin = _only_archive(source)
    destination.mkdir(parents=True, exist_ok=True)
    if origin.is_file():
        unpack(origin, destination)
    elif origin.is_dir():
        _copy(origin, destination, cache=cache)
    else:
        raise DatasetError(f"no file or folder {source}; expected the data that arrived")
    check_tree(destination, name=source.name)
    before = tree_manifest(destination)
    if before.count == 0:
        raise DatasetError(f"{source} holds no files; expected an archive or a folder with data")
    given = read_annotations(annotations) if annotations is not None and annotations.is_dir() else ()
    if not given:
        return Ingestion(
            digest=before.digest, files=before.count, size_bytes=before.size_bytes, source_digest=before.digest
        )
    held, conflicts = resolve_annotations(given)
    assert annotations is not None  # noqa: S101  for mypy: there are some
    changes = apply_annotations(destination, held, annotations=annotations, table=table)
    after = tree_manifest(destination)
    return Ingestion(
        digest=after.digest,
        files=after.count,
        size_bytes=after.size_bytes,
        source_digest=before.digest,
        annotations=len(given),
        changes=changes,
        conflicts=conflicts,
    )


def _only_archive(source: Path) -> Path:
    """Return the archive in a folder that holds nothing else, as a service delivers one object; else the source."""
    if not source.is_dir():
        return source
    entries = [entry for entry in source.iterdir() if not entry.name.startswith(".")]
    if len(entries) == 1 and entries[0].is_file() and entries[0].name.lower().endswith(_ARCHIVES):
        return entries[0]
    return source


def _copy(source: Path, destination: Path, *, cache: StatCache | None) -> None:
    """Copy the files that the digest of a folder covers; links are followed, as it follows them."""
    for file in iter_tree(source, cache=cache):
        target = destination / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(os.path.realpath(source / file.path), target)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
