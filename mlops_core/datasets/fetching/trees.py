"""What a fetched tree may hold: regular files, folders, and links that stay inside it.

A folder that the user names in ``dataset.path`` is the user's own: its links may lead anywhere, and are followed. A
tree that somebody else wrote must not decide which other files of this machine become data.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LARGEST_POINTER = 1024


def check_tree(folder: Path, *, name: str) -> None:
    """Refuse a tree that reaches outside of `folder`.

    Raises:
        DatasetError: it holds a link that leaves it, or something that is neither a file nor a folder.
    """
    top = os.path.realpath(folder)
    for path in _entries(folder):
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            _check_link(path, folder, top=top, name=name)
        elif not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise DatasetError(f"data set '{name}' holds '{path.relative_to(folder)}', a device or a pipe; refused")


def check_no_pointers(folder: Path, *, name: str) -> None:
    """Refuse a checkout with files that git keeps elsewhere.

    Raises:
        DatasetError: a file is a pointer of Git LFS.
    """
    for path in _entries(folder):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_POINTER:
            continue
        with path.open("rb") as stream:
            if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise DatasetError(
                    f"data set '{name}': '{path.relative_to(folder)}' is a pointer of Git LFS, which is not used; "
                    "give the address of the file itself, or set dataset.path to a checkout with the files"
                )


def _check_link(path: Path, folder: Path, *, top: str, name: str) -> None:
    """Refuse an absolute link, which the tree's place would change, and any that leads outside."""
    target = path.readlink()
    resolved = os.path.realpath(path)
    if target.is_absolute() or not (resolved == top or resolved.startswith(f"{top}{os.sep}")):
        raise DatasetError(
            f"data set '{name}' holds '{path.relative_to(folder)}', a link to '{target}', which would leave the "
            "folder; refused"
        )


def _entries(folder: Path) -> Iterator[Path]:
    """Yield everything below `folder`; links are not followed."""
    for parent, folders, files in os.walk(folder, onerror=_raise):
        for entry in (*folders, *files):
            yield Path(parent, entry)


def _raise(error: OSError) -> None:
    raise error
