"""The router: an ASGI application at the endpoint's port that answers each request with one of two servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from mlops_core.deployments.local.target import CONFIGURATION_HEADER
from mlops_core.serving.endpoint.upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from mlops_core.serving.endpoint.alarms import AnswerWatch
    from mlops_core.serving.endpoint.upstream import Upstream

_MAX_BODY_BYTES = 25 << 20
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
    """

    def __init__(self) -> None:
        """Begin without a server."""
        self.current: Backend | None = None
        self.new: Backend | None = None
        self.percent = 0
        self._credit = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        body = await _body(receive)
        if body is None:
            text = f"the request body has more than {_MAX_BODY_BYTES >> 20} MiB; send less"
            await _refuse(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
            return
        is_prediction = scope["method"] == "POST" and scope["path"] == "/invocations"
        backend = self._chosen() if is_prediction else self.current or self.new
        if backend is None:
            await _refuse(send, HTTPStatus.SERVICE_UNAVAILABLE, "no model is in service; try again later")
            return
        with backend.request():
            await self._pass_on(backend, scope, body, send, is_prediction=is_prediction)

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


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a request; None if it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        size += len(message.get("body", b""))
        if size > _MAX_BODY_BYTES:
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _refuse(send: Send, status: HTTPStatus, text: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await _answer(send, status, headers, json.dumps({"error": text}).encode())


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": int(status), "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
