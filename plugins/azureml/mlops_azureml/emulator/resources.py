"""The Resource Manager's view of the workspace: computes, datastores, and versions of assets."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from mlops_azureml.emulator.web.errors import InvalidError, NotFoundError
from mlops_azureml.emulator.web.http import Response
from mlops_azureml.emulator.web.routing import Route

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_azureml.emulator.state import WorkspaceState
    from mlops_azureml.emulator.web.access import Access
    from mlops_azureml.emulator.web.http import Request

Json = Any

_KINDS = ("data", "models", "environments", "components", "codes")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}\Z")
_PAGE = 50


class Resources:
    """Answers requests about the workspace and its assets."""

    def __init__(self, state: WorkspaceState, *, url: str, access: Access) -> None:
        """Serve the state below the address of the endpoint."""
        self._state = state
        self._url = url
        self._access = access

    def routes(self) -> Sequence[Route]:
        """Return the requests, relative to the workspace."""
        routes = [
            Route("GET", "", self._workspace),
            Route("GET", "providers/Microsoft.Authorization/permissions", self._permissions),
            Route("GET", "computes", self._computes),
            Route("GET", "computes/{name}", self._compute),
            Route("GET", "datastores", self._datastores),
            Route("GET", "datastores/{name}", self._datastore),
            Route("POST", "datastores/{name}/listSecrets", self._secrets),
        ]
        for kind in _KINDS:
            routes += self._asset_routes(kind)
        return routes

    def _asset_routes(self, kind: str) -> list[Route]:
        return [
            Route("GET", f"{kind}/{{name}}", lambda _, names: self._asset(kind, names)),
            Route("GET", f"{kind}/{{name}}/versions", lambda request, names: self._versions(kind, request, names)),
            Route("GET", f"{kind}/{{name}}/versions/{{version}}", lambda _, names: self._version(kind, names)),
            Route("PUT", f"{kind}/{{name}}/versions/{{version}}", lambda *given: self._put_version(kind, *given)),
            Route(
                "POST",
                f"{kind}/{{name}}/versions/{{version}}/startPendingUpload",
                lambda _, names: self._pending_upload(kind, names),
            ),
        ]

    # --- The workspace ------------------------------------------------------------------------------------

    def _workspace(self, _: Request, __: Mapping[str, str]) -> Response:
        names = self._state.names
        properties = {
            "workspaceId": str(uuid.uuid5(uuid.NAMESPACE_URL, names.workspace_id)),
            "discoveryUrl": f"{self._url}/discovery",
            "mlFlowTrackingUri": f"azureml://{self._url.partition('://')[2]}/mlflow/v1.0{names.workspace_id}",
            "storageAccount": (
                f"/subscriptions/{names.subscription}/resourceGroups/{names.group}/providers/"
                f"Microsoft.Storage/storageAccounts/{names.account}"
            ),
            "provisioningState": "Succeeded",
            "friendlyName": names.workspace,
        }
        workspace = {
            "id": names.workspace_id,
            "name": names.workspace,
            "type": "Microsoft.MachineLearningServices/workspaces",
            "location": "local",
            "kind": "Default",
            "identity": {"type": "SystemAssigned"},
            "properties": properties,
        }
        return Response.of_json(workspace)

    def _permissions(self, _: Request, __: Mapping[str, str]) -> Response:
        return Response.of_json({"value": [{"actions": ["*"], "notActions": []}]})

    def _computes(self, _: Request, __: Mapping[str, str]) -> Response:
        with self._state.lock:
            return Response.of_json({"value": [self._compute_json(name) for name in self._state.computes]})

    def _compute(self, _: Request, names: Mapping[str, str]) -> Response:
        with self._state.lock:
            return Response.of_json(self._compute_json(names["name"]))

    def _compute_json(self, name: str) -> Json:
        properties = self._state.computes.get(name)
        if properties is None:
            raise NotFoundError(f"The Compute with name {name} was not found", code="ResourceNotFound")
        return {
            "id": f"{self._state.names.workspace_id}/computes/{name}",
            "name": name,
            "type": "Microsoft.MachineLearningServices/workspaces/computes",
            "location": "local",
            "properties": properties,
        }

    def _datastores(self, request: Request, _: Mapping[str, str]) -> Response:
        del request
        return Response.of_json({"value": [self._datastore_json(self._state.names.datastore)]})

    def _datastore(self, _: Request, names: Mapping[str, str]) -> Response:
        return Response.of_json(self._datastore_json(names["name"]))

    def _datastore_json(self, name: str) -> Json:
        names = self._state.names
        if name != names.datastore:
            raise NotFoundError(f"Could not find datastore: {name}", code="UserError")
        storage = self._state.storage
        return {
            "id": f"{names.workspace_id}/datastores/{name}",
            "name": name,
            "type": "Microsoft.MachineLearningServices/workspaces/datastores",
            "properties": {
                "datastoreType": "AzureBlob",
                "accountName": storage.account if storage else names.account,
                "containerName": storage.container if storage else names.container,
                "endpoint": storage.address if storage else self._url.partition("://")[2],
                "protocol": "http" if storage else "https",
                "isDefault": True,
                "credentials": {"credentialsType": "AccountKey" if storage else "Sas"},
                "serviceDataAccessAuthIdentity": "None",
            },
        }

    def _secrets(self, _: Request, names: Mapping[str, str]) -> Response:
        self._datastore_json(names["name"])
        if self._state.storage is not None:
            return Response.of_json({"secretsType": "AccountKey", "key": self._state.storage.key})
        signature = self._access.signature(self._state.names.container)
        return Response.of_json({"secretsType": "Sas", "sasToken": signature})

    # --- Assets -------------------------------------------------------------------------------------------

    def _asset(self, kind: str, names: Mapping[str, str]) -> Response:
        with self._state.lock:
            versions = self._state.versions(kind, names["name"])
            if not versions:
                raise NotFoundError(f"{kind}: {names['name']} was not found", code="UserError")
            latest = next(reversed(versions))
            numbers = [int(version) for version in versions if version.isdecimal()]
            properties = {"latestVersion": latest, "nextVersion": str(max(numbers, default=0) + 1)}
            return Response.of_json({"name": names["name"], "properties": properties})

    def _versions(self, kind: str, request: Request, names: Mapping[str, str]) -> Response:
        with self._state.lock:
            found = list(self._state.versions(kind, names["name"]).values())
        if "desc" in request.query.get("$orderBy", request.query.get("orderBy", "")).lower():
            found.reverse()
        wanted = request.query.get("hash")
        if wanted:
            found = [each for each in found if wanted in (each["properties"].get("properties") or {}).values()]
        if not found and not wanted:
            raise NotFoundError(f"{kind}: {names['name']} was not found", code="UserError")
        if request.query.get("$top", "").isdecimal():
            return Response.of_json({"value": found[: int(request.query["$top"])]})
        skipped = int(request.query.get("$skip") or 0) if request.query.get("$skip", "0").isdecimal() else 0
        page: dict[str, Json] = {"value": found[skipped : skipped + _PAGE]}
        if len(found) > skipped + _PAGE:
            order = request.query.get("$orderBy", "")
            version = request.query.get("api-version", "")
            following = f"?api-version={version}&$skip={skipped + _PAGE}" + (f"&$orderBy={order}" if order else "")
            page["nextLink"] = f"{self._url}{request.path}{following.replace(' ', '%20')}"
        return Response.of_json(page)

    def _version(self, kind: str, names: Mapping[str, str]) -> Response:
        with self._state.lock:
            return Response.of_json(self._state.version(kind, names["name"], names["version"]))

    def _put_version(self, kind: str, request: Request, names: Mapping[str, str]) -> Response:
        properties = _properties(request)
        for each in (names["name"], names["version"]):
            if not _NAME.match(each):
                raise InvalidError(f"{each!r} is not a valid name or version of an asset", code="ValidationError")
        if kind == "components" and not isinstance(properties.get("componentSpec"), dict):
            raise InvalidError("a component needs a componentSpec", code="ValidationError")
        with self._state.lock:
            is_new = names["version"] not in self._state.versions(kind, names["name"])
            stored = self._state.put_version(kind, names["name"], names["version"], properties)
            return Response.of_json(stored, status=201 if is_new else 200)

    def _pending_upload(self, kind: str, names: Mapping[str, str]) -> Response:
        own = self._state.names
        place = f"LocalUpload/{kind}/{names['name']}/{names['version']}"
        base = f"{self._url}/{own.account}/{own.container}"
        signature = self._access.signature(own.container)
        reference = {
            "blobUri": f"{base}/{place}",
            "storageAccountArmId": "",
            "credential": {"credentialType": "SAS", "sasUri": f"{base}?{signature}"},
        }
        return Response.of_json(
            {
                "blobReferenceForConsumption": reference,
                "pendingUploadId": str(uuid.uuid4()),
                "pendingUploadType": "TemporaryBlobReference",
            }
        )


def _properties(request: Request) -> dict[str, Json]:
    body = request.json()
    properties = body.get("properties") if isinstance(body, dict) else None
    if not isinstance(properties, dict):
        raise InvalidError("the body has no 'properties'", code="ValidationError")
    return properties
