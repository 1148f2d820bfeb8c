"""Manifests: lists of the files of an artifact or a data set, so that a later change can be traced to a file.

``manifests/ab/abcd...`` belongs to the folder whose content has the digest ``abcd...``; each line holds the SHA-256,
the size and the path of one file. This module is the only reader and writer of the format.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlops_core.datasets.digests import TreeFile


class ManifestStore:
    """The manifests of one workspace."""

    def __init__(self, root: Path) -> None:
        """Keep manifests below the folder `root`."""
        self.root = root

    def save(self, digest: str, files: Iterable[TreeFile]) -> None:
        """Write the manifest of a folder with this digest."""
        lines = "".join(f"{file.sha256} {file.size} {file.path}\n" for file in files)
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
        partial.write_text(lines, encoding="utf-8", errors="surrogateescape")
        partial.replace(path)

    def find(self, digest: str) -> dict[str, str] | None:
        """Return path -> SHA-256 for the folder with this digest; None when no manifest was kept."""
        try:
            text = self._path(digest).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
        rows = (line.split(" ", 2) for line in text.split("\n") if line)
        return {path: sha256 for sha256, _, path in rows}

    def discard(self, digest: str) -> None:
        """Remove the manifest of a folder that was removed."""
        self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest


def changed_files(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """Return the paths that were added, removed or have another digest, sorted."""
    return tuple(sorted(path for path in {*old, *new} if old.get(path) != new.get(path)))
