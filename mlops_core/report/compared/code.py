"""The source files that differ between the plugins of two runs, where their code was kept with the models."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import file_digest
from mlops_core.errors import MlopsError
from mlops_core.report.facts import Missing
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

_MOST_BYTES = 1_000_000
"""Lines of larger files are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """A source file that differs.

    Attributes:
        path: relative to the kept code.
        added: number of lines that only the later version has; None if they were not counted.
        removed: number of lines that only the earlier version has; None if they were not counted.
        is_new: the earlier code does not have the file.
        is_gone: the later code does not have the file.
    """

    path: str
    added: int | None
    removed: int | None
    is_new: bool = False
    is_gone: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the file as JSON types only."""
        return asdict(self)


def compare_code(store: Store, earlier: RunRecord, later: RunRecord) -> tuple[ChangedFile, ...] | Missing:
    """Return the source files that differ, sorted by path; a `Missing` unless the code of both runs was kept."""
    folders = []
    for record in (earlier, later):
        folder = _kept_code(store, record)
        if isinstance(folder, Missing):
            return folder
        folders.append(folder)
    old, new = map(_files, folders)
    return tuple(
        change
        for path in sorted(old.keys() | new.keys())
        if (change := _compare(path, old.get(path), new.get(path))) is not None
    )


def _kept_code(store: Store, record: RunRecord) -> Path | Missing:
    if record.model_version is None:
        return Missing(f"Run {record.run_id} registered no model, with which its source files would have been kept.")
    try:
        digest = Registry(store).version(record.use_case, record.model_version).code
    except MlopsError as error:
        return Missing(f"The model of run {record.run_id} cannot be read: {error}")
    if not digest or not store.artifacts.has(digest):
        return Missing(f"The source files of run {record.run_id} were not kept, or are gone.")
    return store.artifacts.path(digest)


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _compare(name: str, old: Path | None, new: Path | None) -> ChangedFile | None:
    if old is not None and new is not None and file_digest(old) == file_digest(new):
        return None
    before, after = _lines(old), _lines(new)
    added = removed = None
    if before is not None and after is not None:
        added, removed = _count(before, after)
    return ChangedFile(path=name, added=added, removed=removed, is_new=old is None, is_gone=new is None)


def _count(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    added = removed = 0
    for tag, first, last, start, end in difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if tag != "equal":
            removed, added = removed + last - first, added + end - start
    return added, removed


def _lines(path: Path | None) -> list[str] | None:
    """Return the lines of a file, none of no file; None if it is large or not text."""
    if path is None:
        return []
    try:
        return None if path.stat().st_size > _MOST_BYTES else path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
