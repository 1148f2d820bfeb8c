"""Recorded requests: a few inputs of the test part with the answers of the registered model, kept with its version.

They are an artifact of the workspace: ``requests.json`` and one file for each body. The bodies are copies of test data:
they stay in the workspace, which has the data already, and are part of no bundle, export, report or image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.errors import StoreError
from mlops_core.reading import read_json
from mlops_core.workspace.manifests import REQUESTS_NOTE
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_core.deployments.plan import ModelReference
    from mlops_core.workspace.store import Store

REQUESTS_FILE = "requests.json"
MOST_REQUESTS = 8
MOST_BODY_BYTES = 1 << 20
MOST_BYTES = 4 << 20
_FORMAT = "mlops-requests/1"
_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """An input with the answer of the registered model.

    Attributes:
        sample: id of the test sample.
        content_type: media type of the body.
        body: what is sent.
        answer: what the model answered, as JSON types: ``{"predictions": [...]}``.
    """

    sample: str
    content_type: str
    body: bytes = field(repr=False)
    answer: Mapping[str, Any] = field(repr=False)


def write_requests(folder: Path, requests: Sequence[RecordedRequest]) -> None:
    """Write recorded requests to an empty folder."""
    items = []
    for index, request in enumerate(requests):
        name = f"body-{index:02d}"
        (folder / name).write_bytes(request.body)
        items.append(
            {
                "sample": request.sample,
                "content_type": request.content_type,
                "file": name,
                "answer": dict(request.answer),
            }
        )
    document = {"format": _FORMAT, "requests": items}
    (folder / REQUESTS_FILE).write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_requests(store: Store, digest: str) -> tuple[RecordedRequest, ...]:
    """Return the recorded requests in an artifact.

    Args:
        store: the workspace.
        digest: of the artifact; empty for none.

    Raises:
        StoreError: the artifact is gone or damaged.
    """
    if not digest:
        return ()
    folder = store.artifacts.path(digest)
    damage = store.artifacts.damage(digest) if folder.is_dir() else "it is gone"
    if damage:
        raise StoreError(f"recorded requests {digest[:12]}: {damage}; run the use case again to record them")
    try:
        document = read_json(folder / REQUESTS_FILE, limit_bytes=_LIMIT_BYTES)
        return tuple(
            RecordedRequest(
                sample=item["sample"],
                content_type=item["content_type"],
                body=(folder / item["file"]).read_bytes(),
                answer=item["answer"],
            )
            for item in document["requests"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:  # another format lacks a key
        raise StoreError(f"recorded requests {digest[:12]} cannot be read: {error}") from error


def recorded_requests(store: Store, model: ModelReference) -> tuple[RecordedRequest, ...]:
    """Return the recorded requests of a version; none where the workspace does not have this version.

    Raises:
        StoreError: they are gone or damaged.
    """
    for version in Registry(store).versions(model.use_case):
        if version.artifact == model.artifact and version.requests:
            return read_requests(store, version.requests)
    digest = store.manifests.find_note(model.artifact, REQUESTS_NOTE) if store.manifests.has(model.artifact) else None
    return read_requests(store, digest) if digest and store.artifacts.has(digest) else ()
