"""Whether the data set of a run is still what its digest says, before and after each step that reads it.

A digest is computed once, when the run begins; the folder is the user's, who may edit it meanwhile, and undo the edit.
The state of the folder (size, times and inode of each file and folder) is compared around each step; the content is
read again only where the state has changed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import iter_tree, manifest_of
from mlops_core.datasets.tree_walk import tree_state
from mlops_core.errors import DatasetError
from mlops_core.runners.dataset_source import dataset_errors
from mlops_core.workspace.manifests import changed_files

if TYPE_CHECKING:
    from mlops_core.datasets.tree_walk import TreeState
    from mlops_core.runners.dataset_source import FetchedSource
    from mlops_core.workspace.manifests import ManifestStore


class DatasetWatch:
    """The data set of one run. Safe to use from threads."""

    def __init__(self, source: FetchedSource, *, manifests: ManifestStore) -> None:
        """Watch the folder of `source`; `manifests` name the files that changed."""
        self._source = source
        self._state = source.state
        self._manifests = manifests
        self._lock = threading.Lock()

    def state(self) -> TreeState:
        """Return the present state of the folder.

        Raises:
            DatasetError: a file cannot be read, or the folder is gone.
        """
        with dataset_errors(self._source.record.name):
            return tree_state(self._source.path)

    def verified_state(self) -> TreeState:
        """Return the present state of the folder, whose content is that of the digest.

        Raises:
            DatasetError: the content has changed; the message names a file.
        """
        with self._lock:
            state = self.state()
            if state.digest == self._state.digest:
                return state
            with dataset_errors(self._source.record.name):
                files = tuple(iter_tree(self._source.path))
            if manifest_of(files).digest != self._source.record.digest:
                raise DatasetError(self._changed({file.path: file.sha256 for file in files}))
            self._state = state
            return state

    def _changed(self, now: dict[str, str]) -> str:
        known = self._manifests.find(self._source.record.digest)
        names = () if known is None else changed_files(known, now)
        which = f": {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}" if names else ""
        return (
            f"data set '{self._source.record.name}' in {self._source.path} changed while the run was under way{which}; "
            "what read it was not kept: run again"
        )
