"""Data assets of a workspace, whose version follows from their content."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from mlops_azureml.service.connection import ServiceError
from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_azureml.service.workspace import Workspace

DIGEST_TAG = "digest"
VERSION_LENGTH = 12
"""Characters of a digest that become the version of a data asset."""
_TAKEN = (HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT)


def register_data(workspace: Workspace, name: str, *, uri: str, digest: str, tags: Mapping[str, str]) -> str:
    """Register a folder as a data asset, whose version follows from its content, and return the version.

    The same content again is the version that exists, wherever it is.

    Raises:
        RunnerError: the version exists with another content, or Azure refuses.
    """
    version = digest[:VERSION_LENGTH]
    existing = workspace.asset("data", name, version)
    if existing is None:
        properties = {"dataType": "uri_folder", "dataUri": uri, "tags": {**tags, DIGEST_TAG: digest}}
        try:
            workspace.put_asset("data", name, version, properties)
        except ServiceError as error:
            existing = workspace.asset("data", name, version) if error.status in _TAKEN else None
            if existing is None:
                raise
        else:
            return version
    theirs = str((existing["properties"].get("tags") or {}).get(DIGEST_TAG) or "")
    if theirs != digest:
        raise RunnerError(
            f"data asset {name}:{version} of workspace '{workspace.id.name}' has another content "
            f"(digest {theirs[:VERSION_LENGTH] or 'unknown'}, expected {digest[:VERSION_LENGTH]}); archive it, or give "
            "the data set another name"
        )
    return version
