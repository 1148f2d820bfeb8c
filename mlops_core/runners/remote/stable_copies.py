"""Copying the data set of a run, which its owner may edit, and restore, meanwhile or later.

Files of the workspace, which nobody edits, are linked instead. A link to any other file would have its later content.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import walk_files
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

    Args:
        source: the data set.
        store: workspace with its list of files.
        copy: makes the copy.
        discard: removes a copy that may hold something else.

    Raises:
        DatasetError: the data set is not what its digest says, or changes each time.
    """
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
    """Place the files of a folder in a new one: as hard links where that is possible and safe, else as copies.

    Args:
        folder: with the files.
        target: folder to make.
        own: folder in which nobody edits files; None if nobody edits the files, wherever they are.
    """
    home = None if own is None else own.resolve()
    target.mkdir(parents=True)
    for name in walk_files(folder):
        source, place = (folder / name).resolve(), target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if home is None or source.is_relative_to(home):
            _link(source, place)
        else:
            shutil.copyfile(source, place)


def is_linked(folder: Path, target: Path, *, own: Path) -> bool:
    """Return whether a file in `target` is linked that `place_files` copies, as versions before it did not."""
    home = own.resolve()
    return any(
        (target / name).is_file() and (target / name).stat().st_nlink > 1
        for name in walk_files(folder)
        if not (folder / name).resolve().is_relative_to(home)
    )


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a different file system, or one without hard links
        shutil.copyfile(source, target)
