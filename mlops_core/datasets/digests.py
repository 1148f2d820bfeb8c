"""Digests of files and of whole folders: what makes two data sets or two artifacts the same.

The digest of a folder covers path, size and content of each file, in the order of their paths, and neither times,
owners nor the folder's own place. Files are read by as many threads as there are cores (SHA-256 runs without the
interpreter's lock), and not at all when a `StatCache` knows them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

MARKER = ".mlops-dataset.json"
"""The file that marks a data set as complete; at the top of a folder it is not part of the content."""
_BATCH = 1024
_SMALL_BYTES = 1 << 20
"""For a batch smaller than this, starting threads takes longer than they save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """The metadata of a file from the file system; times in nanoseconds."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class StatCache(Protocol):
    """Remembers digests of files by path and state."""

    def lookup(self, path: str, state: FileState) -> str | None:
        """Return the digest of an unchanged file."""

    def store(self, digests: Sequence[tuple[str, FileState, str]]) -> None:
        """Keep the digests of files that were read: path, state and SHA-256 of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFile:
    """One file of a folder: its path relative to the top with forward slashes, size in bytes, SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeManifest:
    """The content of a folder.

    Attributes:
        digest: SHA-256 over path, size and SHA-256 of each file, in the order of their paths.
        count: of files.
        size_bytes: of all files together.
    """

    digest: str
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeState:
    """The metadata of a folder from the file system, without the content of its files.

    Attributes:
        digest: SHA-256 over path, size, times and inode of each file and folder.
        newest: path of the file or folder that changed last.
    """

    digest: str
    newest: str


def tree_state(folder: Path) -> TreeState:
    """Return the state of a folder; two equal states have nothing between them that could change what is read.

    Raises:
        OSError: a file or folder cannot be read.
    """
    top = os.fspath(folder)
    digest = hashlib.sha256()
    newest, newest_ns = "", -1
    for path in itertools.chain([""], _walk(top, "", above=frozenset({_identity(top)}), with_folders=True)):
        state = file_state(f"{top}/{path}")
        digest.update(repr((path, state)).encode(errors="backslashreplace"))
        if state.ctime_ns > newest_ns:
            newest, newest_ns = path, state.ctime_ns
    return TreeState(digest=digest.hexdigest(), newest=newest or top)


def tree_manifest(folder: Path, *, cache: StatCache | None = None) -> TreeManifest:
    """Return digest, count and size of the files below `folder`, whatever its own path and their times are."""
    return manifest_of(iter_tree(folder, cache=cache))


def manifest_of(files: Iterable[TreeFile]) -> TreeManifest:
    """Return the manifest of files that come in the order of their paths."""
    digest = hashlib.sha256()
    count = size = 0
    for file in files:
        line = json.dumps([file.path, file.size, file.sha256], ensure_ascii=False)
        digest.update(line.encode(errors="surrogateescape"))
        count += 1
        size += file.size
    return TreeManifest(digest=digest.hexdigest(), count=count, size_bytes=size)


def digest_tree(folder: Path) -> str:
    """Return the digest of all files below `folder`, as `tree_manifest` defines it."""
    return tree_manifest(folder).digest


def iter_tree(folder: Path, *, cache: StatCache | None = None) -> Iterator[TreeFile]:
    """Yield each file below `folder` in the order of its path.

    A file whose state equals that in `cache` is not read. Links are followed, because the steps follow them too;
    a link to one of its own parent folders is not followed.

    Raises:
        OSError: a file or folder cannot be read.
    """
    top = os.fspath(folder)
    paths = sorted(_walk(top, "", above=frozenset({_identity(top)})))
    for start in range(0, len(paths), _BATCH):
        yield from _hash_batch(top, paths[start : start + _BATCH], cache=cache)


def file_state(path: str | Path) -> FileState:
    """Return the state of a file."""
    stat = os.stat(path)  # noqa: PTH116  called for each of many files; a Path costs as much as the call itself
    return FileState(size=stat.st_size, mtime_ns=stat.st_mtime_ns, ctime_ns=stat.st_ctime_ns, inode=stat.st_ino)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    return _sha256(os.fspath(path))


def find_foreign_entry(folder: Path) -> str | None:
    """Return what below `folder`, or `folder` itself, is no file or folder of its own, or None.

    A link, a second name of a file that stands elsewhere, a pipe, a socket or a device: what it leads to can change,
    or be changed, without the folder being touched.
    """
    if folder.is_symlink() or not folder.is_dir():
        return f"{folder} is a link to another place" if folder.is_symlink() else f"{folder} is not a folder"
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(top, name)  # noqa: PTH118  called for each of many files
            mode, links = _mode_and_links(path)
            if stat.S_ISLNK(mode):
                return f"{path} is a link to {os.readlink(path)}"  # noqa: PTH115  as above
            if stat.S_ISREG(mode) and links > 1:
                return f"{path} is a second name of a file (hard link)"
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                return f"{path} is a pipe, socket or device"
    return None


def _mode_and_links(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_mode, found.st_nlink


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116  as in file_state
    return found.st_dev, found.st_ino


def _walk(folder: str, prefix: str, *, above: frozenset[tuple[int, int]], with_folders: bool = False) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                inner = above
            elif entry.is_dir():
                identity = _identity(entry.path)
                if identity in above:  # a link to a folder around it, followed on the way here
                    continue
                inner = above | {identity}
            else:
                if entry.is_file() and not (prefix == "" and entry.name == MARKER):
                    yield name
                continue
            if with_folders:
                yield name
            yield from _walk(entry.path, f"{name}/", above=inner, with_folders=with_folders)


def _hash_batch(top: str, paths: Sequence[str], *, cache: StatCache | None) -> Iterator[TreeFile]:
    full = [f"{top}/{path}" for path in paths]
    states = [file_state(path) for path in full]
    known = [cache.lookup(path, state) if cache is not None else None for path, state in zip(full, states, strict=True)]
    unknown = [index for index, digest in enumerate(known) if digest is None]
    read = _hash_files([full[index] for index in unknown], size=sum(states[index].size for index in unknown))
    for index, digest in zip(unknown, read, strict=True):
        known[index] = digest
    if cache is not None and unknown:
        cache.store([(full[index], states[index], digest) for index, digest in zip(unknown, read, strict=True)])
    for path, state, digest_or_none in zip(paths, states, known, strict=True):
        yield TreeFile(path=path, size=state.size, sha256=digest_or_none or "")


def _hash_files(paths: Sequence[str], *, size: int) -> list[str]:
    if size < _SMALL_BYTES:
        return [_sha256(path) for path in paths]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(_sha256, paths))


def _sha256(path: str) -> str:
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123  as above
        return hashlib.file_digest(stream, "sha256").hexdigest()
