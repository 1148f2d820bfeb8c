"""A workspace of Azure Machine Learning: the requests that a run needs, as methods.

The version of the Resource Manager's API is named here and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from mlops_azureml.service.cloud import MACHINE_LEARNING_SCOPE
from mlops_azureml.service.connection import Connection, ServiceError
from mlops_azureml.service.tokens import Tokens
from mlops_core.runners import RunnerError, did_you_mean, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_azureml.values.addresses import WorkspaceId

Json = Any

API_VERSION = "2024-10-01"
"""Version of the Resource Manager's API for Machine Learning: a stable one, for every request."""
_AUTHORIZATION_VERSION = "2022-04-01"


class Workspace:
    """A workspace, as one identity sees it. Every method raises `RunnerError` when Azure refuses or is not reached."""

    def __init__(self, identifier: WorkspaceId, *, connection: Connection | None = None) -> None:
        """Use a workspace; nothing is sent yet.

        Args:
            identifier: address of the workspace.
            connection: connection to Azure; None for a new one.
        """
        self.id = identifier
        self.connection = connection or Connection()
        self._history = ""

    @property
    def url(self) -> str:
        """The workspace's address at the Resource Manager."""
        return f"{self.connection.cloud.resource_manager}{self.id}"

    def arm(
        self,
        method: str,
        path: str = "",
        *,
        body: Json = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Send a request about the resource at `path` below the workspace, for example ``computes/cpu-cluster``."""
        return self.connection.send(
            method,
            f"{self.url}/{path}".rstrip("/"),
            scope=self.connection.cloud.management_scope,
            body=body,
            query={"api-version": API_VERSION, **(query or {})},
            headers=headers,
        )

    def pages(self, path: str, *, query: Mapping[str, str] | None = None) -> Iterator[Json]:
        """Yield the items of a listing, page by page.

        Raises:
            RunnerError: a page refers to a server that is not the Resource Manager.
        """
        page = self.arm("GET", path, query=query)
        while True:
            yield from (page or {}).get("value") or ()
            following = (page or {}).get("nextLink")
            if not following:
                return
            if urlsplit(following)[:2] != urlsplit(self.url)[:2]:  # the token must not go anywhere else
                raise RunnerError(f"{path}: the next page is at {urlsplit(following).netloc}, which is not trusted")
            page = self.connection.send("GET", following, scope=self.connection.cloud.management_scope)

    # --- The workspace and its parts ----------------------------------------------------------------------

    def describe(self) -> Json:
        """Return the workspace.

        Raises:
            RunnerError: it does not exist, or cannot be seen.
        """
        try:
            return self.arm("GET")
        except ServiceError as error:
            if not error.is_missing or error.code == "SubscriptionNotFound":
                raise
            if error.code == "ResourceGroupNotFound":
                message = f"resource group '{self.id.group}' does not exist in subscription {self.id.subscription}"
            else:
                message = f"no workspace '{self.id.name}' in resource group '{self.id.group}'"
            raise ServiceError(
                f"{message}; check WORKSPACE_NAME, RESOURCE_GROUP_NAME and SUBSCRIPTION_ID",
                status=error.status,
                code=error.code,
            ) from error

    def compute(self, name: str) -> Json:
        """Return a compute target.

        Raises:
            RunnerError: it does not exist.
        """
        return self._part("computes", name, what="compute", fix="set the compute in azureml.yaml, or create it")

    def datastore(self, name: str) -> Json:
        """Return a datastore.

        Raises:
            RunnerError: it does not exist.
        """
        return self._part("datastores", name, what="datastore", fix="set DATA_STORE_NAME, or create it")

    def datastore_secrets(self, name: str) -> Json:
        """Return the secrets of a datastore; None where it has none, or they may not be read.

        The caller then signs in to the storage account with its own identity.
        """
        try:
            return self.arm("POST", f"datastores/{quote(name, safe='')}/listSecrets", body={})
        except ServiceError as error:
            if error.is_denied or error.status == 400:
                return None
            raise

    def _part(self, kind: str, name: str, *, what: str, fix: str) -> Json:
        try:
            return self.arm("GET", f"{kind}/{quote(name, safe='')}")
        except ServiceError as error:
            if not error.is_missing:
                raise
            self.describe()  # a workspace that does not exist has a message of its own
            names = [str(each.get("name")) for each in self.pages(kind)]
            hint = did_you_mean(name, names) or f"; it has {', '.join(sorted(names)) or 'none'};"
            raise ServiceError(
                f"{what} '{name}' does not exist in workspace '{self.id.name}'{hint} {fix}",
                status=error.status,
                code=error.code,
            ) from error

    def permissions(self) -> Iterator[Json]:
        """Yield what the identity may do with the workspace: entries with ``actions`` and ``notActions``."""
        path = "providers/Microsoft.Authorization/permissions"
        yield from self.pages(path, query={"api-version": _AUTHORIZATION_VERSION})

    # --- Assets -------------------------------------------------------------------------------------------

    def asset(self, kind: str, name: str, version: str) -> Json:
        """Return a version of an asset; None if it does not exist.

        Args:
            kind: ``data``, ``models``, ``environments``, ``components`` or ``codes``.
            name: name of the asset.
            version: its version.
        """
        try:
            return self.arm("GET", _asset_path(kind, name, version))
        except ServiceError as error:
            if error.is_missing:
                return None
            raise

    def put_asset(self, kind: str, name: str, version: str, properties: Json) -> Json:
        """Create a version of an asset, or change its tags and description."""
        return self.arm("PUT", _asset_path(kind, name, version), body={"properties": properties})

    def versions(self, kind: str, name: str) -> Iterator[Json]:
        """Yield the versions of an asset, the newest first; none if the asset does not exist."""
        path = f"{kind}/{quote(name, safe='')}/versions"
        try:
            yield from self.pages(path, query={"$orderBy": "createdtime desc"})
        except ServiceError as error:
            if not error.is_missing:
                raise

    # --- Jobs ---------------------------------------------------------------------------------------------

    def job(self, name: str) -> Json:
        """Return a job; None if it does not exist."""
        try:
            return self.arm("GET", f"jobs/{quote(name, safe='')}")
        except ServiceError as error:
            if error.is_missing:
                return None
            raise

    def put_job(self, name: str, properties: Json) -> Json:
        """Submit a job; one that an earlier attempt of the same request has created is returned.

        Raises:
            ServiceError: a job of this name exists, or Azure refuses.
        """
        token = self.connection.tokens.get(MACHINE_LEARNING_SCOPE)
        try:
            return self.arm(
                "PUT",
                f"jobs/{quote(name, safe='')}",
                body={"properties": properties},
                headers={"x-azureml-token": token},
            )
        except ServiceError as error:
            created = self.job(name) if error.is_sent_before else None
            if created is None:
                raise
            return created

    def cancel_job(self, name: str) -> None:
        """Ask for the end of a job."""
        self.arm("POST", f"jobs/{quote(name, safe='')}/cancel")

    # --- Run history --------------------------------------------------------------------------------------

    @property
    def history(self) -> str:
        """The address of the run history."""
        if not self._history:
            properties = self.describe().get("properties") or {}
            discovery = str(properties.get("discoveryUrl") or "")
            if not discovery:
                raise RunnerError(f"workspace '{self.id.name}' names no discoveryUrl; it may still be created")
            self._history = str(self.connection.send("GET", discovery)["history"]).rstrip("/")
        return self._history

    def children(self, run: str) -> Iterator[Json]:
        """Yield the child runs of a run: the nodes of a pipeline, the trials of a sweep."""
        token = ""
        while True:
            page = self._history_of(f"{quote(run, safe='')}/children", {"$continuationToken": token} if token else {})
            yield from page.get("value") or ()
            token = page.get("continuationToken") or ""
            if not token:
                return

    def run_details(self, run: str) -> Json:
        """Return the details of a run, with the addresses of its logs."""
        return self._history_of(f"{quote(run, safe='')}/details", {})

    def run_metrics(self, run: str) -> Json:
        """Return the metrics of a run: name -> last value."""
        page = self.connection.send(
            "POST",
            f"{self.history}/metric/v2.0{self.id}/runs/{quote(run, safe='')}/lastvalues",
            scope=MACHINE_LEARNING_SCOPE,
            body={},
        )
        return page or {}

    def _history_of(self, path: str, query: Mapping[str, str]) -> Json:
        url = f"{self.history}/history/v1.0{self.id}/runs/{path}"
        return self.connection.send("GET", url, scope=MACHINE_LEARNING_SCOPE, query=query) or {}


def new_connection(*, tenant: str | None = None) -> Connection:
    """Return a connection as the identity of the environment, in a tenant or that of AZURE_TENANT_ID."""
    return Connection(tokens=Tokens(tenant=tenant or read_settings().environ.get("AZURE_TENANT_ID") or None))


def open_workspace(identifier: WorkspaceId, *, tenant: str | None = None) -> Workspace:
    """Return a workspace with a connection of its own."""
    return Workspace(identifier, connection=new_connection(tenant=tenant))


def _asset_path(kind: str, name: str, version: str) -> str:
    return f"{kind}/{quote(name, safe='')}/versions/{quote(version, safe='')}"
