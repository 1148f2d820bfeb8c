"""An online endpoint as the workspace describes it: its deployments, its traffic, and what mlops noted in its tags.

What is under way is written into the endpoint's tags, so any process can continue it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mlops_azureml.deployment.requests import CONFIGURATION
from mlops_azureml.service.connection import ServiceError
from mlops_core.deployments import EndpointAnswer
from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_azureml.service.workspace import Workspace
    from mlops_core.deployments import EndpointRequest

Json = Any

PENDING, SINCE, AT_ONCE, CANCELLED, REASON = (
    "mlops_pending",
    "mlops_since",
    "mlops_at_once",
    "mlops_cancelled",
    "mlops_reason",
)
"""Tags of an endpoint: deployment under way, time of the last change of traffic, and why it ends."""
_MODEL_STATUS = "ms-azureml-model-error-statuscode"
_DEPLOYMENT_HEADER = "azureml-model-deployment"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineDeployment:
    """A deployment of an endpoint.

    Attributes:
        name: name of the deployment.
        configuration: name of its plan; empty for one that mlops did not make.
        state: provisioning state.
    """

    name: str
    configuration: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineEndpoint:
    """An endpoint.

    Attributes:
        name: name of the endpoint.
        state: provisioning state.
        scoring_uri: where requests are sent.
        traffic: deployment -> share in percent.
        deployments: its deployments, by name.
        tags: its tags.
        body: the description itself.
    """

    name: str
    state: str
    scoring_uri: str
    traffic: Mapping[str, int]
    deployments: Mapping[str, OnlineDeployment]
    tags: Mapping[str, str] = field(default_factory=dict)
    body: Json = None

    @property
    def pending(self) -> OnlineDeployment | None:
        """The deployment under way; None for none. One whose creation has not begun yet has no state."""
        name = self.tags.get(PENDING, "")
        if not name:
            return None
        short, _, configuration = name.partition("/")
        return self.deployments.get(short) or OnlineDeployment(name=short, configuration=configuration, state="")

    @property
    def current(self) -> OnlineDeployment | None:
        """The deployment that answers, or that answered before the one under way; None for none."""
        pending = self.pending
        others = [each for each in self.deployments.values() if pending is None or each.name != pending.name]
        return max(others, key=lambda each: (self.traffic.get(each.name, 0), each.name), default=None)

    @property
    def pending_percent(self) -> int:
        """The share of the traffic of the deployment under way."""
        return self.traffic.get(self.pending.name, 0) if self.pending else 0

    @property
    def waited_s(self) -> float:
        """Seconds since the traffic changed last."""
        return max(0.0, time.time() - float(self.tags.get(SINCE) or 0))


class OnlineEndpoints:
    """The endpoints of a workspace. Every method raises `RunnerError` when Azure refuses."""

    def __init__(self, workspace: Workspace) -> None:
        """Use a workspace."""
        self._workspace = workspace
        self._keys: dict[str, str] = {}

    def find(self, name: str) -> OnlineEndpoint | None:
        """Return an endpoint with its deployments; None if it does not exist."""
        try:
            body = self._workspace.arm("GET", _path(name))
        except ServiceError as error:
            if error.is_missing:
                return None
            raise
        deployments = {}
        for each in self._workspace.pages(f"{_path(name)}/deployments"):
            found = str(each["name"])
            deployments[found] = OnlineDeployment(
                name=found,
                configuration=str((each.get("tags") or {}).get(CONFIGURATION) or ""),
                state=str((each.get("properties") or {}).get("provisioningState") or ""),
            )
        properties = body.get("properties") or {}
        return OnlineEndpoint(
            name=name,
            state=str(properties.get("provisioningState") or ""),
            scoring_uri=str(properties.get("scoringUri") or ""),
            traffic={str(key): int(value) for key, value in (properties.get("traffic") or {}).items()},
            deployments=deployments,
            tags={str(key): str(value) for key, value in (body.get("tags") or {}).items()},
            body=body,
        )

    def put(self, name: str, body: Json) -> None:
        """Create an endpoint."""
        self._workspace.arm("PUT", _path(name), body=body)

    def change(
        self, endpoint: OnlineEndpoint, *, traffic: Mapping[str, int] | None = None, tags: Mapping[str, str | None]
    ) -> None:
        """Change traffic and tags of an endpoint in one request; a tag of None is removed."""
        kept = {key: value for key, value in {**endpoint.tags, **tags}.items() if value is not None}
        properties = {
            key: value
            for key, value in (endpoint.body.get("properties") or {}).items()
            if key in ("authMode", "description", "publicNetworkAccess", "properties")
        }
        moved = dict(endpoint.traffic if traffic is None else traffic)
        body = {
            "location": endpoint.body.get("location"),
            "identity": {"type": (endpoint.body.get("identity") or {}).get("type", "SystemAssigned")},
            "tags": kept,
            "properties": {**properties, "traffic": moved},
        }
        self._workspace.arm("PUT", _path(endpoint.name), body=body)

    def put_deployment(self, endpoint: str, name: str, body: Json) -> None:
        """Begin to create a deployment."""
        self._workspace.arm("PUT", f"{_path(endpoint)}/deployments/{quote(name, safe='')}", body=body)

    def delete_deployment(self, endpoint: str, name: str) -> None:
        """Begin to delete a deployment; nothing happens if it does not exist."""
        self._delete(f"{_path(endpoint)}/deployments/{quote(name, safe='')}")

    def delete(self, endpoint: str) -> None:
        """Begin to delete an endpoint with its deployments; nothing happens if it does not exist."""
        self._keys.pop(endpoint, None)
        self._delete(_path(endpoint))

    def _delete(self, path: str) -> None:
        try:
            self._workspace.arm("DELETE", path)
        except ServiceError as error:
            if not error.is_missing and error.status != HTTPStatus.CONFLICT:  # conflict: it is being changed
                raise

    def invoke(
        self, endpoint: OnlineEndpoint, request: EndpointRequest, *, timeout_s: float, deployment: str = ""
    ) -> EndpointAnswer:
        """Send a request, to one deployment where it is named, and return the answer.

        Raises:
            RunnerError: nothing answers in time.
        """
        import requests

        if endpoint.name not in self._keys:
            keys = self._workspace.arm("POST", f"{_path(endpoint.name)}/listKeys", body={})
            self._keys[endpoint.name] = str(keys["primaryKey"])
        headers = {
            "Authorization": f"Bearer {self._keys[endpoint.name]}",
            "Content-Type": request.content_type,
            "Accept": request.accept,
            **({_DEPLOYMENT_HEADER: deployment} if deployment else {}),
        }
        began = time.monotonic()
        try:
            answer = requests.post(endpoint.scoring_uri, data=request.body, headers=headers, timeout=timeout_s)
        except requests.RequestException as error:
            reason = " ".join(str(error).split())[:200]
            raise RunnerError(f"endpoint '{endpoint.name}' does not answer: {reason}") from error
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise RunnerError(f"endpoint '{endpoint.name}' refuses its key: {answer.status_code}")
        served = answer.headers.get(_DEPLOYMENT_HEADER) or deployment
        known = endpoint.deployments.get(served)
        return EndpointAnswer(
            status=int(answer.headers.get(_MODEL_STATUS) or answer.status_code),
            body=answer.content,
            content_type=answer.headers.get("Content-Type", ""),
            duration_s=time.monotonic() - began,
            configuration=known.configuration if known else "",
        )


def _path(name: str) -> str:
    return f"onlineEndpoints/{quote(name, safe='')}"
