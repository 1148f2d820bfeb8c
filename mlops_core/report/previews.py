"""The previews of samples in a report: from the data that the run read and no other, within limits of size and time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import file_digest, tree_manifest
from mlops_core.errors import MlopsError
from mlops_core.report.facts import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mlops_core.datasets.previews import Preview
    from mlops_core.predictions.boxes import MarkedBox
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.records import DatasetRecord, RunRecord
    from mlops_core.workspace.store import Store

_PREVIEWS_BYTES = 2_500_000
_PREVIEWS_S = 3.0
"""A slow hook, or one that returns large previews, leads to fewer previews instead of a slow or huge report."""
_SMALL_FILES, _SMALL_BYTES = 200, 200_000_000
"""A data set up to this size is compared as a whole where a sample is not a file of its own."""
_CHANGED = "No preview: the data set has changed since the run read it"


def read_previews(
    store: Store,
    record: RunRecord,
    samples: Iterable[str],
    *,
    use_case: UseCase | None,
    boxes: Mapping[str, Sequence[MarkedBox]] | None = None,
) -> Iterator[tuple[str, Preview | Missing]]:
    """Yield each sample with its preview, or the reason why it has none.

    Args:
        store: the workspace that holds the run.
        record: of the run.
        samples: their ids.
        use_case: of the run; None to load it.
        boxes: sample -> boxes that the preview of a detection shows.
    """
    loaded = _use_case(record, use_case)
    source = None if record.dataset is None or isinstance(loaded, Missing) else _Source(store, record.dataset)
    remaining_bytes, deadline = _PREVIEWS_BYTES, time.monotonic() + _PREVIEWS_S
    for sample in samples:
        if isinstance(loaded, Missing) or source is None:
            yield sample, loaded if isinstance(loaded, Missing) else Missing("No preview: the run read no data.")
            continue
        if time.monotonic() > deadline:
            yield sample, Missing("No preview: the time limit for previews was reached.")
            continue
        fault = source.fault(sample)
        preview = Missing(fault) if fault else _preview(loaded, source.folder, sample, (boxes or {}).get(sample, ()))
        if not isinstance(preview, Missing):
            if len(preview.data) > remaining_bytes:
                preview = Missing("No preview: the size limit for previews was reached.")
            else:
                remaining_bytes -= len(preview.data)
        yield sample, preview


class _Source:
    """The folder that a run read, compared with the files that it had then as far as they are known."""

    def __init__(self, store: Store, dataset: DatasetRecord) -> None:
        self.folder = Path(dataset.path)
        self._store = store
        self._dataset = dataset
        self._digests = store.manifests.find(dataset.digest) or {}
        self._paths = {name.rpartition("/")[2]: name for name in self._digests}
        self._general_fault: str | None = None

    def fault(self, sample: str) -> str:
        """Return why the sample cannot be shown from the folder as it is now; empty when it can."""
        path = sample if sample in self._digests else self._paths.get(sample.rpartition("/")[2], "")
        if not path:
            return self._fault_of_all()
        try:
            is_same = file_digest(self.folder / path) == self._digests[path]
        except OSError:
            is_same = False
        return "" if is_same else f"{_CHANGED}: {path}."

    def _fault_of_all(self) -> str:
        if self._general_fault is None:
            is_small = self._dataset.files <= _SMALL_FILES and self._dataset.size_bytes <= _SMALL_BYTES
            is_changed = bool(self._digests) and is_small and self._digest_now() != self._dataset.digest
            self._general_fault = f"{_CHANGED}." if is_changed else ""
        return self._general_fault

    def _digest_now(self) -> str:
        try:
            return tree_manifest(self.folder, cache=self._store.file_digests).digest
        except OSError:
            return ""


def _use_case(record: RunRecord, loaded: UseCase | None) -> UseCase | Missing:
    if record.dataset is None or not Path(record.dataset.path).is_dir():
        return Missing("No preview: the data set is no longer at the path that the run read.")
    if loaded is not None:
        return loaded
    from mlops_core.use_cases.manager import load_use_case

    try:
        return load_use_case(record.use_case)
    except MlopsError as error:
        return Missing(f"No preview: {error}")


def _preview(use_case: UseCase, folder: Path, sample: str, boxes: Sequence[MarkedBox]) -> Preview | Missing:
    try:
        preview = use_case.boxes_preview(sample, folder, boxes) if boxes else None
        preview = preview or use_case.sample_preview(sample, folder)
    except MlopsError as error:
        return Missing(f"No preview: {error}")
    return preview or Missing("No preview for this sample.")
