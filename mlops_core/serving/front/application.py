"""The ASGI application of a server: its paths, and the way of a request from its headers to its log line."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mlops_core.evaluation.reference_statistics import MOST_OBSERVED, SCORES
from mlops_core.serving.front.bodies import BodyFolder, BodyLimits, discard_rest
from mlops_core.serving.front.measurements import CONTENT_TYPE, ServingMeasurements
from mlops_core.serving.front.negotiation import request_type, wanted_answer
from mlops_core.serving.front.records import QueuedWriter, capture_writer
from mlops_core.serving.front.refusing import defect_response, error_response, http_error_response, request_id_of
from mlops_core.serving.protocols import Exchange, ServiceFacts, ServingProtocol
from mlops_core.serving.refusals import RefusedRequestError
from mlops_core.serving.watch.watching import DriftWatch, alarm_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mlops_core.serving.drift.alarms import DriftAlarm
    from mlops_core.serving.front.negotiation import WantedAnswer
    from mlops_core.serving.models import ServedModel
    from mlops_core.serving.observing import DriftDetector
    from mlops_core.serving.workers.pool import WorkerPool, WorkerReply

_OVERTAKING = 16
"""Requests that may begin later and be answered earlier."""
_LOGGED = ("samples", "classes", "scores", "values")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Limits of a request.

    Attributes:
        body: of its body.
        timeout_s: time from its headers to its answer.
        default_accept: media type of the answer to a request that accepts any.
    """

    body: BodyLimits
    timeout_s: float = 55.0
    default_accept: str = "application/json"


