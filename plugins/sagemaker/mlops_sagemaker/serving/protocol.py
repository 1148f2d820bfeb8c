"""The protocol of SageMaker's containers, on top of ``/ping`` and ``/invocations``.

`GET /execution-parameters` is what a batch transform asks before its first request. Of the headers that the service
forwards, ``X-Amzn-SageMaker-Custom-Attributes`` is returned as it came (a caller would otherwise get an empty value),
and ``X-Amzn-SageMaker-Inference-Id`` is captured; all others are ignored. Custom attributes of ``MLOPS_CONFIGURATION``
ask which configuration of the endpoint answers: that of this variable, which a deployment sets.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mlops_core.runners import read_settings
from mlops_core.serving import Exchange, RefusedRequestError, ServingProtocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.serving import ServiceFacts

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
CONFIGURATION = "MLOPS_CONFIGURATION"
VARIANT = "AllTraffic"
MODEL = "mlopsModel"
"""Key of the model beside the service's own keys, which do not say which model answered."""
_ATTRIBUTES_LIMIT = 1024
_MIB = 1 << 20
_CSV = frozenset({"text/csv"})
_JSON = frozenset({"application/json", "application/jsonlines", "application/jsonl", "application/x-ndjson"})


class SageMakerProtocol(ServingProtocol):
    """The protocol ``sagemaker``."""

    name = "sagemaker"
    can_capture = True

    def documents(self, facts: ServiceFacts) -> Mapping[str, Mapping[str, Any]]:
        """Return what a batch transform asks for."""
        has_rows = bool(facts.content_types) and all(each.has_rows for each in facts.content_types)
        return {
            "/execution-parameters": {
                "MaxConcurrentTransforms": facts.workers,
                "BatchStrategy": "MULTI_RECORD" if has_rows else "SINGLE_RECORD",
                "MaxPayloadInMB": max(1, facts.max_body_bytes // _MIB),
            }
        }

    def response_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the custom attributes of the request.

        Raises:
            RefusedRequestError: they are longer than the service allows, or not visible ASCII (400).
        """
        attributes = headers.get(CUSTOM_ATTRIBUTES.lower())
        if attributes is None:
            return {}
        if len(attributes) > _ATTRIBUTES_LIMIT or not all(" " <= each <= "~" for each in attributes):
            raise RefusedRequestError(
                HTTPStatus.BAD_REQUEST,
                f"{CUSTOM_ATTRIBUTES}: expected at most {_ATTRIBUTES_LIMIT} visible ASCII characters",
            )
        configuration = read_settings().environ.get(CONFIGURATION)
        if attributes == CONFIGURATION and configuration:
            return {CUSTOM_ATTRIBUTES: f"{CONFIGURATION}={configuration}"}
        return {CUSTOM_ATTRIBUTES: attributes}

    def captured(self, exchange: Exchange) -> Mapping[str, Any]:
        """Return a line of data capture."""
        inference_id = exchange.headers.get(INFERENCE_ID.lower())
        return {
            "captureData": {
                "endpointInput": _captured(exchange.content_type, exchange.body, mode="INPUT"),
                "endpointOutput": _captured(exchange.answer_type, exchange.answer, mode="OUTPUT"),
            },
            "eventMetadata": {
                "eventId": exchange.request_id,
                **({"inferenceId": inference_id} if inference_id else {}),
                "inferenceTime": exchange.received.strftime("%Y-%m-%dT%H:%M:%SZ"),
                **({MODEL: exchange.model} if exchange.model else {}),
            },
            "eventVersion": "0",
        }

    def read_captured(self, line: Mapping[str, Any]) -> Exchange | None:
        """Return a request with its answer from a line of data capture, of this server or of the service.

        Raises:
            ValueError: the line is damaged, or holds no answer.
        """
        if "captureData" not in line or "eventMetadata" not in line:
            return None
        try:
            data, metadata = line["captureData"], line["eventMetadata"]
            request, answer = data.get("endpointInput", {}), data["endpointOutput"]
            return Exchange(
                request_id=str(metadata["eventId"]),
                received=_moment(metadata["inferenceTime"]),
                headers={INFERENCE_ID.lower(): metadata["inferenceId"]} if "inferenceId" in metadata else {},
                content_type=str(request.get("observedContentType", "")),
                body=_content(request) if request else b"",
                answer_type=str(answer.get("observedContentType", "")),
                answer=_content(answer),
                model=str(metadata.get(MODEL, "")),
            )
        except (AttributeError, KeyError, TypeError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"data capture is damaged: {what}") from error

    def capture_file(self, facts: ServiceFacts, moment: datetime) -> PurePosixPath:
        """Return a file per minute, in the folders of the service: endpoint, variant, year, month, day, hour."""
        endpoint = facts.use_case.lower().replace("_", "-")
        return PurePosixPath(endpoint, VARIANT, moment.strftime("%Y/%m/%d/%H"), f"{moment.strftime('%M')}-00-000.jsonl")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _content(part: Mapping[str, Any]) -> bytes:
    """Return the content of a captured request or answer.

    Raises:
        ValueError: it is not base64.
    """
    if part["encoding"] == "BASE64":
        return base64.b64decode(part["data"], validate=True)
    return str(part["data"]).encode()


def _captured(content_type: str, content: bytes, *, mode: str) -> dict[str, str]:
    kind = content_type.partition(";")[0]
    encoding = "CSV" if kind in _CSV else "JSON" if kind in _JSON else "BASE64"
    text = ""
    if encoding != "BASE64":
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            encoding = "BASE64"
    if encoding == "BASE64":
        text = base64.b64encode(content).decode("ascii")
    return {"observedContentType": content_type, "mode": mode, "data": text, "encoding": encoding}
