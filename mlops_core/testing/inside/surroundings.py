"""Changing surroundings on which no result may depend: the order of listings, and whether inputs are writable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class _Entries:
    """The result of `os.scandir`, in a chosen order."""

    def __init__(self, entries: Iterable[os.DirEntry[Any]]) -> None:
        self._entries = iter(entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[os.DirEntry[Any]]:
        return self._entries

    def __next__(self) -> os.DirEntry[Any]:
        return next(self._entries)

    def close(self) -> None:
        """Nothing is open."""


def reverse_listings() -> None:
    """Reverse the order in which this process lists folders; a file system may list in any order."""
    scandir, listdir = os.scandir, os.listdir

    def reversed_scandir(*arguments: Any) -> _Entries:
        with scandir(*arguments) as entries:
            return _Entries(sorted(entries, key=lambda entry: os.fsencode(entry.name), reverse=True))

    def reversed_listdir(*arguments: Any) -> list[Any]:
        return sorted(listdir(*arguments), key=os.fsencode, reverse=True)

    os.scandir = reversed_scandir  # type: ignore[assignment]
    os.listdir = reversed_listdir  # type: ignore[assignment]


def forbid_writing_elsewhere(folders: Iterable[str]) -> bool:
    """Let this process write only below `folders`, even as root; return False where the system cannot do it."""
    from mlops_core.processes.confinement import confine_writes
    from mlops_core.settings import read_settings

    caches = getattr(read_settings(), "caches", ())
    return confine_writes([*map(Path, folders), Path("/dev"), *caches])
