"""The models of a workspace."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mlops_azureml.service.connection import Connection, ServiceError
from mlops_azureml.service.tokens import Tokens
from mlops_azureml.service.workspace import Workspace
from mlops_azureml.values.addresses import WorkspaceId
from mlops_azureml.values.models import RegisteredModel, VersionExistsError
from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NODE_VARIABLES = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
_TAKEN = (HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT)


class WorkspaceModels:
    """The models of a workspace. Every method raises `RunnerError` when Azure refuses."""

    def __init__(self, workspace: Workspace) -> None:
        """Use the registry of `workspace`."""
        self._workspace = workspace

    def versions(self, name: str) -> tuple[RegisteredModel, ...]:
        """Return all versions of a model, the newest first; none for an unknown name."""
        return tuple(_model(name, each) for each in self._workspace.versions("models", name))

    def create(self, model: RegisteredModel) -> None:
        """Create a version.

        Raises:
            VersionExistsError: it exists with another content.
        """
        existing = self._workspace.asset("models", model.name, model.version)
        if existing is not None:
            self._require_same(model, existing)
            return
        properties = {"modelType": "custom_model", "modelUri": model.uri, "tags": dict(model.tags)}
        try:
            self._workspace.put_asset("models", model.name, model.version, properties)
        except ServiceError as error:
            if error.status not in _TAKEN:
                raise
            created = self._workspace.asset("models", model.name, model.version)
            if created is None:
                raise
            self._require_same(model, created)  # an earlier attempt whose answer was lost, or another run

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Change tags of a version; all others are kept."""
        existing = self._workspace.asset("models", name, version)
        if existing is None:
            raise RunnerError(f"model {name}:{version} does not exist in workspace '{self._workspace.id.name}'")
        properties = existing["properties"]
        kept = {
            key: properties[key] for key in ("modelType", "modelUri", "description", "properties") if key in properties
        }
        changed = {**kept, "tags": {**(properties.get("tags") or {}), **tags}}
        self._workspace.put_asset("models", name, version, changed)

    def resource_id(self, name: str, version: str) -> str:
        """Return the resource id of a version."""
        return f"{self._workspace.id}/models/{name}/versions/{version}"

    def _require_same(self, model: RegisteredModel, existing: Any) -> None:
        if _model(model.name, existing).uri.rstrip("/") != model.uri.rstrip("/"):
            raise VersionExistsError(
                f"model {model.name} has a version {model.version} of another content in workspace "
                f"'{self._workspace.id.name}'"
            )


def workspace_models(environ: Mapping[str, str]) -> WorkspaceModels:
    """Return the models of the workspace in which a node is executed.

    Args:
        environ: the environment of the node.

    Raises:
        RunnerError: the environment does not name a workspace.
    """
    missing = [name for name in _NODE_VARIABLES if not environ.get(name)]
    if missing:
        raise RunnerError(f"{', '.join(missing)} is not set; models are registered in a job of Azure ML")
    subscription, group, name = (environ[each] for each in _NODE_VARIABLES)
    identifier = WorkspaceId(subscription=subscription, group=group, name=name)
    return WorkspaceModels(Workspace(identifier, connection=Connection(tokens=Tokens())))


def _model(name: str, data: Any) -> RegisteredModel:
    properties = data["properties"]
    tags = {str(key): str(value) for key, value in (properties.get("tags") or {}).items()}
    return RegisteredModel(name=name, version=str(data["name"]), uri=str(properties.get("modelUri") or ""), tags=tags)


__all__ = ["WorkspaceModels", "workspace_models"]
