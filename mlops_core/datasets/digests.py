"""Digests of files and of whole folders: what makes two data sets or two artifacts the same.

The digest of a folder covers path, size and content of each file, in the order of their paths, and neither times,
owners nor the folder's own place. Large files are read by as many threads as there are cores (SHA-256 runs without the
interpreter's lock), small ones only where the storage makes a thread wait; none is read when a `StatCache` knows it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mlops_core.datasets.tree_walk import FileState, TreeState, WalkedTree, file_state, walk_files
from mlops_core.reading import naming, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_BATCH = 1024
_SMALL_BYTES = 1 << 20
"""For a batch smaller than this, starting threads takes longer than they save."""
_SMALL_FILE_BYTES = 1 << 16
"""Of files smaller than this, threads spend more time on the interpreter's lock than they save."""
_SAMPLE = 32
"""Number of small files by which to tell whether their storage makes a thread wait."""
_WAITING = 4
"""Storage makes a thread wait if reading takes this many times the thread's processor time."""


class StatCache(Protocol):
    """Remembers digests of files by path and state."""

    def lookup_all(self, states: Mapping[str, FileState]) -> dict[str, str]:
        """Return the digests of those files, by path, that have not changed."""

    def store(self, digests: Sequence[tuple[str, FileState, str]]) -> None:
        """Keep the digests of files that were read: path, state and SHA-256 of each."""


class TreeFile(NamedTuple):
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


def read_tree(folder: Path, *, cache: StatCache | None = None) -> tuple[TreeState, list[TreeFile]]:
    """Return `tree_state` and all files of `iter_tree`, from one walk; the state of a file is older than its content.

    Raises:
        OSError: a file or folder cannot be read.
    """
    walked = WalkedTree(os.fspath(folder))
    files = list(_hash_in_batches(walked.top, walked.files(), cache=cache))
    return walked.state(), files


def tree_manifest(folder: Path, *, cache: StatCache | None = None) -> TreeManifest:
    """Return digest, count and size of the files below `folder`, whatever its own path and their times are."""
    return manifest_of(iter_tree(folder, cache=cache))


def manifest_of(files: Iterable[TreeFile]) -> TreeManifest:
    """Return the manifest of files that come in the order of their paths."""
    digest = hashlib.sha256()
    count = size = 0
    files = iter(files)
    while batch := list(itertools.islice(files, _BATCH)):
        # As json.dumps(..., ensure_ascii=False) writes a list, at a third of the time.
        lines = "".join([f'[{encode_basestring(path)}, {length}, "{sha256}"]' for path, length, sha256 in batch])
        digest.update(lines.encode(errors="surrogateescape"))
        count += len(batch)
        size += sum(length for _, length, _ in batch)
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
    return _hash_in_batches(top, ((path, file_state(f"{top}/{path}")) for path in walk_files(folder)), cache=cache)


def file_digest(path: Path, *, cache: StatCache | None = None) -> str:
    """Return the SHA-256 of a file's content; a file whose state equals that in `cache` is not read.

    Raises:
        OSError: the file cannot be read, or is a pipe, a socket or a device.

    Example:
        >>> Path("clip-1.wav").write_bytes(b"sound")
        5
        >>> file_digest(Path("clip-1.wav"))[:12]
        'dd29442deca6'
    """
    if cache is None:
        return _sha256(os.fspath(path))
    full = os.fspath(path.absolute())
    state = file_state(full)
    known = cache.lookup_all({full: state}).get(full)
    if known is not None:
        return known
    digest = _sha256(full)
    cache.store([(full, state, digest)])
    return digest


def _hash_in_batches(
    top: str, files: Iterator[tuple[str, FileState]], *, cache: StatCache | None
) -> Iterator[TreeFile]:
    while batch := list(itertools.islice(files, _BATCH)):
        yield from _hash_batch(top, batch, cache=cache)


def _hash_batch(top: str, files: Sequence[tuple[str, FileState]], *, cache: StatCache | None) -> list[TreeFile]:
    states = {f"{top}/{path}": state for path, state in files}
    digests = {} if cache is None else cache.lookup_all(states)
    unknown = [path for path in states if path not in digests] if digests else list(states)
    if unknown:
        read = _hash_files(unknown, [states[path].size for path in unknown])
        digests.update(zip(unknown, read, strict=True))
        if cache is not None:
            cache.store([(path, states[path], digest) for path, digest in zip(unknown, read, strict=True)])
    return [TreeFile(path, state.size, digests[full]) for (path, state), full in zip(files, states, strict=True)]


def _hash_files(paths: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """Return the digests of files, small ones without threads unless the storage makes them wait."""
    total, began, spent = sum(sizes), time.perf_counter(), time.thread_time()
    is_small = total < _SMALL_BYTES
    first = len(paths) if is_small else _SAMPLE if total < _SMALL_FILE_BYTES * len(paths) else 0
    digests = list(map(_sha256, paths[:first], sizes))
    if first >= len(paths):
        return digests
    if first and time.perf_counter() - began < _WAITING * (time.thread_time() - spent):
        return digests + list(map(_sha256, paths[first:], sizes[first:]))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return digests + list(pool.map(_sha256, paths[first:], sizes[first:]))


def _sha256(path: str, size: int = _SMALL_FILE_BYTES) -> str:
    with naming(path):
        if size < _SMALL_FILE_BYTES:
            return _small_sha256(path, size)
        with os.fdopen(open_regular(path), "rb", buffering=0) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def _small_sha256(path: str, size: int) -> str:
    """Return the digest of a file that had this size; it is read whole if that is no longer true."""
    file = open_regular(path)
    try:
        content = os.read(file, size + 1)
        if len(content) == size:
            return hashlib.sha256(content).hexdigest()
        digest = hashlib.sha256(content)
        while content := os.read(file, _SMALL_FILE_BYTES):
            digest.update(content)
        return digest.hexdigest()
    finally:
        os.close(file)
