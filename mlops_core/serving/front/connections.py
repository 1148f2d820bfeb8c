"""uvicorn's HTTP/1.1 protocol with a time limit for headers, and errors as JSON; the only module that needs uvicorn."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

HEADERS_S = 10.0
"""Time that a connection may take to send the headers of a request."""
_KEEP_ALIVE_S = 75
_GRACE_S = 25


class ImpatientProtocol(H11Protocol):
    """Closes a connection that does not complete the headers of a request in time."""

    _headers_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Take what was received; wait for the rest of the headers where they are not complete."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]  # None before the first request
            if self.conn.trailing_data[0]:
                self._wait_for_headers()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; one line of JSON, like all errors."""
        body = json.dumps({"error": f"{msg} Send HTTP/1.1.", "request_id": secrets.token_hex(16)}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        with contextlib.suppress(h11.LocalProtocolError):  # the response has begun
            self.transport.write(self.conn.send(h11.Response(status_code=400, headers=headers)))
            self.transport.write(self.conn.send(h11.Data(data=body)))
            self.transport.write(self.conn.send(h11.EndOfMessage()))
        self.transport.close()

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
