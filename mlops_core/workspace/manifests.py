"""Manifests: lists of the files of an artifact or a data set, so that a later change can be traced to a file.

``manifests/ab/abcd...`` belongs to the folder whose content has the digest ``abcd...``; each line holds the SHA-256,
the size and the path of one file, as JSON text where it holds a line feed. This module is the only reader and writer of
the format. A manifest only explains: one that is damaged counts as none. Beside it are notes, ``abcd....<name>``: what
follows from the content and takes long to find again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from mlops_core.datasets.digests import TreeFile


REQUESTS_NOTE = "requests"
"""Note at the artifact of a model that is registered at an engine only: digest of its recorded requests."""
_PARTIAL = ".new-"
_BATCH = 1024


class ManifestStore:
    """The manifests of one workspace."""

    def __init__(self, root: Path) -> None:
        """Keep manifests below the folder `root`."""
        self.root = root

    def save(self, digest: str, files: Iterable[TreeFile]) -> None:
        """Write the manifest of a folder with this digest."""
        with self.new() as manifest:
            remaining = iter(files)
            while batch := list(itertools.islice(remaining, _BATCH)):
                manifest.add_all(batch)
            manifest.save(digest)

    @contextlib.contextmanager
    def new(self) -> Iterator[NewManifest]:
        """Return a manifest to which files are added one by one; it is kept only if it is saved."""
        self.root.mkdir(parents=True, exist_ok=True)
        partial = self.root / f"{_PARTIAL}{os.getpid()}-{threading.get_ident()}"
        try:
            with partial.open("wb") as stream:
                yield NewManifest(partial, stream, place=self._path)
        finally:
            partial.unlink(missing_ok=True)

    def save_note(self, digest: str, name: str, text: str) -> None:
        """Keep a note about the folder with this digest; where nothing can be written, it has to be found again."""
        with contextlib.suppress(OSError):
            self._write(self._note_path(digest, name), text)

    def find_note(self, digest: str, name: str) -> str | None:
        """Return a note about the folder with this digest; None for none."""
        try:
            return self._note_path(digest, name).read_bytes().decode(errors="surrogateescape")
        except OSError:
            return None

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            partial.write_bytes(text.encode(errors="surrogateescape"))
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def has(self, digest: str) -> bool:
        """Return whether a manifest of the folder with this digest was kept."""
        return self._path(digest).is_file()

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
        """Remove the manifest of a folder that was removed, and the notes about it."""
        self._path(digest).unlink(missing_ok=True)
        for path in self._path(digest).parent.glob(f"{digest}.*"):
            path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest

    def _note_path(self, digest: str, name: str) -> Path:
        return self._path(digest).with_name(f"{digest}.{name}")


class NewManifest:
    """A manifest that is being written."""

    def __init__(self, partial: Path, stream: BinaryIO, *, place: Callable[[str], Path]) -> None:
        """Use `ManifestStore.new`."""
        self._place = place
        self._partial = partial
        self._stream = stream

    def add(self, file: TreeFile) -> TreeFile:
        """Add a file, and return it."""
        self.add_all((file,))
        return file

    def add_all(self, files: Iterable[TreeFile]) -> None:
        """Add files."""
        lines = "".join([f"{file.sha256} {file.size} {path_to_text(file.path)}\n" for file in files])
        self._stream.write(lines.encode(errors="surrogateescape"))

    def save(self, digest: str) -> None:
        """Keep the manifest as that of the folder with this digest."""
        self._stream.flush()
        path = self._place(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._partial.replace(path)


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
