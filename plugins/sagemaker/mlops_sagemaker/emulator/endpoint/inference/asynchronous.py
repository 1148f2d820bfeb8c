"""``InvokeEndpointAsync``: takes the request from S3, and writes the answer or the error there.

Each endpoint has the number of workers that ``MaxConcurrentInvocationsPerInstance`` says, four if it does not. Errors
go to the failure path, with a message to the error topic; answers to the output path, with one to the success topic.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_core.runners import RunnerError
from mlops_sagemaker.emulator.endpoint.inference.invocations import (
    ATTRIBUTES,
    INFERENCE_ID,
    Invocation,
    ask_endpoint,
)
from mlops_sagemaker.emulator.endpoint.protocol.errors import CallError, ValidationError
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlops_sagemaker.emulator.endpoint.inference.endpoints import HostedEndpoint, HostedEndpoints
    from mlops_sagemaker.emulator.endpoint.state import Region
    from mlops_sagemaker.emulator.endpoint.surroundings import Account

    Environ = dict[str, Any]

_LOG = logging.getLogger(__name__)
_WORKERS = 4
_TIMEOUT_S = 900.0
_VARIABLE = "HTTP_X_AMZN_SAGEMAKER_"
_REFUSED = ("S3OUTPUTPATHEXTENSION", "FILENAME", "REQUESTTTLSECONDS")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """An accepted request: where its body is and where its answer goes.

    Attributes:
        places: ``OutputLocation`` and ``FailureLocation``; empty for none.
        topics: ``SuccessTopic`` and ``ErrorTopic``.
    """

    source: S3Uri
    headers: Mapping[str, str]
    places: Mapping[str, str]
    topics: Mapping[str, str]
    timeout_s: float


class AsyncInvocations:
    """The asynchronous requests of all endpoints."""

    def __init__(self, endpoints: HostedEndpoints, account: Callable[[Region], Account]) -> None:
        """Serve the requests by `endpoints`."""
        self._endpoints = endpoints
        self._account = account
        self._lock = threading.Lock()
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def accept(
        self, environ: Environ, start_response: Callable[..., Any], region: Region, endpoint: HostedEndpoint
    ) -> Iterable[bytes]:
        """Accept a request and answer 202.

        Raises:
            ValidationError: it names no input, or asks for what is not supported.
        """
        for name in _REFUSED:
            if _VARIABLE + name in environ:
                raise ValidationError(f"X-Amzn-SageMaker-{name} is not supported by this endpoint.")
        location = environ.get(f"{_VARIABLE}INPUTLOCATION")
        if not location:
            raise ValidationError("InputLocation must be set; a body is not supported by this endpoint.")
        try:
            source = S3Uri.parse(location)
        except RunnerError as error:
            raise ValidationError(str(error)) from error
        config = endpoint.fleet.section("AsyncInferenceConfig")
        output, unique = config["OutputConfig"], str(uuid.uuid4())
        inference_id = environ.get(f"{_VARIABLE}INFERENCE_ID") or unique
        places = {
            "OutputLocation": _place(output.get("S3OutputPath"), f"{unique}.out"),
            "FailureLocation": _place(output.get("S3FailurePath"), f"{unique}-error.out"),
        }
        headers = {
            "Content-Type": environ.get(f"{_VARIABLE}CONTENT_TYPE", ""),
            "Accept": environ.get(f"{_VARIABLE}ACCEPT", ""),
            ATTRIBUTES: environ.get(f"{_VARIABLE}CUSTOM_ATTRIBUTES", ""),
            INFERENCE_ID: inference_id,
        }
        timeout_s = float(environ.get(f"{_VARIABLE}INVOCATIONTIMEOUTSECONDS") or _TIMEOUT_S)
        given = {name: value for name, value in headers.items() if value}
        topics = output.get("NotificationConfig") or {}
        order = _Order(source=source, headers=given, places=places, topics=topics, timeout_s=timeout_s)
        self._pool(endpoint, config).submit(self._answer, region, endpoint, order)
        body = json.dumps({"InferenceId": inference_id}).encode()
        shown = [(f"X-Amzn-SageMaker-{name}", place) for name, place in places.items() if place]
        start_response(
            f"{HTTPStatus.ACCEPTED.value} {HTTPStatus.ACCEPTED.phrase}",
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("x-amzn-RequestId", secrets.token_hex(16)),
                *shown,
            ],
        )
        return [body]

    def close(self) -> None:
        """Drop the requests that wait, and wait for the others."""
        for pool in tuple(self._pools.values()):
            pool.shutdown(wait=True, cancel_futures=True)

    def _pool(self, endpoint: HostedEndpoint, config: Mapping[str, Any]) -> ThreadPoolExecutor:
        count = (config.get("ClientConfig") or {}).get("MaxConcurrentInvocationsPerInstance") or _WORKERS
        with self._lock:
            if endpoint.arn not in self._pools:
                self._pools[endpoint.arn] = ThreadPoolExecutor(count, thread_name_prefix=f"async-{endpoint.name}")
            return self._pools[endpoint.arn]

    def _answer(self, region: Region, endpoint: HostedEndpoint, order: _Order) -> None:
        account, source = self._account(region), order.source
        s3 = account.client("s3")
        try:
            body = s3.get_object(Bucket=source.bucket, Key=source.key)["Body"].read()
            invocation = Invocation(body=body, headers=order.headers, timeout_s=order.timeout_s)
            _, answer = ask_endpoint(self._endpoints, region, endpoint, invocation)
            place, content, status = order.places["OutputLocation"], answer.body, "Completed"
        except (CallError, ClientError, BotoCoreError) as error:
            place, content, status = order.places["FailureLocation"], str(error).encode(), "Failed"
        try:
            if place:
                target = S3Uri.parse(place)
                s3.put_object(Bucket=target.bucket, Key=target.key, Body=content)
            topic = order.topics.get("SuccessTopic" if status == "Completed" else "ErrorTopic")
            if topic:
                message = {
                    "awsRegion": region.name,
                    "eventName": "InferenceResult",
                    "invocationStatus": status,
                    "requestParameters": {"endpointName": endpoint.name, "inputLocation": str(source)},
                    "responseParameters": {"outputLocation": place},
                    "inferenceId": order.headers[INFERENCE_ID],
                    "eventVersion": "1.0",
                }
                account.client("sns").publish(TopicArn=topic, Message=json.dumps(message))
        except (ClientError, BotoCoreError):
            _LOG.exception("the result of asynchronous request %s was not written", order.headers[INFERENCE_ID])


def _place(path: str | None, name: str) -> str:
    return str(S3Uri.parse(path).join(name)) if path else ""
