"""Folders as data: what each file below a folder is, so that two folders, or two moments, can be compared."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Tree: TypeAlias = Mapping[str, str]

_SHOWN = 3


def tree(folder: Path) -> dict[str, str]:
    """Return relative path -> SHA-256 of the file, ``link to ...`` or ``special``, for everything below `folder`."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            path = Path(root) / name
            if path.is_symlink() or not path.is_dir():
                found[path.relative_to(folder).as_posix()] = _content(path)
    return found


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if not path.is_file():
        return "special"
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stamps(folder: Path) -> dict[str, int]:
    """Return relative path -> time of change in nanoseconds, which changes when a file is rewritten."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


def differences(expected: Tree, found: Tree) -> list[str]:
    """Return the differences, one phrase per file, in the order of their names."""
    phrases = []
    for name in sorted({*expected, *found}):
        if name not in found:
            phrases.append(f"{name} is missing")
        elif name not in expected:
            phrases.append(f"{name} is new")
        elif expected[name] != found[name]:
            phrases.append(f"{name} has other content")
    return phrases


def shown(phrases: Iterable[object], limit: int = _SHOWN) -> str:
    """Return the first few of `phrases` and the number of the others."""
    texts = [str(phrase) for phrase in phrases]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more


def set_writable(folder: Path, *, is_writable: bool) -> None:
    """Grant or remove write permission for a folder and everything below it."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        change = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
        path.chmod(mode | stat.S_IWUSR if is_writable else mode & ~change)


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Tell whether `path` is one of `folders` or below one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
