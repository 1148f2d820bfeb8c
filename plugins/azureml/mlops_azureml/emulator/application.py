"""What the endpoint answers: who may ask, and which part of the service is meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_azureml.emulator.web.access import MACHINE_LEARNING, MANAGEMENT
from mlops_azureml.emulator.web.errors import CallError, InvalidError, UnsupportedError
from mlops_azureml.emulator.web.http import Response, is_blob_request
from mlops_azureml.emulator.web.routing import Route, Routes, require_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_azureml.emulator.blobs import Blobs
    from mlops_azureml.emulator.history import History
    from mlops_azureml.emulator.identity import Identity
    from mlops_azureml.emulator.inference import Inference
    from mlops_azureml.emulator.jobs import JobOperations
    from mlops_azureml.emulator.resources import Resources
    from mlops_azureml.emulator.state import Names
    from mlops_azureml.emulator.web.access import Access
    from mlops_azureml.emulator.web.http import Request

_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?\Z")


class Application:
    """The endpoint, as a function of requests."""

    def __init__(self, *, names: Names, access: Access, account: str) -> None:
        """Add the parts with `serve` before the first request."""
        self._names = names
        self._access = access
        self._account = account

    def serve(
        self,
        *,
        identity: Identity,
        resources: Resources,
        jobs: JobOperations,
        inference: Inference,
        history: History,
        blobs: Blobs,
    ) -> None:
        """Add the parts of the service."""
        self._open = Routes(
            (
                *identity.routes(),
                Route("GET", "/health", lambda *_: Response.of_json({"status": "ok"})),
                Route("GET", "/discovery", lambda *_: history.discovery()),
            )
        )
        self._workspace = Routes((*resources.routes(), *jobs.routes(), *inference.routes()))
        self._inference = inference
        self._runs = Routes(history.routes())
        self._blobs = blobs

    def __call__(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            CallError: it is refused.
        """
        path, header = request.path, request.headers.get("authorization", "")
        if is_blob_request(request) or path.startswith(f"/{self._account}/"):
            return self._blobs.answer(request)
        if path.startswith("/score/") and request.method == "POST":
            return self._inference.score(request, path.removeprefix("/score/"))
        found = self._open.find(request, path)
        if found is not None:
            return found
        if path.lower().startswith("/subscriptions/"):
            self._access.require_token(header, MANAGEMENT, self._access.own_audience)
            return self._manage(request)
        self._access.require_token(header, MACHINE_LEARNING, MANAGEMENT, self._access.own_audience)
        found = self._runs.find(request, path)
        if found is None:
            raise UnsupportedError(f"{request.method} {path}")
        return found

    def _manage(self, request: Request) -> Response:
        if not _VERSION.match(request.query.get("api-version", "")):
            raise InvalidError("the api-version query parameter is required", code="MissingApiVersionParameter")
        path = require_workspace(request.path, workspace_id=self._names.workspace_id)
        found = self._workspace.find(request, path)
        if found is None:
            raise UnsupportedError(f"{request.method} {path}")
        return found


def environment(url: str, *, certificates: str, access: Access, names: Names) -> Mapping[str, str]:
    """Return the variables with which clients use the endpoint."""
    return {
        "ARM_CLOUD_METADATA_URL": f"{url}/metadata/endpoints",
        "AZURE_AUTHORITY_HOST": url,
        **access.credential.environment(),
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
        "REQUESTS_CA_BUNDLE": certificates,
        "SSL_CERT_FILE": certificates,
        "SUBSCRIPTION_ID": names.subscription,
        "RESOURCE_GROUP_NAME": names.group,
        "WORKSPACE_NAME": names.workspace,
    }


__all__ = ["Application", "CallError", "environment"]
