"""Manifests: lists of the files of an artifact or a data set, so that a later change can be traced to a file.

``manifests/ab/abcd...`` belongs to the folder whose content has the digest ``abcd...``; each line holds the SHA-256,
the size and the path of one file, as JSON text where it holds a line feed. This module is the only reader and writer of
the format. A manifest only explains: one that is damaged counts as none.
"""

from __future__ import annotations

import json
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
        lines = "".join(f"{file.sha256} {file.size} {path_to_text(file.path)}\n" for file in files)
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            partial.write_bytes(lines.encode(errors="surrogateescape"))
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def find(self, digest: str) -> dict[str, str] | None:
        """Return path -> SHA-256 for the folder with this digest; None when no manifest was kept."""
        try:
            # Not read_text, which makes a carriage return in a name a line feed.
            text = self._path(digest).read_bytes().decode(errors="surrogateescape")
            rows = (line.split(" ", 2) for line in text.split("\n") if line)
            return {path_from_text(path): sha256 for sha256, _, path in rows}
        except (OSError, ValueError):
            return None

    def discard(self, digest: str) -> None:
        """Remove the manifest of a folder that was removed."""
        self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest


def path_to_text(path: str) -> str:
    """Return a path as text without line feeds."""
    return json.dumps(path) if "\n" in path or path.startswith('"') else path


def path_from_text(text: str) -> str:
    """Return the path that `path_to_text` has written.

    Raises:
        ValueError: it is damaged.
    """
    return str(json.loads(text)) if text.startswith('"') else text


def changed_files(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """Return the paths that were added, removed or have another digest, sorted."""
    return tuple(sorted(path for path in {*old, *new} if old.get(path) != new.get(path)))
