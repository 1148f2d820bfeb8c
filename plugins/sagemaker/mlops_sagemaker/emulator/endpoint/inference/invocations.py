"""``InvokeEndpoint``: forwards the body and the headers of a request to a process of the endpoint.

Every status of a container but 200 to 299 is a ``ModelError`` (424) with the original status and message, and so is a
container that does not answer within 60 s.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlops_sagemaker.emulator.endpoint.protocol.errors import CallError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlops_sagemaker.emulator.endpoint.inference.endpoints import HostedEndpoint, HostedEndpoints, Variant
    from mlops_sagemaker.emulator.endpoint.state import Region
    from mlops_sagemaker.emulator.jobs.serving import ModelAnswer

    Environ = dict[str, Any]

_PATH = re.compile(r"/endpoints/([^/]+)/invocations\Z")
_TIMEOUT_S = 60.0
_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
_FORWARDED = {
    "CONTENT_TYPE": "Content-Type",
    "HTTP_ACCEPT": "Accept",
    "HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES": _ATTRIBUTES,
    "HTTP_X_AMZN_SAGEMAKER_INFERENCE_ID": "X-Amzn-SageMaker-Inference-Id",
}
_REFUSED = ("Target-Model", "Target-Container-Hostname", "Inference-Component", "Enable-Explanations", "Session-Id")


class _ModelError(CallError):
    """The container did not answer with success."""

    code = "ModelError"

    def __init__(self, message: str, *, status: int, original: str) -> None:
        super().__init__(message)
        self.status = status
        self.original = original


def is_invocation(environ: Environ) -> bool:
    """Return whether a request is one of ``InvokeEndpoint``."""
    return environ["REQUEST_METHOD"] == "POST" and bool(_PATH.match(environ.get("PATH_INFO", "")))


def invoke(
    environ: Environ, start_response: Callable[..., Any], endpoints: HostedEndpoints, region: Region
) -> Iterable[bytes]:
    """Answer a request of ``InvokeEndpoint``."""
    match = _PATH.match(environ["PATH_INFO"])
    name = unquote(match[1]) if match else ""
    try:
        endpoint = _in_service(endpoints, region, name)
        _require_supported(environ)
        variant = endpoint.choose(environ.get("HTTP_X_AMZN_SAGEMAKER_TARGET_VARIANT"))
        answer = _answer(environ, variant, name=name)
    except _ModelError as error:
        stream = f"{region.name}#logEventViewer:group=/aws/sagemaker/Endpoints/{name}"
        content = {
            "Message": error.message,
            "OriginalStatusCode": error.status,
            "OriginalMessage": error.original,
            "LogStreamArn": stream,
        }
        return _refuse(start_response, HTTPStatus.FAILED_DEPENDENCY, error.code, content)
    except CallError as error:
        return _refuse(start_response, HTTPStatus.BAD_REQUEST, "ValidationError", {"Message": error.message})
    headers = [
        ("Content-Type", answer.headers.get("content-type", "application/octet-stream")),
        ("Content-Length", str(len(answer.body))),
        ("x-Amzn-Invoked-Production-Variant", variant.name),
        ("x-amzn-RequestId", secrets.token_hex(16)),
    ]
    attributes = answer.headers.get(_ATTRIBUTES.lower())
    start_response("200 OK", [*headers, *([(_ATTRIBUTES, attributes)] if attributes is not None else [])])
    return [answer.body]


def _in_service(endpoints: HostedEndpoints, region: Region, name: str) -> HostedEndpoint:
    with region.lock:
        endpoint = endpoints.find(region, name)
        if endpoint is None:
            raise ValidationError(f"Endpoint {name} of account {region.account} not found.")
        if endpoint.status != "InService":
            raise ValidationError(f"Endpoint {name} of account {region.account} is not in service: {endpoint.status}.")
        return endpoint


def _require_supported(environ: Environ) -> None:
    for name in _REFUSED:
        if f"HTTP_X_AMZN_SAGEMAKER_{name.upper().replace('-', '_')}" in environ:
            raise ValidationError(f"X-Amzn-SageMaker-{name} is not supported by this endpoint.")


def _answer(environ: Environ, variant: Variant, *, name: str) -> ModelAnswer:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    headers = {header: environ[key] for key, header in _FORWARDED.items() if environ.get(key)}
    if variant.server is None:
        raise ValidationError(f"Endpoint {name} is not in service.")
    try:
        answer = variant.server.ask("POST", "/invocations", body=body, headers=headers, timeout_s=_TIMEOUT_S)
    except TimeoutError:
        text = "Your invocation timed out while waiting for a response from container primary."
        raise _failed(0, text, name=name) from None
    except (OSError, http.client.HTTPException) as error:
        raise _failed(0, f"the container does not answer: {error}", name=name) from error
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise _failed(answer.status, answer.body.decode("utf-8", errors="replace"), name=name)
    return answer


def _failed(status: int, message: str, *, name: str) -> _ModelError:
    kind = "client" if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR else "server"
    text = f'Received {kind} error ({status}) from primary with message "{message}". See the logs of endpoint {name}.'
    return _ModelError(text, status=status, original=message)


def _refuse(start_response: Callable[..., Any], status: int, code: str, content: dict[str, Any]) -> Iterable[bytes]:
    body = json.dumps(content).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("x-amzn-ErrorType", code),
        ("x-amzn-RequestId", secrets.token_hex(16)),
    ]
    start_response(f"{int(status)} {HTTPStatus(status).phrase}", headers)
    return [body]
