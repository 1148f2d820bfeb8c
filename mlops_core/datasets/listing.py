"""Which files of a data set are data: all of them, except hidden files and what operating systems and tools add.

Links are followed as `mlops_core.datasets.digests` follows them, so that every file listed here is part of the digest.
What is not listed is counted, so that a plugin can report it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.datasets.tree_walk import EARLIER_SPLIT_FOLDER, MARKER
from mlops_core.quantities import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TOOL_NAMES = frozenset(
    {
        "$recycle.bin",
        "#recycle",
        "#snapshot",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)
_PART_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout"), "test"),
}
_WORDS_BESIDE = frozenset(
    {
        *("audio", "clip", "clips", "data", "dataset", "file", "files", "folder", "image", "images", "img", "imgs"),
        *("part", "photos", "pictures", "samples", "seg", "set", "split", "wav"),
    }
)
_PART_NAME = re.compile(r"([a-z]+?)(?:set|(?:19|20)\d\d)?")
_FOLD = re.compile(r"(?:cv[ _-]?)?(?:fold|split)[ _-]?(\d{1,2})", re.IGNORECASE)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html", b"<head")
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFiles:
    """The files below a folder.

    Attributes:
        files: paths relative to the folder, with forward slashes, in alphabetical order.
        skipped: name of a hidden or tool entry -> number of files that were skipped with it; files that macOS writes
            beside others are counted as ``._*``.
        broken: links that lead to nothing, or to one of their own parent folders.

    Example:
        >>> Path("photos").mkdir()
        >>> for name in ("a.png", "._a.png", ".DS_Store"):
        ...     _ = (Path("photos") / name).write_text("")
        >>> listed = list_data_files(Path("photos"))
        >>> listed.files, listed.skipped_text()
        (('a.png',), '2 hidden or tool files skipped: .DS_Store (1), ._* (1)')
    """

    files: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    broken: tuple[str, ...] = ()

    def skipped_text(self) -> str:
        """Return one line that counts and names the skipped entries; empty if nothing was skipped."""
        if not self.skipped:
            return ""
        names = sorted(self.skipped, key=lambda name: (-self.skipped[name], name))
        shown = ", ".join(f"{name} ({self.skipped[name]})" for name in names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"{counted(sum(self.skipped.values()), 'hidden or tool file')} skipped: {shown}{more}"


def is_hidden_or_tool(name: str) -> bool:
    """Return whether a file or folder of this name is not data: hidden, or added by an operating system or a tool.

    Example:
        >>> [is_hidden_or_tool(name) for name in ("._a.wav", ".ipynb_checkpoints", "@eaDir", "Thumbs.db", "a.wav")]
        [True, True, True, True, False]
    """
    return name.startswith(".") or name.casefold() in _TOOL_NAMES


def placeholder_of(path: Path) -> str:
    """Return what a file is, and what to do, if a download left something else in its place; empty if it did not.

    Raises:
        OSError: the file cannot be read.

    Example:
        >>> _ = Path("a.csv").write_text("<!DOCTYPE html><title>Sign in</title>")
        >>> placeholder_of(Path("a.csv"))
        'a web page; download the file itself'
    """
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(_LFS_POINTER):
        return "a pointer of Git LFS; get the content with: git lfs pull"
    is_page = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES)
    return "a web page; download the file itself" if is_page else ""


def part_of_folder(name: str) -> str | None:
    """Return ``train``, ``validation`` or ``test`` for a folder that has the name of a part; None for any other name.

    The name of the part may come with words such as ``set`` and ``images``, or with a year.

    Example:
        >>> [part_of_folder(name) for name in ("Train", "test_images", "val2017", "trainset", "trains", "images")]
        ['train', 'test', 'validation', 'train', None, None]
    """
    words = [word for word in re.split(r"[ _.\-]+", name.casefold()) if word and word not in _WORDS_BESIDE]
    match = _PART_NAME.fullmatch(words[0]) if len(words) == 1 else None
    return _PART_WORDS.get(match[1]) if match else None


def fold_of_folder(name: str) -> int | None:
    """Return the number of a folder that has the name of a fold of a cross-validation; None for any other name.

    Example:
        >>> [fold_of_folder(name) for name in ("fold1", "Fold_02", "split-3", "cv_fold 4", "folder1")]
        [1, 2, 3, 4, None]
    """
    match = _FOLD.fullmatch(name)
    return int(match[1]) if match else None


def list_data_files(folder: Path) -> DataFiles:
    """Return the data files below `folder`, at any depth; linked files and folders are followed.

    Raises:
        OSError: a folder cannot be read.

    Example:
        >>> Path("clips").mkdir()
        >>> _ = (Path("clips") / "a.wav").write_text("")
        >>> list_data_files(Path("clips")).files
        ('a.wav',)
    """
    listing = _Listing()
    top = os.fspath(folder)
    listing.walk(top, "", above=frozenset({_identity(top)}))
    return DataFiles(
        files=tuple(sorted(listing.files)), skipped=dict(listing.skipped), broken=tuple(sorted(listing.broken))
    )


class _Listing:
    """Collects what `list_data_files` returns."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.broken: list[str] = []

    def walk(self, folder: str, prefix: str, *, above: frozenset[tuple[int, int]]) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden_or_tool(entry.name):
                    self._skip(entry, prefix)
                elif _is_there(entry):
                    self._visit(entry, f"{prefix}{entry.name}", above=above)
                else:
                    self.broken.append(f"{prefix}{entry.name}")

    def _visit(self, entry: os.DirEntry[str], path: str, *, above: frozenset[tuple[int, int]]) -> None:
        if not entry.is_dir():
            if entry.is_file():
                self.files.append(path)
            return
        identity = _identity(entry.path)
        if identity in above:
            self.broken.append(path)
        else:
            self.walk(entry.path, f"{path}/", above=above | {identity})

    def _skip(self, entry: os.DirEntry[str], prefix: str) -> None:
        if not prefix and entry.name in (MARKER, EARLIER_SPLIT_FOLDER):
            return
        name = "._*" if entry.name.startswith("._") else entry.name
        if entry.is_dir(follow_symlinks=False):
            inside = sum(len(files) for _, _, files in os.walk(entry.path))
            if inside:
                self.skipped[name] += inside
        else:
            self.skipped[name] += 1


def _is_there(entry: os.DirEntry[str]) -> bool:
    """Return False for a link that leads to nothing or to itself."""
    try:
        entry.stat()
    except OSError:
        if entry.is_symlink():
            return False
        raise
    return True


def _identity(path: str) -> tuple[int, int]:
    state = os.stat(path)  # noqa: PTH116  called for each of many folders
    return state.st_dev, state.st_ino
