"""The router: an ASGI application at the endpoint's port that answers each request with one of two servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from mlops_core.deployments.local.target import CONFIGURATION_HEADER
from mlops_core.serving.endpoint.upstream import UpstreamError
from mlops_core.serving.front.bodies import discard_rest
from mlops_core.serving.front.refusing import error_response, request_id_of
from mlops_core.serving.refusals import RefusedRequestError, overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from mlops_core.serving.endpoint.alarms import AnswerWatch
    from mlops_core.serving.endpoint.upstream import Upstream

_MAX_BODY_BYTES = 25 << 20
_MOST_HELD_BYTES = 512 << 20
_TIMEOUT_S = 70.0
_OF_CONNECTION = frozenset(
    {b"host", b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"expect", b"te", b"upgrade"}
)
"""Headers that concern one connection and are not passed on."""


class Backend:
    """A server behind the router.

    Attributes:
        configuration: name of its plan.
        upstream: how it is called.
        watch: receives its answers; None where nobody judges them.
    """

    def __init__(self, configuration: str, upstream: Upstream, *, watch: AnswerWatch | None = None) -> None:
        self.configuration = configuration
        self.upstream = upstream
        self.watch = watch
        self._in_flight = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Count a request while it is under way."""
        self._in_flight += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._is_idle.set()

    async def drained(self, timeout_s: float) -> None:
        """Wait until no request is under way; no new one may come."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_idle.wait(), timeout_s)


class Router:
    """Passes requests on to the server in service and, of a share of them, to the new one.

    Attributes:
        current: the server in service; None for none.
        new: the server that is being deployed; None for none.
        percent: share of the requests that the new one answers.
        held_bytes: bodies in memory.
    """

    def __init__(self) -> None:
        """Begin without a server."""
        self.current: Backend | None = None
        self.new: Backend | None = None
        self.percent = 0
        self.held_bytes = 0
        self._credit = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        request, held = Request(scope, receive), _HeldBody(self)
        try:
            body = await held.read(request)
            is_prediction = request.method == "POST" and request.url.path == "/invocations"
            backend = self._backend(is_prediction=is_prediction)
            with backend.request():
                await self._pass_on(backend, scope, body, send, is_prediction=is_prediction)
        except ClientDisconnect:
            return
        except RefusedRequestError as refusal:
            headers = refusal.headers | ({} if await discard_rest(request) else {"Connection": "close"})
            identity = request_id_of(request)
            response = error_response(refusal.status, str(refusal), request_id=identity, headers=headers)
            await response(scope, receive, send)
        finally:
            held.release()

    def _backend(self, *, is_prediction: bool) -> Backend:
        """Return the server for a request.

        Raises:
            RefusedRequestError: there is none.
        """
        backend = self._chosen() if is_prediction else self.current or self.new
        if backend is None:
            raise overloaded("no model is in service; try again later")
        return backend

    def _chosen(self) -> Backend | None:
        """Return the server for a request: of each hundred, exactly the share goes to the new one, evenly spread."""
        if self.new is None:
            return self.current
        if self.current is None and self.percent:
            return self.new
        self._credit += self.percent
        if self._credit >= 100:
            self._credit -= 100
            return self.new
        return self.current

    async def _pass_on(self, backend: Backend, scope: Scope, body: bytes, send: Send, *, is_prediction: bool) -> None:
        began = time.monotonic()
        headers = [(name, value) for name, value in scope["headers"] if name not in _OF_CONNECTION]
        try:
            answer = await backend.upstream.call(
                scope["method"], _target(scope), headers=headers, body=body, timeout_s=_TIMEOUT_S
            )
            status, content = answer.status, answer.body
            passed = [(name, value) for name, value in answer.headers if name not in _OF_CONNECTION]
        except UpstreamError as error:
            status = HTTPStatus.SERVICE_UNAVAILABLE
            content = json.dumps({"error": f"the model's server does not answer: {error}"}).encode()
            passed = [(b"content-type", b"application/json"), (b"retry-after", b"1")]
        if is_prediction and backend.watch is not None:
            backend.watch.add(status=status, duration_s=time.monotonic() - began, request=body, answer=content)
        passed.append((CONFIGURATION_HEADER.encode(), backend.configuration.encode()))
        await _answer(send, status, passed, content)


def _target(scope: Scope) -> str:
    """Return path and query of a request."""
    path, query = bytes(scope["raw_path"]), bytes(scope["query_string"])
    return (path + b"?" * bool(query) + query).decode("ascii", "replace")


class _HeldBody:
    """The body of one request in memory, within what a router holds at most."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._size = 0

    async def read(self, request: Request) -> bytes:
        """Return the body.

        Raises:
            RefusedRequestError: it is too large, or the router holds too many.
            ClientDisconnect: its sender has gone.
        """
        parts: list[bytes] = []
        async for chunk in request.stream():
            self._size += len(chunk)
            self._router.held_bytes += len(chunk)
            if self._size > _MAX_BODY_BYTES:
                text = f"the request body has more than {_MAX_BODY_BYTES >> 20} MiB; send less"
                raise RefusedRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
            if self._router.held_bytes > _MOST_HELD_BYTES:
                raise overloaded("too many requests at once; try again later")
            parts.append(chunk)
        return b"".join(parts)

    def release(self) -> None:
        """Give the memory back."""
        self._router.held_bytes -= self._size


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": int(status), "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
