"""``InvokeEndpoint`` and its relatives: forward the body and the headers of a request to a process of the endpoint.

Every status of a container but 200 to 299 is a ``ModelError`` (424) with the original status and message, and so is a
container that does not answer within 60 s. Each request counts in the metrics of its variant, is captured as the
configuration says, and is copied to the shadow variant, whose answer is dropped.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlops_sagemaker.emulator.endpoint.inference.capture import CapturedRequest
from mlops_sagemaker.emulator.endpoint.inference.fleets import answering
from mlops_sagemaker.emulator.endpoint.inference.streams import as_event_stream
from mlops_sagemaker.emulator.endpoint.protocol.errors import CallError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlops_sagemaker.emulator.endpoint.inference.asynchronous import AsyncInvocations
    from mlops_sagemaker.emulator.endpoint.inference.endpoints import HostedEndpoint, HostedEndpoints
    from mlops_sagemaker.emulator.endpoint.inference.fleets import Fleet, Variant
    from mlops_sagemaker.emulator.endpoint.state import Region
    from mlops_sagemaker.emulator.jobs.serving import ModelAnswer

    Environ = dict[str, Any]
    Respond = Callable[..., Any]

_PATH = re.compile(r"/endpoints/([^/]+)/(invocations|invocations-response-stream|async-invocations)\Z")
_STREAM, _ASYNC = "invocations-response-stream", "async-invocations"
_TIMEOUT_S = 60.0
_LARGEST = 25 * 1024 * 1024
_PREFIX = "X-Amzn-SageMaker-"
ATTRIBUTES = f"{_PREFIX}Custom-Attributes"
INFERENCE_ID = f"{_PREFIX}Inference-Id"
_FORWARDED = {
    "CONTENT_TYPE": "Content-Type",
    "HTTP_ACCEPT": "Accept",
    "HTTP_X_AMZN_SAGEMAKER_ACCEPT": "Accept",
    "HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES": ATTRIBUTES,
    "HTTP_X_AMZN_SAGEMAKER_INFERENCE_ID": INFERENCE_ID,
}
_REFUSED = ("Target-Model", "Target-Container-Hostname", "Inference-Component", "Enable-Explanations", "Session-Id")
_REFUSED_TOO = ("Prefix-Aware-Id",)


class ModelError(CallError):
    """The container did not answer with success."""

    code = "ModelError"

    def __init__(self, message: str, *, status: int, original: str) -> None:
        """Create an error with the status and the message of the container."""
        super().__init__(message)
        self.status = status
        self.original = original


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A request to a model: its body, and the headers that are forwarded."""

    body: bytes
    headers: Mapping[str, str]
    timeout_s: float = _TIMEOUT_S


def is_invocation(environ: Environ) -> bool:
    """Return whether a request is one of ``InvokeEndpoint`` or its relatives."""
    return environ["REQUEST_METHOD"] == "POST" and bool(_PATH.match(environ.get("PATH_INFO", "")))


def invoke(
    environ: Environ,
    start_response: Respond,
    endpoints: HostedEndpoints,
    region: Region,
    *,
    asynchronous: AsyncInvocations,
) -> Iterable[bytes]:
    """Answer a request of ``InvokeEndpoint`` or its relatives."""
    match = _PATH.match(environ["PATH_INFO"])
    name, kind = (unquote(match[1]), match[2]) if match else ("", "")
    try:
        endpoint = _existing(endpoints, region, name)
        _require_supported(environ, endpoint, is_async=kind == _ASYNC)
        if kind == _ASYNC:
            return asynchronous.accept(environ, start_response, region, endpoint)
        variant, answer = ask_endpoint(
            endpoints,
            region,
            endpoint,
            _invocation(environ),
            wanted=environ.get("HTTP_X_AMZN_SAGEMAKER_TARGET_VARIANT"),
        )
    except ModelError as error:
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
    return _respond(start_response, variant, answer, is_stream=kind == _STREAM)


def ask_endpoint(
    endpoints: HostedEndpoints,
    region: Region,
    endpoint: HostedEndpoint,
    invocation: Invocation,
    *,
    wanted: str | None = None,
) -> tuple[Variant, ModelAnswer]:
    """Return the answer of an endpoint, with the variant that gave it.

    Raises:
        ModelError: the container did not answer with success.
        ValidationError: the endpoint is not in service, or has no such variant.
    """
    fleet, variant = endpoint.choose(wanted)
    with answering(fleet):
        answer = _measured(endpoints, region, endpoint, fleet, variant, invocation)
        for shadow in fleet.shadows:
            _copy(endpoints, region, endpoint, fleet, shadow, invocation)
    return variant, answer


def _measured(
    endpoints: HostedEndpoints,
    region: Region,
    endpoint: HostedEndpoint,
    fleet: Fleet,
    variant: Variant,
    invocation: Invocation,
) -> ModelAnswer:
    """Ask a variant; count the request in its metrics and capture it."""
    begun = time.monotonic()
    status = 0
    try:
        answer = _answer(invocation, variant, name=endpoint.name)
        status = answer.status
    except ModelError as error:
        status = error.status
        raise
    finally:
        duration_us = (time.monotonic() - begun) * 1e6
        names = {"EndpointName": endpoint.name, "VariantName": variant.name}
        endpoints.alarms.record(
            (region.account, region.name),
            _metrics(status, duration_us, instances=variant.instances),
            dimensions=(names, {**names, "EndpointConfigName": fleet.configuration.name}),
        )
    endpoints.capture.add(
        CapturedRequest(
            endpoint=endpoint.name,
            variant=variant.name,
            contents=(
                (invocation.headers.get("Content-Type", ""), invocation.body),
                (answer.headers.get("content-type", ""), answer.body),
            ),
            inference_id=invocation.headers.get(INFERENCE_ID, ""),
            attributes=invocation.headers.get(ATTRIBUTES, ""),
            is_shadow=variant in fleet.shadows,
        ),
        fleet.section("DataCaptureConfig"),
    )
    return answer


