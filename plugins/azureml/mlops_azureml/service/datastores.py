"""A datastore of a workspace as an object store: addresses ``azureml://``, and its container by core's `Bucket`.

A secret of the datastore, account key or signature, is used where the workspace gives one out; otherwise the identity
itself must have access to the storage account.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from mlops_azureml.service.cloud import STORAGE_SCOPE
from mlops_azureml.service.connection import attempts, error_of
from mlops_azureml.values.addresses import DatastoreUri
from mlops_core import DatasetError
from mlops_core.runners import RunnerError
from mlops_core.runners.remote.object_store import Bucket, StoreAccess
from mlops_core.runners.remote.places import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_azureml.service.connection import Connection
    from mlops_azureml.service.workspace import Workspace

_CODE = re.compile(r"<Code>(.*?)</Code>")
_STATUS = re.compile(r"\b(?:status|status code|code)[: ]+(\d{3})\b")


class DatastoreContainer(Bucket):
    """The blob container of a datastore."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        """Ask the workspace for the container, and open it.

        Raises:
            RunnerError: the datastore does not exist or does not hold blobs, or obstore is not installed.
        """
        self.name = name
        properties = workspace.datastore(name).get("properties") or {}
        kind = str(properties.get("datastoreType") or "")
        if kind not in ("AzureBlob", "AzureDataLakeGen2"):
            raise RunnerError(f"datastore '{name}' is of type {kind or 'unknown'}; a run needs one of type AzureBlob")
        self.account = str(properties["accountName"])
        self.container = str(properties.get("containerName") or properties.get("filesystem"))
        endpoint = _endpoint(workspace, properties)
        self.endpoint = endpoint
        super().__init__(_access(self, workspace.connection, workspace.datastore_secrets(name)))

    def place(self, address: str) -> Place:
        """Return the prefix of an address ``azureml://datastores/NAME/paths/PREFIX``.

        Raises:
            DatasetError: the address names another datastore, or no prefix.
            UsageError: it is not an address in a datastore.
        """
        uri = DatastoreUri.parse(address)
        if uri.datastore != self.name or not uri.path or "//" in uri.path:
            raise DatasetError(
                f"{address!r} is not a folder in datastore '{self.name}'; expected "
                f"azureml://datastores/{self.name}/paths/FOLDER/"
            )
        # The account, and not the datastore, tells which objects an index of uploads is about.
        return Place(
            scheme="azure", bucket=f"{self.account}/{self.container}", prefix=uri.path, address=str(uri).rstrip("/")
        )


def _endpoint(workspace: Workspace, properties: Any) -> str:
    """Return the address of the account: below the suffix that the datastore names, or one of a host and a port."""
    account, protocol = str(properties["accountName"]), str(properties.get("protocol") or "https")
    suffix = str(properties.get("endpoint") or workspace.connection.cloud.storage_suffix)
    if re.match(r"(localhost|127\.0\.0\.1)(:\d+)?\Z", suffix):  # an emulator has no names below its own
        return f"{protocol}://{suffix}/{account}"
    return workspace.connection.cloud.blob_endpoint(account, protocol=protocol, suffix=suffix)


def _access(store: DatastoreContainer, connection: Connection, secrets: Any) -> StoreAccess:
    config: dict[str, Any] = {"account_name": store.account, "endpoint": store.endpoint}
    credentials: Callable[[], Any] | None = None
    kind = str((secrets or {}).get("secretsType") or "")
    # As providers: in a configuration, variables of the environment such as AZURE_CLIENT_SECRET would take precedence.
    if kind == "AccountKey" and secrets.get("key"):
        key = {"access_key": secrets["key"], "expires_at": None}
        credentials = lambda: key  # noqa: E731  a callback
    elif kind == "Sas" and secrets.get("sasToken"):
        signature = {"sas_token": str(secrets["sasToken"]).lstrip("?"), "expires_at": None}
        credentials = lambda: signature  # noqa: E731  a callback
    else:
        credentials = _identity(connection)
    return StoreAccess(
        url=f"azure://{store.container}",
        config=config,
        credentials=credentials,
        allow_http=store.endpoint.startswith("http://"),
        attempts=attempts(),
        explain=lambda error: fault_text(error, store=store),
        missing_code="ContainerNotFound",
    )


def _identity(connection: Connection) -> Callable[[], Any]:
    """Return a credential provider for obstore that renews the identity's token."""
    connection.tokens.get(STORAGE_SCOPE)  # who is not signed in learns it here, in one line

    def provide() -> dict[str, Any]:
        token, expires = connection.tokens.get_with_expiry(STORAGE_SCOPE)
        return {"token": token, "expires_at": dt.datetime.fromtimestamp(expires, dt.UTC)}

    return provide


def fault_text(error: Exception, *, store: DatastoreContainer) -> str:
    """Return an error of obstore, and its fix, in one line."""
    text = str(error)
    code = match[1] if (match := _CODE.search(text)) else ""
    status = match[1] if (match := _STATUS.search(text)) else ""
    kind = type(error).__name__
    if code == "ContainerNotFound" or "specified container does not exist" in text:
        return (
            f"container '{store.container}' of datastore '{store.name}' does not exist in account '{store.account}'; "
            "create it, or set another datastore"
        )
    if "certificate" in text and "UnknownIssuer" in text:
        return "the certificate is not trusted; set SSL_CERT_FILE to the certificate of your proxy or emulator"
    if "error sending request" in text:
        return (
            f"{store.endpoint} cannot be reached, or its certificate is not trusted; check the network, and "
            "SSL_CERT_FILE behind a proxy; uploaded files are kept, rerun the command"
        )
    if code in ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"):
        return "the credentials are not accepted or have expired; sign in again (az login) and rerun the command"
    if code.startswith("Authorization") or kind in ("PermissionDeniedError", "UnauthenticatedError", "PermissionError"):
        return (
            f"access denied{f' ({code})' if code else ''}; the identity needs the role 'Storage Blob Data Contributor' "
            f"on account '{store.account}', or the datastore a valid secret"
        )
    first = " ".join(text.partition("Debug source:")[0].split())
    _, message = error_of(text.encode())
    answer = f"Azure Storage answered {status}: {code or message[:200]}".strip() if status else first
    return f"{answer[:400]}; gave up after {attempts()} attempts; uploaded files are kept, rerun the command"
