"""What a client needs before its first request: the description of the cloud, and tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from mlops_azureml.emulator.web.access import MACHINE_LEARNING, MANAGEMENT
from mlops_azureml.emulator.web.errors import CallError
from mlops_azureml.emulator.web.http import Response
from mlops_azureml.emulator.web.routing import Route

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_azureml.emulator.web.access import Access
    from mlops_azureml.emulator.web.http import Request


class Identity:
    """The cloud's metadata, its identity service, and the managed identity of jobs."""

    def __init__(self, url: str, *, access: Access) -> None:
        """Serve below the address of the endpoint, ``https://localhost:PORT``."""
        self._url = url
        self._access = access

    def routes(self) -> Sequence[Route]:
        """Return the requests that need no token."""
        return (
            Route("GET", "/metadata/endpoints", self._metadata),
            Route("GET", "/{tenant}/v2.0/.well-known/openid-configuration", self._configuration),
            Route("POST", "/{tenant}/oauth2/v2.0/token", self._token),
            Route("GET", "/msi/token", self._managed_identity),
        )

    def _metadata(self, _: Request, __: Mapping[str, str]) -> Response:
        place = self._url.partition("://")[2]
        cloud = {
            "name": "MlopsLocal",
            "resourceManager": self._url,
            "portal": "https://portal.azure.com",  # azure-ai-ml makes the audience of its tokens from the end of it
            "authentication": {
                "loginEndpoint": self._url,
                "audiences": [MANAGEMENT],
                "tenant": self._access.credential.tenant,
                "identityProvider": "AAD",
            },
            "suffixes": {"storage": place, "azureDataLakeStoreFileSystem": place, "keyVaultDns": place},
            "mlWorkbench": MACHINE_LEARNING,
            "azureMachineLearning": MACHINE_LEARNING,
        }
        return Response.of_json([cloud])

    def _configuration(self, _: Request, names: Mapping[str, str]) -> Response:
        base = f"{self._url}/{names['tenant']}"
        return Response.of_json(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            }
        )

    def _token(self, request: Request, names: Mapping[str, str]) -> Response:
        form = dict(parse_qsl(request.content().decode("utf-8", "replace")))
        try:
            return Response.of_json(self._access.exchange(form, tenant=names["tenant"]))
        except CallError as error:
            content = json.dumps({"error": error.code, "error_description": error.message})
            return Response(status=error.status, content=content.encode())

    def _managed_identity(self, request: Request, _: Mapping[str, str]) -> Response:
        secret, resource = request.headers.get("secret", ""), request.query.get("resource", "")
        return Response.of_json(self._access.job_token(secret, resource))