@dataclass(slots=True, kw_only=True)
class _Invocation:
    """A request on its way."""

    request: Request
    request_id: str
    received: datetime = field(default_factory=lambda: datetime.now(UTC))
    begun: float = field(default_factory=time.monotonic)
    size: int = 0
    content_type: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class ModelService:
    """Answers requests with a pool of workers.

    Attributes:
        model: what is served.
        pool: its workers.
        measurements: what is counted.
        detector: observes the answers; None while there is none.
        unwatched: why drift is not watched; empty if it is.
    """

    def __init__(  # noqa: PLR0913  the parts of a server, each replaceable in a test
        self,
        model: ServedModel,
        pool: WorkerPool,
        *,
        folder: BodyFolder,
        limits: RequestLimits,
        protocol: ServingProtocol,
        log: QueuedWriter | None = None,
        capture: Path | None = None,
        detector: DriftDetector | None = None,
    ) -> None:
        """Serve a model.

        Args:
            model: what is served.
            pool: its workers.
            folder: where bodies are received.
            limits: of a request.
            protocol: adds paths and headers.
            log: writes a line per request; None for no log.
            capture: folder for captured requests; None to capture none.
            detector: observes the answers; None for none.
        """
        self.model = model
        self.pool = pool
        self.unwatched = "" if detector else "drift is not watched"
        self.measurements = ServingMeasurements()
        self._folder = folder
        self._limits = limits
        self._protocol = protocol
        self._log = log
        self._capture = capture
        self._captures = capture_writer() if capture else None
        self.detector = detector
        self._computing = 0

    def facts(self) -> ServiceFacts:
        """Return what a protocol and the page say about this server."""
        return ServiceFacts(
            use_case=self.model.use_case,
            model=self.model.label,
            workers=self.pool.size,
            max_body_bytes=self._limits.body.max_bytes,
            content_types=self.pool.loaded.content_types if self.pool.loaded else (),
        )

    def close(self) -> None:
        """Write what is still captured."""
        if self._captures:
            self._captures.close()

    def application(self) -> ASGIApp:
        """Return the ASGI application; predictions do not go through the layers of Starlette."""
        others = self._other_paths()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] == "/invocations" and scope["method"] == "POST":
                await self._invocations(scope, receive, send)
            else:
                await others(scope, receive, send)

        return application

    def _other_paths(self) -> Starlette:
        documents = (
            Route(path, partial(self._document, path), methods=["GET"])
            for path in self._protocol.documents(self.facts())
        )
        return Starlette(
            routes=[
                Route("/ping", self._ping, methods=["GET"]),
                Route("/invocations", _no_prediction, methods=["POST"]),  # for the answer to other methods
                Route("/metrics", self._metrics, methods=["GET"]),
                Route("/", self._page, methods=["GET"]),
                *documents,
            ],
            exception_handlers={HTTPException: http_error_response, Exception: defect_response},
        )

    # --- Paths --------------------------------------------------------------------------------------------

    async def _ping(self, request: Request) -> Response:
        del request
        return Response(status_code=HTTPStatus.OK if self.pool.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _document(self, path: str, request: Request) -> Response:
        del request
        return JSONResponse(dict(self._protocol.documents(self.facts())[path]))

    async def _metrics(self, request: Request) -> Response:
        del request
        gauges = {
            "workers": self.pool.size,
            "workers_ready": self.pool.ready,
            "workers_replaced": self.pool.replaced,
            "requests_waiting": self.pool.waiting,
        }
        dropped = {
            "log": self._log.dropped if self._log else 0,
            "capture": self._captures.dropped if self._captures else 0,
        }
        info = {"use_case": self.model.use_case, "model": self.model.label}
        text = self.measurements.text(gauges=gauges, dropped=dropped, info=info, drift=self.drift_state())
        return Response(text, headers={"content-type": CONTENT_TYPE})

    async def _page(self, request: Request) -> Response:
        from mlops_core.serving.front.page import model_document, model_page

        report = self.detector.report() if isinstance(self.detector, DriftWatch) else None
        if "text/html" in request.headers.get("accept", ""):
            page = model_page(self.model, self.pool.loaded, self.facts(), drift=report, unwatched=self.unwatched)
            return Response(page, media_type="text/html")
        return JSONResponse(model_document(self.model, self.pool.loaded, self.facts(), drift=report))

    # --- Predictions --------------------------------------------------------------------------------------

    async def _invocations(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await self._response(request)
        except Exception as error:
            response = await defect_response(request, error)
            await response(scope, receive, send)
            raise  # uvicorn logs it
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        invocation = _Invocation(request=request, request_id=request_id_of(request))
        try:
            response = await self._answered(invocation)
        except RefusedRequestError as refusal:
            response = await _refused(invocation, refusal)
        except Exception:
            self._finish(invocation, status=HTTPStatus.INTERNAL_SERVER_ERROR)
            raise
        response.headers["X-Request-Id"] = invocation.request_id
        self._finish(invocation, status=response.status_code)
        return response

    async def _answered(self, invocation: _Invocation) -> Response:
        headers = _headers(invocation.request)
        further = self._protocol.response_headers(headers)
        self.pool.check_capacity()
        wanted = wanted_answer(headers.get("accept"), default=self._limits.default_accept)
        kind = request_type(headers.get("content-type"), self.pool.loaded.content_types if self.pool.loaded else ())
        invocation.content_type = kind.media_type
        path = self._folder.new_file(kind.suffix)
        try:
            invocation.size = await self._folder.receive(invocation.request, path, self._limits.body)
            reply = await self._computed(invocation, path, wanted, has_rows=kind.has_rows)
            self._record_exchange(invocation, path, wanted, reply)
        finally:
            path.unlink(missing_ok=True)
        return Response(reply.body, headers={"content-type": wanted.content_type, **further})

    async def _computed(
        self, invocation: _Invocation, path: Path, wanted: WantedAnswer, *, has_rows: bool
    ) -> WorkerReply:
        order = {
            "path": str(path),
            "format": wanted.format,
            "has_heading": wanted.has_heading,
            "observed": self._observed_features(has_rows=has_rows),
        }
        self._computing += 1
        try:
            reply = await self.pool.submit(order, deadline=invocation.begun + self._limits.timeout_s)
        finally:
            self._computing -= 1
        header = reply.header
        self.measurements.count_answer(
            waited_s=reply.waited_s, model_s=header["model_s"], samples=header.get("samples", 0)
        )
        invocation.facts = {
            "queue_ms": _milliseconds(reply.waited_s),
            "model_ms": _milliseconds(header["model_s"]),
            **{name: header[name] for name in _LOGGED if name in header},
        }
        if header["status"] != HTTPStatus.OK:
            raise RefusedRequestError(HTTPStatus(header["status"]), header["error"])
        if "features" in header:
            if self.detector is not None:
                invocation.facts["drift"] = self._observed(header["features"])
        elif isinstance(self.detector, DriftWatch):
            self.detector.skip(min(header["samples"], MOST_OBSERVED))
        return reply

    def _observed_features(self, *, has_rows: bool) -> str:
        """Return which features the worker computes for the detector; most often none, where one in many is observed.

        A file is one sample; how many rows a table has, only the worker knows. Others may be answered before it.
        """
        if self.detector is None:
            return ""
        watch = self.detector if isinstance(self.detector, DriftWatch) and not has_rows else None
        if watch is not None and not watch.may_observe(self._computing + 1 + _OVERTAKING):
            return ""
        return getattr(self.detector, "source", SCORES)

    def _observed(self, features: list[list[float | None]]) -> Mapping[str, object]:
        """Let the detector observe; one that fails is removed, since an answer must not depend on it."""
        assert self.detector is not None  # noqa: S101  checked by the caller
        try:
            return self.detector.observe(features)
        except Exception:  # noqa: BLE001  a detector is foreign code
            _log.exception("the drift detector failed; it is not used any more")
            self.detector = None
            self.unwatched = "the drift detector failed; the log has the reason"
            return {}

    def drift_state(self) -> Mapping[str, float]:
        """Return the statistics of the drift detector; empty without one."""
        return self.detector.state() if self.detector else {}

    def note_alarm(self, alarm: DriftAlarm) -> None:
        """Write a line about a drift alarm to the log."""
        if self._log is not None:
            self._log.put(alarm_event(alarm, datetime.now(UTC)))

    def _record_exchange(self, invocation: _Invocation, path: Path, wanted: WantedAnswer, reply: WorkerReply) -> None:
        """Queue the capture of a request; its body is read and encoded by the thread that writes the line."""
        if self._captures is None or self._capture is None:
            return
        kept = path.with_name(f"{path.name}.captured")
        path.rename(kept)
        relative = self._protocol.capture_file(self.facts(), invocation.received)
        facts = self.facts()
        make = _capture_line(
            self._protocol,
            invocation,
            kept,
            answer_type=wanted.media_type,
            answer=reply.body,
            model=f"{facts.use_case} {facts.model}",
        )
        target = self._capture / relative
        if not self._captures.put(lambda: (target, make())):
            kept.unlink(missing_ok=True)

    def _finish(self, invocation: _Invocation, *, status: int) -> None:
        duration_s = time.monotonic() - invocation.begun
        self.measurements.count(status=status, duration_s=duration_s, received_bytes=invocation.size)
        if self._log is None:
            return
        self._log.put(
            {
                "time": invocation.received.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "request_id": invocation.request_id,
                "status": int(status),
                "content_type": invocation.content_type,
                "bytes": invocation.size,
                "duration_ms": _milliseconds(duration_s),
                "model": str(self.model),
                **invocation.facts,
            }
        )


def _capture_line(
    protocol: ServingProtocol, invocation: _Invocation, body: Path, *, answer_type: str, answer: bytes, model: str
) -> Callable[[], Mapping[str, Any]]:
    def line() -> Mapping[str, Any]:
        try:
            content = body.read_bytes()
        finally:
            body.unlink(missing_ok=True)
        return protocol.captured(
            Exchange(
                request_id=invocation.request_id,
                received=invocation.received,
                headers=_headers(invocation.request),
                content_type=invocation.content_type,
                body=content,
                answer_type=answer_type,
                answer=answer,
                model=model,
            )
        )

    return line


def _headers(request: Request) -> dict[str, str]:
    """Return the headers by their names in lower case; of a repeated one the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(request.scope["headers"])}


async def _no_prediction(request: Request) -> Response:
    """Stand for the path of predictions in Starlette's table, which answers other methods."""
    del request
    return Response(status_code=HTTPStatus.INTERNAL_SERVER_ERROR)


async def _refused(invocation: _Invocation, refusal: RefusedRequestError) -> Response:
    """Return the response to a refused request, after what it is still sending."""
    invocation.facts["error"] = str(refusal)
    headers = refusal.headers
    if "Connection" not in headers and not invocation.size and not await discard_rest(invocation.request):
        headers["Connection"] = "close"
    return error_response(refusal.status, str(refusal), request_id=invocation.request_id, headers=headers)


def _milliseconds(duration_s: float) -> float:
    return round(duration_s * 1000, 3)
