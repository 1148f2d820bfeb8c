"""The split of a run: the rows of ``split.csv`` in what the steps before its evaluation wrote."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from mlops_core.datasets.splits import PARTS, SPLIT_FILE, read_split
from mlops_core.errors import MlopsError
from mlops_core.report.facts import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core.datasets.splits import SplitRow
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

_UNASSIGNED = "no part"
_NOTE = "parts.json"


def read_split_rows(store: Store, record: RunRecord) -> dict[str, SplitRow] | Missing:
    """Return sample -> its row in the split of a run; of several splits, the first row of each sample.

    Args:
        store: the workspace that holds the run.
        record: of the run.
    """
    folders = _split_folders(store, record)
    if isinstance(folders, Missing):
        return folders
    rows: dict[str, SplitRow] = {}
    for name, folder in folders.items():
        try:
            for row in read_split(folder):
                rows.setdefault(row.sample, row)
        except MlopsError as error:
            return Missing(_of_artifact(str(error), folder, name))
    return rows


def read_part_counts(store: Store, record: RunRecord) -> dict[str, int] | Missing:
    """Return part -> number of samples in the first split of a run, in the order of training.

    The split is read once: the numbers are kept beside the manifest of its artifact.
    """
    folders = _split_folders(store, record)
    if isinstance(folders, Missing):
        return folders
    name, folder = next(iter(folders.items()))
    note = store.manifests.find_note(folder.name, _NOTE)
    try:
        found = {str(part): int(count) for part, count in json.loads(note).items()} if note else {}
    except (AttributeError, TypeError, ValueError):  # damaged: count again
        found = {}
    if not found:
        try:
            counts = Counter(row.part or _UNASSIGNED for row in read_split(folder))
        except MlopsError as error:
            return Missing(_of_artifact(str(error), folder, name))
        found = {part: counts[part] for part in (*PARTS, _UNASSIGNED) if counts[part]}
        store.manifests.save_note(folder.name, _NOTE, json.dumps(found))
    return found


def _split_folders(store: Store, record: RunRecord) -> dict[str, Path] | Missing:
    """Return ``step.output`` -> folder of each split that the steps wrote; never empty."""
    found, reason = {}, "No step of the run wrote a split."
    for name, digest in _outputs(record):
        folder = store.artifacts.path(digest)
        if not folder.is_dir():
            reason = f"The artifact {name} is no longer in the workspace."
        elif (folder / SPLIT_FILE).is_file():
            found[name] = folder
    return found or Missing(reason)


def _outputs(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield ``step.output`` and digest of everything that the steps wrote, each artifact once, in order."""
    seen = set()
    for step in record.steps:
        for output, digest in step.outputs.items():
            if digest not in seen:
                seen.add(digest)
                yield f"{step.name}.{output}", digest


def _of_artifact(message: str, folder: Path, name: str) -> str:
    return message.replace(str(folder), name)
