"""Copying the data set of a run, which its owner may edit, and restore, meanwhile or later.

Files of the workspace, which nobody edits, are linked instead. A link to any other file would have its later content.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from mlops_core.datasets.tree_walk import walk_files
from mlops_core.errors import DatasetError
from mlops_core.runners.local.dataset_watch import DatasetWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlops_core.runners.dataset_source import FetchedSource
    from mlops_core.workspace.store import Store

_TRIES = 3


def copy_stable(source: FetchedSource, *, store: Store, copy: Callable[[], None], discard: Callable[[], None]) -> None:
    """Copy a data set until it does not change meanwhile, so that the copy is what the digest says.

    One whose files are all in the workspace is only linked, which changes the times of the files.

    Args:
        source: the data set.
        store: workspace with its list of files.
        copy: makes the copy.
        discard: removes a copy that may hold something else.

    Raises:
        DatasetError: the data set is not what its digest says, or changes each time.
    """
    if _are_own(_files(source.path), store.home):
        copy()
        return
    watch = DatasetWatch(source, manifests=store.manifests)
    for _ in range(_TRIES):
        before = watch.verified_state()
        copy()
        after = watch.state()
        if after == before:
            return
        discard()
    raise DatasetError(
        f"{after.newest} of the data set '{source.record.name}' changed while it was copied, {_TRIES} times; run again "
        "when nothing writes there"
    )


def place_files(folder: Path, target: Path, *, own: Path | None) -> None:
    """Place the files of a folder in a new one: as hard links where that is possible, or as copies if one is foreign.

    Args:
        folder: with the files.
        target: folder to make.
        own: folder in which nobody edits files; None if nobody edits the files, wherever they are.
    """
    files = _files(folder)
    put = _link if own is None or _are_own(files, own) else shutil.copyfile
    target.mkdir(parents=True)
    for name, file in files.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        put(file, place)


def is_linked(folder: Path, target: Path, *, own: Path) -> bool:
    """Return whether a file in `target` is linked that `place_files` copies, as versions before it did not."""
    files = _files(folder)
    places = [target / name for name in files]
    return not _are_own(files, own) and any(place.is_file() and place.stat().st_nlink > 1 for place in places)


def _files(folder: Path) -> dict[str, Path]:
    """Return name below a folder -> the file, links resolved."""
    return {str(name): (folder / name).resolve() for name in walk_files(folder)}


def _are_own(files: dict[str, Path], own: Path) -> bool:
    home = own.resolve()
    return all(file.is_relative_to(home) for file in files.values())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a different file system, or one without hard links
        shutil.copyfile(source, target)
