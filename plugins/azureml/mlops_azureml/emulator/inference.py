"""Managed online endpoints: each deployment is the server of its model, and requests are passed on by share.

The environment of this process takes the place of the serving image, as for nodes of jobs.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_azureml.emulator.web.errors import CallError, ConflictError, InvalidError, NotFoundError
from mlops_azureml.emulator.web.http import HOST, Response
from mlops_azureml.emulator.web.routing import Route
from mlops_azureml.interpreter.datastores import FolderDatastores
from mlops_azureml.serving.container import HEALTH_PATH, HOST_VARIABLE, MODEL_VARIABLE, PORT_VARIABLE
from mlops_core.runners.container.processes import ending_with_parent, inherited_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_azureml.emulator.state import WorkspaceState
    from mlops_azureml.emulator.web.http import Request

Json = Any

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]\Z")
_MODEL = re.compile(r".*/models/(?P<name>[^/]+)/versions/(?P<version>[^/]+)\Z")
_ENVIRONMENT = re.compile(r".*/environments/(?P<name>[^/]+)/versions/(?P<version>[^/]+)\Z")
_POLL_S = 0.1
_STOP_S = 10.0
_HEADER = "azureml-model-deployment"


@dataclass(kw_only=True)
class _Deployment:
    body: Json
    process: subprocess.Popen[bytes]
    port: int
    state: str = "Creating"


@dataclass(kw_only=True)
class _Endpoint:
    body: Json
    key: str
    deployments: dict[str, _Deployment] = field(default_factory=dict)
    turn: int = 0


class Inference:
    """The online endpoints of the workspace."""

    def __init__(self, state: WorkspaceState, folder: Path, *, url: str) -> None:
        """Keep logs of servers below `folder`; models are in its blobs."""
        self._state = state
        self._folder = folder.absolute()
        self._url = url
        self._endpoints: dict[str, _Endpoint] = {}
        self._lock = threading.RLock()

    def routes(self) -> Sequence[Route]:
        """Return the requests, relative to the workspace."""
        one = "onlineEndpoints/{name}"
        return (
            Route("PUT", one, self._put),
            Route("GET", one, lambda _, names: self._answer(names["name"])),
            Route("DELETE", one, self._delete),
            Route("POST", f"{one}/listKeys", self._keys),
            Route("GET", f"{one}/deployments", self._deployments),
            Route("PUT", f"{one}/deployments/{{deployment}}", self._put_deployment),
            Route("GET", f"{one}/deployments/{{deployment}}", self._get_deployment),
            Route("DELETE", f"{one}/deployments/{{deployment}}", self._delete_deployment),
        )

    def close(self) -> None:
        """End all servers."""
        with self._lock:
            for endpoint in self._endpoints.values():
                for each in endpoint.deployments.values():
                    _end(each.process)
            self._endpoints.clear()

    # --- Endpoints ----------------------------------------------------------------------------------------

    def _endpoint(self, name: str) -> _Endpoint:
        if name not in self._endpoints:
            raise NotFoundError(f"Online endpoint {name} was not found", code="ResourceNotFound")
        return self._endpoints[name]

    def _put(self, request: Request, names: Mapping[str, str]) -> Response:
        name, body = names["name"], request.json()
        properties = body.get("properties") or {}
        if not _NAME.match(name):
            raise InvalidError(f"{name!r} is not a valid name of an endpoint", code="ValidationError")
        if not body.get("location") or properties.get("authMode") != "Key":
            raise InvalidError("an endpoint needs a location and authMode Key", code="ValidationError")
        traffic = properties.get("traffic") or {}
        with self._lock:
            known = self._endpoints.get(name)
            unknown = set(traffic) - set(known.deployments if known else ())
            if unknown or sum(traffic.values()) not in (0, 100):
                raise InvalidError(f"traffic {traffic} does not name deployments, or does not add up to 100")
            if known is None:
                self._endpoints[name] = _Endpoint(body=body, key=secrets.token_urlsafe(24))
            else:
                known.body = body
            return self._answer(name, status=200 if known else 201)

    def _answer(self, name: str, *, status: int = 200) -> Response:
        with self._lock:
            endpoint = self._endpoint(name)
            properties = {
                **endpoint.body["properties"],
                "provisioningState": "Succeeded",
                "scoringUri": f"{self._url}/score/{name}",
            }
            found = {**endpoint.body, "name": name, "properties": properties}
        return Response.of_json(found, status=status)

    def _delete(self, _: Request, names: Mapping[str, str]) -> Response:
        with self._lock:
            endpoint = self._endpoint(names["name"])
            for each in endpoint.deployments.values():
                _end(each.process)
            del self._endpoints[names["name"]]
        return Response(status=202)

    def _keys(self, _: Request, names: Mapping[str, str]) -> Response:
        with self._lock:
            key = self._endpoint(names["name"]).key
        return Response.of_json({"primaryKey": key, "secondaryKey": key})

    # --- Deployments --------------------------------------------------------------------------------------

    def _deployments(self, _: Request, names: Mapping[str, str]) -> Response:
        with self._lock:
            endpoint = self._endpoint(names["name"])
            return Response.of_json({"value": [_json(name, each) for name, each in endpoint.deployments.items()]})

    def _deployment(self, names: Mapping[str, str]) -> _Deployment:
        found = self._endpoint(names["name"]).deployments.get(names["deployment"])
        if found is None:
            raise NotFoundError(f"Deployment {names['deployment']} was not found", code="ResourceNotFound")
        return found

    def _get_deployment(self, _: Request, names: Mapping[str, str]) -> Response:
        with self._lock:
            return Response.of_json(_json(names["deployment"], self._deployment(names)))

    def _put_deployment(self, request: Request, names: Mapping[str, str]) -> Response:
        body = request.json()
        properties = body.get("properties") or {}
        if properties.get("endpointComputeType") != "Managed" or not properties.get("instanceType"):
            raise InvalidError("a deployment needs endpointComputeType Managed and an instanceType")
        model, environment = (
            pattern.match(str(properties.get(key)))
            for pattern, key in ((_MODEL, "model"), (_ENVIRONMENT, "environmentId"))
        )
        if model is None or environment is None:
            raise InvalidError("a deployment needs the ids of a model and an environment", code="ValidationError")
        with self._state.lock:
            uri = str(self._state.version("models", model["name"], model["version"])["properties"]["modelUri"])
            self._state.version("environments", environment["name"], environment["version"])
        with self._lock:
            endpoint = self._endpoint(names["name"])
            if names["deployment"] in endpoint.deployments:
                return self._get_deployment(request, names)
            deployment = self._started(names, body, FolderDatastores(self._folder / "blobs").path(uri))
            endpoint.deployments[names["deployment"]] = deployment
        threading.Thread(target=self._watch, args=(deployment,), daemon=True).start()
        return Response.of_json(_json(names["deployment"], deployment), status=201)

    def _started(self, names: Mapping[str, str], body: Json, model: Path) -> _Deployment:
        port = _free_port()
        log = self._folder / "servers" / names["name"] / f"{names['deployment']}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {
            **inherited_environment(),
            **{str(key): str(value) for key, value in (body["properties"].get("environmentVariables") or {}).items()},
            MODEL_VARIABLE: str(model),
            PORT_VARIABLE: str(port),
            HOST_VARIABLE: HOST,
            "MLOPS_SERVE_WORKERS": "1",
        }
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603  the server of this package
                [*ending_with_parent(), sys.executable, "-m", "mlops_azureml.serving.container"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return _Deployment(body=body, process=process, port=port)

    def _watch(self, deployment: _Deployment) -> None:
        """Wait until a server answers, or has ended."""
        while deployment.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection(HOST, deployment.port, timeout=5)
                try:
                    connection.request("GET", HEALTH_PATH)
                    if connection.getresponse().status == http.client.OK:
                        deployment.state = "Succeeded"
                        return
                finally:
                    connection.close()
            time.sleep(_POLL_S)
        deployment.state = "Failed"

    def _delete_deployment(self, _: Request, names: Mapping[str, str]) -> Response:
        with self._lock:
            deployment = self._deployment(names)
            endpoint = self._endpoints[names["name"]]
            if (endpoint.body["properties"].get("traffic") or {}).get(names["deployment"]):
                raise ConflictError(f"Deployment {names['deployment']} has traffic and cannot be deleted.")
            del endpoint.deployments[names["deployment"]]
        _end(deployment.process)
        return Response(status=202)

    # --- Requests to models -------------------------------------------------------------------------------

    def score(self, request: Request, name: str) -> Response:
        """Pass a request on to the server that its header names, or to one by the shares of the traffic."""
        with self._lock:
            endpoint = self._endpoint(name)
            header = request.headers.get("authorization", "")
            if not secrets.compare_digest(header.encode(), f"Bearer {endpoint.key}".encode()):
                raise CallError(401, "Unauthorized", "the key is not that of the endpoint")
            chosen = request.headers.get(_HEADER) or self._chosen(endpoint)
            deployment = endpoint.deployments.get(chosen)
            if deployment is None or deployment.state != "Succeeded":
                raise CallError(503, "NoDeployment", f"deployment '{chosen}' does not answer")
        connection = http.client.HTTPConnection(HOST, deployment.port, timeout=90)
        try:
            headers = {
                each.title(): request.headers[each] for each in ("content-type", "accept") if each in request.headers
            }
            connection.request("POST", "/invocations", body=request.content(), headers=headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise CallError(502, "BadGateway", f"deployment '{chosen}' does not answer: {error}") from error
        finally:
            connection.close()
        extra = {_HEADER: chosen}
        status = answer.status
        if status >= http.client.BAD_REQUEST:  # as the service passes on an error of the model
            extra["ms-azureml-model-error-statuscode"] = str(status)
            status = 424
        kind = answer.headers.get("Content-Type") or "application/octet-stream"
        return Response(status=status, content=content, kind=kind, headers=extra)

    def _chosen(self, endpoint: _Endpoint) -> str:
        """Return the deployment of the next request: of a hundred in a row, each gets its share."""
        endpoint.turn = (endpoint.turn + 37) % 100  # coprime to 100, so that shares are mixed
        reached = 0
        for name, share in (endpoint.body["properties"].get("traffic") or {}).items():
            reached += share
            if endpoint.turn < reached:
                return str(name)
        raise CallError(503, "NoTraffic", "no deployment has traffic")


def _json(name: str, deployment: _Deployment) -> Json:
    properties = {**deployment.body["properties"], "provisioningState": deployment.state}
    return {**deployment.body, "name": name, "properties": properties}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
