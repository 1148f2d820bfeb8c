"""Artifacts: read-only folders, stored under the digest of their content.

``objects/ab/abcd.../`` holds one artifact. A folder appears by rename, so a reader never sees part of one. The list of
its files is kept in the manifests (`mlops_core.workspace.manifests`).
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import iter_tree, manifest_of
from mlops_core.datasets.tree_walk import find_foreign_entry
from mlops_core.errors import StoreError
from mlops_core.workspace.files import new_folder, read_only_mode
from mlops_core.workspace.manifests import changed_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core.datasets.digests import TreeFile
    from mlops_core.workspace.manifests import ManifestStore


class ArtifactStore:
    """The artifacts of one workspace."""

    def __init__(self, root: Path, *, manifests: ManifestStore, work: Path) -> None:
        """Keep artifacts below the folder `root`; `work` is a folder of the same file system for unfinished work."""
        self.root = root
        self._manifests = manifests
        self._work = work

    def path(self, digest: str) -> Path:
        """Return the folder of the artifact `digest`, whether or not it exists."""
        return self.root / digest[:2] / digest

    def has(self, digest: str) -> bool:
        """Return whether the artifact exists."""
        return self.path(digest).is_dir()

    def folders(self) -> Iterator[Path]:
        """Yield the folder of each artifact, sorted by digest; anything else in the store is nobody's business."""
        for shelf in sorted(self.root.iterdir()):
            if shelf.is_dir():
                yield from sorted(path for path in shelf.iterdir() if path == self.path(path.name) and path.is_dir())

    def add(self, folder: Path) -> str:
        """Move `folder` (of the same workspace) into the store and return its digest.

        An artifact that exists already is kept, unless it is damaged, and `folder` is removed. The files become read
        only. They are not synced to the disk one by one: after a power cut, a damaged artifact is detected on use and
        made again.

        Raises:
            StoreError: `folder` holds something other than files and folders of its own, such as a link.
        """
        foreign = find_foreign_entry(folder)
        if foreign:
            raise StoreError(
                f"{foreign}; an artifact may hold only regular files and folders: copy the content instead"
            )
        with self._manifests.new() as manifest:
            digest = manifest_of(map(manifest.add, _made_read_only(folder))).digest
            target = self.path(digest)
            if target.exists():
                if self.damage(digest) is None:
                    shutil.rmtree(folder)
                    return digest
                self.discard(digest)
            manifest.save(digest)
        target.parent.mkdir(exist_ok=True)
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # not: another process was faster with the same content
                raise
            shutil.rmtree(folder)
        return digest

    def damage(self, digest: str) -> str | None:
        """Read the whole artifact and return what is wrong with it, naming a file where possible, or None."""
        folder = self.path(digest)
        try:
            if manifest_of(iter_tree(folder)).digest == digest:
                return None
            files = {file.path: file.sha256 for file in iter_tree(folder)}
        except OSError as error:
            return f"{error.filename or folder}: {error.strerror}"
        manifest = self._manifests.find(digest)
        changed = () if manifest is None else changed_files(manifest, files)
        return f"{folder / changed[0]} has changed" if changed else f"the content of {folder} has changed"

    def discard(self, digest: str) -> None:
        """Remove an artifact, so that the step that wrote it runs again when its output is needed."""
        discarded = new_folder(self._work, "discarded") / digest
        with contextlib.suppress(FileNotFoundError):
            self.path(digest).rename(discarded)
        shutil.rmtree(discarded.parent, ignore_errors=True)


def _made_read_only(folder: Path) -> Iterator[TreeFile]:
    """Yield each file below `folder`, in the order of its path, once it is read only."""
    mode = read_only_mode()
    for file in iter_tree(folder):
        (folder / file.path).chmod(mode)
        yield file
