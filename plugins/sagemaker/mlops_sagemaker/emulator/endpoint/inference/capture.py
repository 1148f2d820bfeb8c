"""Data capture: writes requests and answers of an endpoint to S3, as JSON lines in the layout of the service.

``<DestinationS3Uri>/<endpoint>/<variant>/<year>/<month>/<day>/<hour>/<minute>-<second>-<milliseconds>-<id>.jsonl``
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOG = logging.getLogger(__name__)
_FLUSH_S = 60.0
_LARGEST_FILE = 1000
_MODES = {"INPUT": ("Input", "InputAndOutput"), "OUTPUT": ("Output", "InputAndOutput")}


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedRequest:
    """A request with its answer.

    Attributes:
        contents: content type and body of the request, then of the answer.
        inference_id: what the caller said.
        attributes: custom attributes of the request.
        is_shadow: a shadow variant answered.
    """

    endpoint: str
    variant: str
    contents: tuple[tuple[str, bytes], tuple[str, bytes]]
    inference_id: str = ""
    attributes: str = ""
    is_shadow: bool = False
    received: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


class DataCapture:
    """Collects lines and writes them to S3 every minute, shortened by the time scale, and at the end."""

    def __init__(self, client: Callable[[], Any], *, time_scale: float) -> None:
        """Write with the S3 client that `client` returns."""
        self._client = client
        self._interval_s = _FLUSH_S * time_scale
        self._lock = threading.Lock()
        self._lines: dict[tuple[str, str], tuple[Mapping[str, Any], list[str]]] = {}
        self._sampled: dict[str, float] = {}
        self._timer: threading.Timer | None = None

    def add(self, request: CapturedRequest, settings: Mapping[str, Any]) -> None:
        """Capture a request as the ``DataCaptureConfig`` of its endpoint says."""
        if not settings.get("EnableCapture") or not self._is_sampled(request, settings):
            return
        modes = {each["CaptureMode"] for each in settings["CaptureOptions"]}
        parts = {}
        for (name, mode), content in zip(
            (("endpointInput", "INPUT"), ("endpointOutput", "OUTPUT")), request.contents, strict=True
        ):
            if modes & set(_MODES[mode]):
                parts[name] = _part(*content, mode=mode, settings=settings)
        metadata = {
            "eventId": str(uuid.uuid4()),
            **({"customAttributes": [request.attributes]} if request.attributes else {}),
            **({"inferenceId": request.inference_id} if request.inference_id else {}),
            **({"invocationSource": "ShadowExperiment"} if request.is_shadow else {}),
            "inferenceTime": request.received.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        line = json.dumps({"captureData": parts, "eventMetadata": metadata, "eventVersion": "0"})
        place = f"{request.endpoint}/{request.variant}/{request.received:%Y/%m/%d/%H}"
        self._keep((settings["DestinationS3Uri"], place), settings, line)

    def _is_sampled(self, request: CapturedRequest, settings: Mapping[str, Any]) -> bool:
        """Return whether a request is captured: evenly, so that 50 % is every other one."""
        key = f"{request.endpoint}/{request.variant}"
        with self._lock:
            credit = self._sampled.get(key, 0.0) + settings["InitialSamplingPercentage"] / 100
            is_sampled = bool(credit >= 1 - 1e-9)
            self._sampled[key] = credit - 1 if is_sampled else credit
        return is_sampled

    def _keep(self, key: tuple[str, str], settings: Mapping[str, Any], line: str) -> None:
        with self._lock:
            lines = self._lines.setdefault(key, (settings, []))[1]
            lines.append(line)
            if self._timer is None:
                self._timer = threading.Timer(self._interval_s, self.flush)
                self._timer.daemon = True
                self._timer.start()
            is_full = len(lines) >= _LARGEST_FILE
        if is_full:
            self.flush()

    def flush(self) -> None:
        """Write the lines that have not been written."""
        with self._lock:
            collected, self._lines = self._lines, {}
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
        for (destination, place), (settings, lines) in collected.items():
            name = f"{dt.datetime.now(dt.UTC):%M-%S-%f}"[:-3]
            uri = S3Uri.parse(destination).join(place, f"{name}-{uuid.uuid4()}.jsonl")
            key = settings.get("KmsKeyId")
            encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}
            body = ("\n".join(lines) + "\n").encode()
            try:
                self._client().put_object(Bucket=uri.bucket, Key=uri.key, Body=body, **encryption)
            except (ClientError, BotoCoreError):  # as in the service, requests are answered all the same
                _LOG.exception("data capture: %s was not written", uri)


def _part(content_type: str, content: bytes, *, mode: str, settings: Mapping[str, Any]) -> dict[str, str]:
    header = settings.get("CaptureContentTypeHeader") or {}
    kind = content_type.partition(";")[0].strip()
    encoding = "BASE64"
    if kind in (header.get("CsvContentTypes") or ()):
        encoding = "CSV"
    elif kind in (header.get("JsonContentTypes") or ()):
        encoding = "JSON"
    try:
        text = content.decode() if encoding != "BASE64" else base64.b64encode(content).decode("ascii")
    except UnicodeDecodeError:
        encoding, text = "BASE64", base64.b64encode(content).decode("ascii")
    return {"observedContentType": content_type, "mode": mode, "data": text, "encoding": encoding}
