"""The registered versions of a model, as they can be deployed.

The service has no approval of a version; the tag ``approval`` takes its place: ``approved``, ``pending``, ``rejected``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

from mlops_azureml.layout import asset_name
from mlops_azureml.service.bodies import ANONYMOUS_ENVIRONMENT
from mlops_azureml.service.datastores import DatastoreContainer
from mlops_azureml.service.models import WorkspaceModels
from mlops_azureml.service.results import download
from mlops_azureml.values.addresses import DatastoreUri
from mlops_core import UsageError
from mlops_core.deployments import ApprovalStatus, ModelReference

if TYPE_CHECKING:
    from mlops_azureml.service.workspace import Workspace
    from mlops_azureml.settings import WorkspaceSettings
    from mlops_azureml.values.models import RegisteredModel
    from mlops_core.runners import Store

APPROVAL_TAG = "approval"
_USE_CASE_TAG = "use_case"


class ModelVersions:
    """The versions of a use case's model in a workspace."""

    def __init__(self, workspace: Workspace, store: Store, settings: WorkspaceSettings) -> None:
        """Use the registry of a workspace; models are fetched into `store` once, for their digests."""
        self._workspace = workspace
        self._store = store
        self._settings = settings
        self._models = WorkspaceModels(workspace)
        self._digests: dict[str, str] = {}

    def find(self, use_case: str, wanted: str | None) -> ModelReference | None:
        """Return a version by its number or resource id, or the newest that is not rejected; None if there is none.

        Raises:
            UsageError: its tag of approval is not one of the known words.
        """
        name = self._settings.model_name or asset_name(use_case.lower())
        versions = [each for each in self._models.versions(name) if each.tags.get(_USE_CASE_TAG) in (None, use_case)]
        if wanted is None:
            found = next((each for each in versions if _approval(each) is not ApprovalStatus.REJECTED), None)
        else:
            number = wanted.rpartition("/")[2]
            found = next((each for each in versions if each.version == number), None)
        if found is None or not found.version.isdecimal():
            return None
        return ModelReference(
            use_case=use_case,
            version=int(found.version),
            artifact=self._digest(found),
            approval=_approval(found),
            location=self._models.resource_id(name, found.version),
        )

    def environment(self, properties: dict[str, Any]) -> str:
        """Create the anonymous environment of a serving image, and return its resource id."""
        version = hashlib.sha256(json.dumps(properties, sort_keys=True).encode()).hexdigest()
        self._workspace.put_asset("environments", ANONYMOUS_ENVIRONMENT, version, properties)
        return f"{self._workspace.id}/environments/{ANONYMOUS_ENVIRONMENT}/versions/{version}"

    def _digest(self, model: RegisteredModel) -> str:
        """Return the digest of a model's files, which are fetched once; files of a version never change."""
        if model.uri not in self._digests:
            uri = DatastoreUri.parse(model.uri)
            note = self._store.home / "azureml" / "models" / f"{hashlib.sha256(model.uri.encode()).hexdigest()}.txt"
            digest = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
            if not digest or not self._store.artifacts.has(digest):
                work = self._store.work_folder("model")
                try:
                    download(DatastoreContainer(self._workspace, uri.datastore), uri.path, work / "files")
                    digest = self._store.artifacts.add(work / "files")
                finally:
                    shutil.rmtree(work, ignore_errors=True)
                note.parent.mkdir(parents=True, exist_ok=True)
                note.write_text(digest, encoding="utf-8")
            self._digests[model.uri] = digest
        return self._digests[model.uri]


def _approval(model: RegisteredModel) -> ApprovalStatus:
    text = model.tags.get(APPROVAL_TAG, "pending").strip().lower()
    known = {
        "pending": ApprovalStatus.PENDING,
        "approved": ApprovalStatus.APPROVED,
        "rejected": ApprovalStatus.REJECTED,
    }
    if text not in known:
        raise UsageError(
            f"model {model.name}:{model.version} has the tag {APPROVAL_TAG}={text!r}; expected {', '.join(known)}"
        )
    return known[text]
