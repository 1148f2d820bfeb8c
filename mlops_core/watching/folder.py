"""The files of a folder that is watched: which are new, which have changed, and whether they are complete.

The folder itself is the truth, compared with what the journal knows: notices of the system only say when to look. So a
notice that is lost, doubled, late or out of order changes nothing, and what arrived while nobody watched is found.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import file_digest
from mlops_core.datasets.listing import is_hidden_or_tool
from mlops_core.watching.arrivals import Arrival

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

_UNFINISHED = (".part", ".tmp", ".crdownload", ".filepart")
"""How programs call what they have not finished; the file arrives when it is renamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderChanges:
    """What a look at the folder found.

    Attributes:
        arrivals: files that are new or have other content, and no longer change.
        files: path -> (state, digest) of the files that were read.
        removed: paths that are gone.
        is_settling: a file may still be written; look again soon.
    """

    arrivals: tuple[Arrival, ...] = ()
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    is_settling: bool = False


class WatchedFolder:
    """A folder and what is known about its files."""

    def __init__(self, path: Path, *, bucket: str, known: Mapping[str, tuple[str, str]], settle_s: float = 1.0) -> None:
        """Compare the folder with `known`: path -> (state, digest).

        Args:
            path: the folder.
            bucket: the name that it has in rules.
            known: files that were read before.
            settle_s: a file is complete when it has not changed for this long, in seconds.
        """
        self._path = path
        self._bucket = bucket
        self._known = dict(known)
        self._settle_s = settle_s
        self._changing: dict[str, tuple[str, float]] = {}

    def look(self, paths: Collection[str] | None = None) -> FolderChanges:
        """Look at some files, by their relative paths, or at all; those that were changing are always checked.

        Raises:
            OSError: the folder cannot be read.
        """
        chosen = None if paths is None else {*paths, *self._changing}
        seen = dict(self._states() if chosen is None else self._states_of(chosen))
        gone = (set(self._known) if chosen is None else chosen & set(self._known)) - set(seen)
        now = time.monotonic()
        files: dict[str, tuple[str, str]] = {}
        arrivals = []
        for path, state in sorted(seen.items()):
            known = self._known.get(path)
            if known and known[0] == state:
                self._changing.pop(path, None)
                continue
            before = self._changing.get(path)
            if before is None or before[0] != state:
                self._changing[path] = (state, now)
            elif now - before[1] >= self._settle_s:
                read = self._read(path, state)
                if read is None:
                    continue
                del self._changing[path]
                files[path] = (state, read)
                if known is None or known[1] != read:
                    arrivals.append(self._arrival(path, state, read))
        for path in gone:
            self._changing.pop(path, None)
        self._changing = {path: each for path, each in self._changing.items() if chosen is None or path not in gone}
        self._known |= files
        for path in gone:
            del self._known[path]
        return FolderChanges(
            arrivals=tuple(arrivals), files=files, removed=tuple(sorted(gone)), is_settling=bool(self._changing)
        )

    def _read(self, path: str, state: str) -> str | None:
        """Return the digest of a file; None if it changed meanwhile or is gone."""
        try:
            digest = file_digest(self._path / path)
        except OSError:
            self._changing.pop(path, None)
            return None
        return digest if dict(self._states_of([path])).get(path) == state else None

    def _arrival(self, path: str, state: str, digest: str) -> Arrival:
        size = int(state.partition(":")[0])
        return Arrival(bucket=self._bucket, key=path, version=digest, size_bytes=size, at=time.time())

    def _states(self) -> Iterator[tuple[str, str]]:
        top = os.fspath(self._path)
        for parent, folders, names in os.walk(top, onerror=_raise):
            folders[:] = sorted(name for name in folders if not is_hidden_or_tool(name))
            prefix = "" if parent == top else f"{os.path.relpath(parent, top)}/"
            yield from self._states_of(f"{prefix}{name}" for name in names)

    def _states_of(self, paths: Iterator[str] | Collection[str]) -> Iterator[tuple[str, str]]:
        for path in paths:
            if path.endswith(_UNFINISHED) or any(is_hidden_or_tool(part) for part in path.split("/")):
                continue
            try:
                found = (self._path / path).stat()
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield path, f"{found.st_size}:{found.st_mtime_ns}:{found.st_ino}"


def _raise(error: OSError) -> None:
    raise error
