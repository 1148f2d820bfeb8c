"""Walks through folders: their files in order, their state in the file system, and the links on the way.

A walk follows links, because the steps follow them too; a link to one of its own parent folders is not followed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MARKER = ".mlops-dataset.json"
"""The file that marks a data set as complete; at the top of a folder it is not part of the content."""
EARLIER_SPLIT_FOLDER = ".mlops-earlier-split"
"""At the top of a data set, the parts of an earlier split (`mlops_core.datasets.earlier_splits`)."""
_BATCH = 1024
"""Number of lines that are digested at once."""


class FileState(NamedTuple):
    """The metadata of a file from the file system; times in nanoseconds."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


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
    walked = WalkedTree(os.fspath(folder))
    for _ in walked.noted():
        pass
    return walked.state()


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


class WalkedTree:
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
