"""The addresses of an Azure cloud: Resource Manager, storage, and the scopes of tokens.

Without a setting these are the addresses of the public cloud. ``ARM_CLOUD_METADATA_URL``, which azure-ai-ml and
Terraform read too, names a document with those of another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.runners import RunnerError, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

METADATA_VARIABLE = "ARM_CLOUD_METADATA_URL"
STORAGE_SCOPE = "https://storage.azure.com/.default"
MACHINE_LEARNING_SCOPE = "https://ml.azure.com/.default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Addresses of one cloud.

    Attributes:
        resource_manager: address of the Resource Manager, without a slash at its end.
        storage_suffix: what follows ``ACCOUNT.blob.`` in the address of a storage account.
        audience: audience of the tokens for the Resource Manager.
    """

    resource_manager: str = "https://management.azure.com"
    storage_suffix: str = "core.windows.net"
    audience: str = "https://management.azure.com"

    @property
    def management_scope(self) -> str:
        """The scope of tokens for the Resource Manager."""
        return f"{self.audience}/.default"

    def blob_endpoint(self, account: str, *, protocol: str = "https", suffix: str = "") -> str:
        """Return the address of the blobs of a storage account."""
        return f"{protocol}://{account}.blob.{suffix or self.storage_suffix}"


def find_cloud(read: Callable[[str], Any]) -> Cloud:
    """Return the cloud of the environment.

    Args:
        read: returns the JSON at an address.

    Raises:
        RunnerError: the document of another cloud cannot be read.
    """
    address = read_settings().environ.get(METADATA_VARIABLE)
    if not address:
        return Cloud()
    try:
        return _parse(read(address))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise RunnerError(
            f"{METADATA_VARIABLE}={address} is not a description of a cloud: {error!r}; expected resourceManager, "
            "authentication.audiences and suffixes.storage"
        ) from error


def _parse(document: Any) -> Cloud:
    """Return the cloud of a document; one with several is a list, of which the first counts."""
    data = document[0] if isinstance(document, list) else document
    return Cloud(
        resource_manager=str(data["resourceManager"]).rstrip("/"),
        storage_suffix=str(data["suffixes"]["storage"]).strip("/."),
        audience=str(data["authentication"]["audiences"][0]).rstrip("/"),
    )
