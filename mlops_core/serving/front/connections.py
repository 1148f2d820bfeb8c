"""uvicorn's HTTP/1.1 protocol with limits for headers, and errors as JSON; the only module that needs uvicorn."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

HEADERS_S = 10.0
"""Time that a connection may take to send the headers of a request."""
_LARGEST_HEADERS = 64 << 10
"""Bytes of the headers of a request."""
_KEEP_ALIVE_S = 75
_GRACE_S = 25


class ImpatientProtocol(HttpToolsProtocol):
    """Closes a connection that does not complete the headers of a request in time, and refuses what is not HTTP/1.1.

    The parser (llhttp) limits neither the size of headers nor their time, and does not ask for a ``Host``.
    """

    _headers_timer: asyncio.TimerHandle | None = None
    _is_in_headers = False
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Take what was received; wait for the rest of the headers where they are not complete."""
        if self._is_in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_in_headers and self._header_bytes > _LARGEST_HEADERS:
            self.send_400_response("The headers are too large.")
        elif self._is_in_headers or self._is_idle():
            self._wait_for_headers()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin with the headers of a request."""
        super().on_message_begin()
        self._is_in_headers, self._header_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Begin with its body.

        Raises:
            ValueError: they are too large, or do not name one host; the parser makes it a fault of the request.
        """
        self._is_in_headers = False
        hosts = sum(name == b"host" for name, _ in self.headers)
        size = sum(len(name) + len(value) for name, value in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1") or size > _LARGEST_HEADERS:
            raise ValueError(f"{size} bytes of headers, {hosts} hosts")
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; one line of JSON, like all errors."""
        body = json.dumps({"error": f"{msg} Send HTTP/1.1.", "request_id": secrets.token_hex(16)}).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:  # type: ignore[redundant-expr]  # None before the first request
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head.encode() + body)
        self.transport.close()

    def _is_idle(self) -> bool:
        """Return whether bytes arrived that belong to no request; nothing else would end the connection then."""
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # as above
            return False
        return self.timeout_keep_alive_task is None

    def _wait_for_headers(self) -> None:
        if self._headers_timer is None:
            self._headers_timer = self.loop.call_later(HEADERS_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None


class FrontServer(uvicorn.Server):
    """uvicorn's server without its signal handlers, which would end the process by the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `mlops_core.serving.server`."""
        yield


def front_server(application: Any) -> FrontServer:
    """Return a server for an ASGI application; `FrontServer.serve` takes its sockets."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return FrontServer(
        uvicorn.Config(
            application,
            http=ImpatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )
