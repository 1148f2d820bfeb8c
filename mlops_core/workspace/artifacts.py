"""Artifacts: folders kept under the digest of their content, read only, with a list of their files beside them.

``objects/ab/abcd.../`` holds one artifact; ``manifests/ab/abcd...`` which files it, or a data set, holds, so that a
later change can be named. A folder appears by rename, so a reader never sees a part of one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import find_foreign_entry, iter_tree, manifest_of
from mlops_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlops_core.datasets.digests import TreeFile


class ArtifactStore:
    """The artifacts of one workspace."""

    def __init__(self, home: Path) -> None:
        """Keep artifacts below the folder `home`."""
        self.home = home.absolute()
        self.objects = self.home / "objects"
        self.manifests = self.home / "manifests"
        self.work = self.home / "work"

    def artifact_path(self, digest: str) -> Path:
        """Return the folder in which the artifact `digest` is, or would be."""
        return self.objects / digest[:2] / digest

    def has_artifact(self, digest: str) -> bool:
        """Tell whether the artifact is there."""
        return self.artifact_path(digest).is_dir()

    def add_artifact(self, folder: Path) -> str:
        """Move `folder` (in this workspace) into the store and return its digest.

        An artifact that is there already is kept, and `folder` is removed. The files become read only. Files are not
        forced to the disk one by one: after a power cut a damaged artifact is found when it is used, and made again.

        Raises:
            StoreError: something in it is no file of its own, such as a link.
        """
        foreign = find_foreign_entry(folder)
        if foreign:
            raise StoreError(f"{foreign}; an artifact holds files of its own only: copy what is meant")
        files = tuple(iter_tree(folder))
        digest = manifest_of(files).digest
        target = self.artifact_path(digest)
        if target.is_dir():
            shutil.rmtree(folder)
            return digest
        for file in files:
            (folder / file.path).chmod(0o444)
        target.parent.mkdir(exist_ok=True)
        self.save_manifest(digest, files)
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # not: another process was faster with the same content
                raise
            shutil.rmtree(folder)
        return digest

    def artifact_damage(self, digest: str) -> str | None:
        """Read the whole artifact; return what is wrong with it, naming a file where possible, or None."""
        folder = self.artifact_path(digest)
        try:
            files = tuple(iter_tree(folder))
        except OSError as error:
            return f"{error.filename or folder}: {error.strerror}"
        if manifest_of(files).digest == digest:
            return None
        known = self.manifest(digest)
        changed = () if known is None else changed_files(known, {file.path: file.sha256 for file in files})
        return f"{folder / changed[0]} has changed" if changed else f"the content of {folder} has changed"

    def discard_artifact(self, digest: str) -> None:
        """Remove an artifact, so that the step which wrote it is run again when its output is needed."""
        gone = self.work_folder("discarded") / digest
        with contextlib.suppress(FileNotFoundError):
            self.artifact_path(digest).rename(gone)
        shutil.rmtree(gone.parent, ignore_errors=True)

    def save_manifest(self, digest: str, files: Iterable[TreeFile]) -> None:
        """Keep which files a folder with this digest holds, so that a later change can be named."""
        lines = "".join(f"{file.sha256} {file.size} {file.path}\n" for file in files)
        path = self._manifest_path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
        partial.write_text(lines, encoding="utf-8", errors="surrogateescape")
        partial.replace(path)

    def manifest(self, digest: str) -> dict[str, str] | None:
        """Return path -> SHA-256 of the files of a folder with this digest; None when it was not kept."""
        try:
            text = self._manifest_path(digest).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
        rows = (line.split(" ", 2) for line in text.split("\n") if line)
        return {path: sha256 for sha256, _, path in rows}

    def forget_manifest(self, digest: str) -> None:
        """Remove the list of files of a folder that is gone."""
        self._manifest_path(digest).unlink(missing_ok=True)

    def _manifest_path(self, digest: str) -> Path:
        return self.manifests / digest[:2] / digest

    def work_folder(self, prefix: str) -> Path:
        """Return a new, private folder for unfinished work; ``discard_work`` removes what dead processes left."""
        return Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self.work))


def changed_files(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """Return the paths that were added, removed or have another digest, sorted."""
    return tuple(sorted(path for path in {*old, *new} if old.get(path) != new.get(path)))


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the whole new one, also after a crash.

    What UTF-8 cannot express (a file name of other bytes) is written as the escape that JSON reads back.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
