"""Digests of files and of whole folders: what makes two data sets or two artifacts the same.

The digest of a folder covers path, size and content of each file, in the order of their paths, and neither times,
owners nor the folder's own place. Large files are read by as many threads as there are cores (SHA-256 runs without the
interpreter's lock), small ones only where the storage makes a thread wait; none is read when a `StatCache` knows it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mlops_core.reading import naming, open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

MARKER = ".mlops-dataset.json"
"""The file that marks a data set as complete; at the top of a folder it is not part of the content."""
EARLIER_SPLIT_FOLDER = ".mlops-earlier-split"
"""At the top of a data set, the parts of an earlier split (`mlops_core.datasets.earlier_splits`)."""
_BATCH = 1024
_SMALL_BYTES = 1 << 20
"""For a batch smaller than this, starting threads takes longer than they save."""
_SMALL_FILE_BYTES = 1 << 16
"""Of files smaller than this, threads spend more time on the interpreter's lock than they save."""
_SAMPLE = 32
"""Number of small files by which to tell whether their storage makes a thread wait."""
_WAITING = 4
"""Storage makes a thread wait if reading takes this many times the thread's processor time."""


class FileState(NamedTuple):
    """The metadata of a file from the file system; times in nanoseconds."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeState:
    """The metadata of a folder from the file system, without the content of its files.

    Attributes:
        digest: SHA-256 over path, size, times and inode of each file and folder, and of each link that leads to one.
        newest: path of the file or folder that changed last.
    """

    digest: str
    newest: str


def tree_state(folder: Path) -> TreeState:
    """Return the state of a folder; two equal states have nothing between them that could change what is read.

    Raises:
        OSError: a file or folder cannot be read.
    """
    walked = _WalkedTree(os.fspath(folder))
    for _ in walked.noted():
        pass
    return walked.state()


def read_tree(folder: Path, *, cache: StatCache | None = None) -> tuple[TreeState, list[TreeFile]]:
    """Return `tree_state` and all files of `iter_tree`, from one walk; the state of a file is older than its content.

    Raises:
        OSError: a file or folder cannot be read.
    """
    walked = _WalkedTree(os.fspath(folder))
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
    paths = _walk(top, "", above=frozenset({_identity(top)}))
    return _hash_in_batches(top, ((path, file_state(f"{top}/{path}")) for path in paths), cache=cache)


def walk_files(folder: Path) -> Iterator[str]:
    """Yield the relative path of each file that the digest of a folder covers, in order; links are followed.

    Raises:
        OSError: a folder cannot be read.

    Example:
        >>> Path("clips").mkdir()
        >>> _ = (Path("clips") / "a.wav").write_text("")
        >>> Path("data").mkdir()
        >>> (Path("data") / "linked").symlink_to(Path("clips").absolute())
        >>> list(walk_files(Path("data")))
        ['linked/a.wav']
    """
    top = os.fspath(folder)
    return _walk(top, "", above=frozenset({_identity(top)}))


def file_state(path: str | Path) -> FileState:
    """Return the state of a file."""
    found = os.stat(path)  # noqa: PTH116  called for each of many files; a Path costs as much as the call itself
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


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


class _WalkedTree:
    """A walk that notes the state of a folder: that of a folder before it is listed, of a file before it is read."""

    def __init__(self, top: str) -> None:
        self.top = top
        self._digest = hashlib.sha256()
        self._newest = ""
        self._lines: list[str] = []
        self._links = _Links()

    def files(self) -> Iterator[tuple[str, FileState]]:
        """Yield path and state of each file."""
        for path, found in self.noted():
            if path[-1:] not in ("", "/"):
                yield path, FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def noted(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield path and metadata of the folder, as "", and of each file and folder, whose path ends with a slash.

        A path ends at the first zero byte of its line, and a line at the first line break after it.
        """
        top, lines, stat_of, newest_ns = f"{self.top}/", self._lines, os.stat, -1
        lines.extend(self._links.states(self.top))
        inner = _walk(self.top, "", above=frozenset({_identity(self.top)}), with_folders=True, on_link=self._note_link)
        for path in itertools.chain(("",), inner):
            found = stat_of(top + path)
            changed_ns = found.st_ctime_ns
            if changed_ns > newest_ns:
                self._newest, newest_ns = path.rstrip("/"), changed_ns
            lines.append(f"{path}\0{found.st_size} {found.st_mtime_ns} {changed_ns} {found.st_ino}\n")
            if len(lines) == _BATCH:
                self._digest_lines()
            yield path, found

    def _note_link(self, path: str) -> None:
        self._lines.extend(self._links.states(path))

    def _digest_lines(self) -> None:
        self._digest.update("".join(self._lines).encode(errors="surrogateescape"))
        self._lines.clear()

    def state(self) -> TreeState:
        """Return the state of what was walked through."""
        self._digest_lines()
        return TreeState(digest=self._digest.hexdigest(), newest=self._newest or self.top)


class _Links:
    """The links that are followed on the way to files; one that leads elsewhere for a while is a new one afterwards."""

    def __init__(self) -> None:
        self._real: set[str] = {""}
        """Paths of folders and files that are not links, so that each is checked once."""

    def states(self, path: str) -> Iterator[str]:
        """Yield a line for each link on the way to what a path leads to, which exists."""
        place, names = "", [*reversed(os.path.abspath(path).split("/"))]  # noqa: PTH100  called for each of many links
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            full = place.rpartition("/")[0] if name == ".." else f"{place}/{name}"
            if full not in self._real:
                found = os.lstat(full)
                if stat.S_ISLNK(found.st_mode):
                    yield f"{full}\0link {found.st_ctime_ns} {found.st_ino}\n"
                    target = os.readlink(full)  # noqa: PTH115  as above
                    names.extend(reversed(target.split("/")))
                    full = "" if target.startswith("/") else place
                else:
                    self._real.add(full)
            place = full


def _walk(
    folder: str,
    prefix: str,
    *,
    above: frozenset[tuple[int, int]],
    with_folders: bool = False,
    on_link: Callable[[str], None] | None = None,
) -> Iterator[str]:
    """Yield paths in their order; in memory are the names in one folder and in those around it, not all paths.

    Paths in a folder begin with its name and a slash, so that it comes where that does. `with_folders` yields folders,
    too, with a slash at the end. `on_link` is called with the full path of each link, before what it leads to.
    """
    for name, is_link in _listed(folder, is_top=not prefix):
        if on_link and is_link:
            on_link(f"{folder}/{name.rstrip('/')}")
        if not name.endswith("/"):
            yield f"{prefix}{name}"
            continue
        path = f"{folder}/{name[:-1]}"
        inner = above
        if is_link:
            identity = _identity(path)
            if identity in above:  # a link to a folder around it, followed on the way here
                continue
            inner = above | {identity}
        if with_folders:
            yield f"{prefix}{name}"
        yield from _walk(path, f"{prefix}{name}", above=inner, with_folders=with_folders, on_link=on_link)


def _listed(folder: str, *, is_top: bool) -> list[tuple[str, bool]]:
    """Return the names of files and, with a slash at the end, folders in their order, and whether each is a link."""
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                names.append((f"{entry.name}/", entry.is_symlink()))
            elif entry.is_file() and not (is_top and entry.name == MARKER):
                names.append((entry.name, entry.is_symlink()))
    return sorted(names)


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