def _metrics(status: int, duration_us: float, *, instances: int) -> dict[str, float]:
    is_client_error = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    is_success = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    return {
        "Invocations": 1.0,
        "InvocationsPerInstance": 1 / max(1, instances),
        "Invocation4XXErrors": float(is_client_error),
        "Invocation5XXErrors": float(not is_client_error and not is_success),
        "ModelLatency": duration_us,
        "OverheadLatency": 0.0,
    }


def _copy(
    endpoints: HostedEndpoints,
    region: Region,
    endpoint: HostedEndpoint,
    fleet: Fleet,
    shadow: Variant,
    invocation: Invocation,
) -> None:
    """Send a copy of a request to a shadow variant, in a thread; as often as its weight says."""
    (production,) = fleet.variants
    with endpoint.lock:
        fleet.shadow_credit += min(1.0, shadow.weight / production.weight) if production.weight else 0.0
        if fleet.shadow_credit < 1 - 1e-9:
            return
        fleet.shadow_credit -= 1
        fleet.begin_request()

    def ask() -> None:
        with answering(fleet):
            try:
                _measured(endpoints, region, endpoint, fleet, shadow, invocation)
            except CallError:
                return  # it is in the metrics of the shadow variant

    threading.Thread(target=ask, name=f"shadow-{endpoint.name}", daemon=True).start()


def _existing(endpoints: HostedEndpoints, region: Region, name: str) -> HostedEndpoint:
    with region.lock:
        endpoint = endpoints.find(region, name)
    if endpoint is None:
        raise ValidationError(f"Endpoint {name} of account {region.account} not found.")
    return endpoint


def _require_supported(environ: Environ, endpoint: HostedEndpoint, *, is_async: bool) -> None:
    for name in (*_REFUSED, *_REFUSED_TOO):
        if f"HTTP_X_AMZN_SAGEMAKER_{name.upper().replace('-', '_')}" in environ:
            raise ValidationError(f"X-Amzn-SageMaker-{name} is not supported by this endpoint.")
    if bool(endpoint.fleet.section("AsyncInferenceConfig")) is not is_async:
        other = "InvokeEndpoint" if is_async else "InvokeEndpointAsync"
        raise ValidationError(f"Endpoint {endpoint.name} does not support this operation; use {other}.")


def _invocation(environ: Environ) -> Invocation:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > _LARGEST:
        raise ValidationError(f"The request body has {length:,} bytes; the limit is {_LARGEST:,} bytes.")
    body = environ["wsgi.input"].read(length)
    headers = {header: environ[key] for key, header in _FORWARDED.items() if environ.get(key)}
    return Invocation(body=body, headers=headers)


def _answer(invocation: Invocation, variant: Variant, *, name: str) -> ModelAnswer:
    if variant.server is None:
        raise ValidationError(f"Endpoint {name} is not in service.")
    try:
        answer = variant.server.ask(
            "POST",
            "/invocations",
            body=invocation.body,
            headers=invocation.headers,
            timeout_s=invocation.timeout_s,
        )
    except TimeoutError:
        text = "Your invocation timed out while waiting for a response from container primary."
        raise _failed(0, text, name=name) from None
    except (OSError, http.client.HTTPException) as error:
        raise _failed(0, f"the container does not answer: {error}", name=name) from error
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise _failed(answer.status, answer.body.decode("utf-8", errors="replace"), name=name)
    return answer


def _failed(status: int, message: str, *, name: str) -> ModelError:
    kind = "client" if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR else "server"
    text = f'Received {kind} error ({status}) from primary with message "{message}". See the logs of endpoint {name}.'
    return ModelError(text, status=status, original=message)


def _respond(start_response: Respond, variant: Variant, answer: ModelAnswer, *, is_stream: bool) -> Iterable[bytes]:
    content_type = answer.headers.get("content-type", "application/octet-stream")
    body = as_event_stream(answer.body) if is_stream else answer.body
    kinds = [("Content-Type", content_type)]
    if is_stream:
        kinds = [("Content-Type", "application/vnd.amazon.eventstream"), (f"{_PREFIX}Content-Type", content_type)]
    headers = [
        *kinds,
        ("Content-Length", str(len(body))),
        ("x-Amzn-Invoked-Production-Variant", variant.name),
        ("x-amzn-RequestId", secrets.token_hex(16)),
    ]
    attributes = answer.headers.get(ATTRIBUTES.lower())
    start_response("200 OK", [*headers, *([(ATTRIBUTES, attributes)] if attributes is not None else [])])
    return [body]


def _refuse(start_response: Respond, status: int, code: str, content: dict[str, Any]) -> Iterable[bytes]:
    body = json.dumps(content).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("x-amzn-ErrorType", code),
        ("x-amzn-RequestId", secrets.token_hex(16)),
    ]
    start_response(f"{int(status)} {HTTPStatus(status).phrase}", headers)
    return [body]
