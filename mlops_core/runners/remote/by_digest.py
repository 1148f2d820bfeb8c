"""A data set in a folder of an object store that is named by its digest, so its content never changes.

For engines that reuse the results of steps by the addresses of their inputs: another content is another address. The
identity of a catalogue entry's sources leads to the digest, so a data set that is complete is not even fetched.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from mlops_core.runners.dataset_source import fetch_source, is_source_there, source_identity
from mlops_core.runners.remote.datasets import Provided, provide_dataset, read_manifest, record_of

if TYPE_CHECKING:
    from mlops_core.datasets.catalogue import Progress
    from mlops_core.runners.remote.object_store import Bucket
    from mlops_core.runners.remote.places import Place
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.store import Store

_SOURCES = ".mlops-sources"
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def provide_by_digest(request: RunRequest, uri: str, *, store: Store, bucket: Bucket, progress: Progress) -> Provided:
    """Make the data set of a run complete in the folder of its digest; send and fetch nothing when it is complete.

    Args:
        request: run with the use case and its configuration.
        uri: address of the prefix that holds the folders of all digests.
        store: workspace into which the data set is fetched when it is in neither place.
        bucket: the bucket of `uri`.
        progress: progress callback.

    Raises:
        DatasetError: the data set cannot be fetched or sent. Uploaded files are kept, and the next call resumes.
    """
    root = bucket.place(uri)
    choice = request.dataset_choice()
    has_own_digest = choice.earlier_split is not None  # no identity of sources leads to it
    sources = source_identity(choice.entry, seed=request.seed) if choice.entry and not has_own_digest else ""
    pointer = root.key(f"{_SOURCES}/{hashlib.sha256(sources.encode()).hexdigest()}.txt")
    if sources and not is_source_there(choice, store=store, seed=request.seed):
        found = _complete(bucket, root, pointer, name=choice.name, sources=sources)
        if found is not None:
            return found
    source = fetch_source(
        request.use_case, choice, store=store, seed=request.seed, is_offline=request.is_offline, progress=progress
    )
    digest = source.record.digest
    provided = provide_dataset(request, f"{root}{digest}/", store=store, bucket=bucket, progress=progress)
    if sources and (not provided.was_there or bucket.read(pointer) is None):
        bucket.write(pointer, digest.encode())
    return provided


def _complete(bucket: Bucket, root: Place, pointer: str, *, name: str, sources: str) -> Provided | None:
    """Return the data set that is complete in the store for these sources; None if there is none."""
    digest = (bucket.read(pointer) or b"").decode(errors="replace").strip()
    if not _DIGEST.match(digest):
        return None
    place = root.below(digest)
    manifest = read_manifest(bucket, place)
    if manifest is None or (manifest.name, manifest.sources, manifest.digest) != (name, sources, digest):
        return None
    return Provided(record=record_of(manifest, str(place)), place=place)


__all__ = ["provide_by_digest"]
