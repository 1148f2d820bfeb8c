"""An HTTPS server on 127.0.0.1: requests and responses as data, and the guard against pages of other origins."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from mlops_azureml.emulator.web.errors import CallError, InvalidError
from mlops_core import UsageError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

HOST = "127.0.0.1"
_LOG = logging.getLogger(__name__)
_LARGEST_JSON = 32 << 20
_CHUNK = 1 << 20
_IDLE_S = 300
_OWN_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|[a-z0-9]{3,24}\.blob\.localhost)(?::\d{1,5})?\Z", re.IGNORECASE)


@dataclass(kw_only=True)
class Request:
    """A request.

    Attributes:
        method: HTTP method.
        host: value of the Host header.
        path: decoded path.
        query: parameters of the query; the last of equal names.
        headers: headers by lower-case name.
        length: of the body, in bytes.
    """

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    length: int
    stream: Any = field(repr=False)
    is_read: bool = False

    def chunks(self) -> Iterator[bytes]:
        """Yield the body.

        Raises:
            InvalidError: it is shorter than announced.
        """
        self.is_read = True
        left = self.length
        while left:
            chunk = self.stream.read(min(left, _CHUNK))
            if not chunk:
                raise InvalidError("the body is shorter than its Content-Length", code="IncompleteBody")
            left -= len(chunk)
            yield chunk

    def content(self) -> bytes:
        """Return the body of a request that is not an upload.

        Raises:
            CallError: it is too large.
        """
        if self.length > _LARGEST_JSON:
            raise CallError(413, "RequestBodyTooLarge", f"the body exceeds {_LARGEST_JSON:,} bytes")
        return b"".join(self.chunks())

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            InvalidError: it is not JSON.
        """
        try:
            return json.loads(self.content() or b"{}")
        except (ValueError, RecursionError) as error:
            raise InvalidError(f"the request is not JSON: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Response:
    """A response.

    Attributes:
        status: HTTP status.
        content: body, or the file that holds it.
        start: first byte of the file to send.
        length: number of bytes of the file to send.
        kind: value of Content-Type.
        headers: additional headers.
    """

    status: int = 200
    content: bytes | Path = b""
    start: int = 0
    length: int | None = None
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, data: Any, *, status: int = 200) -> Response:
        """Return a response with JSON."""
        return cls(status=status, content=json.dumps(data, ensure_ascii=False).encode())


def is_blob_request(request: Request) -> bool:
    """Return whether a request is for the storage account: by the host, or the headers that its clients send."""
    return ".blob." in request.host or "x-ms-version" in request.headers


class HttpsServer:
    """Serves an application until it is closed."""

    def __init__(self, answer: Callable[[Request], Response], *, port: int, context: ssl.SSLContext) -> None:
        """Listen on a port of 127.0.0.1; 0 for any free one.

        Raises:
            UsageError: the port is in use.
        """
        handler = type("Handler", (_Handler,), {"answer": staticmethod(answer)})
        try:
            self._server = _Server((HOST, port), handler, context)
        except OSError as error:
            raise UsageError(
                f"cannot use port {port} on {HOST}: {error.strerror}; choose another port, or 0 for any free port"
            ) from error
        self.port: int = self._server.server_port
        handler.origins = tuple(  # type: ignore[attr-defined]
            f"https://{host}:{self.port}" for host in (HOST, "localhost")
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="endpoint", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Close all connections and the port."""
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: Any, context: ssl.SSLContext) -> None:
        self._context = context
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; the handshake is made by its thread, so that a slow client delays nobody."""
        plain, address = super().get_request()
        plain.settimeout(_IDLE_S)
        connection = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection, and close it."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End the connections that clients keep open."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that has gone away; log anything else."""
        del request
        _LOG.debug("connection of %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "mlops-azureml"
    sys_version = ""
    origins: tuple[str, ...] = ()
    answer: Any = None

    def handle(self) -> None:
        """Serve the requests of a connection."""
        with contextlib.suppress(OSError):  # among them, all errors of TLS
            self.connection.do_handshake()
            super().handle()

    def _serve(self) -> None:
        request: Request | None = None
        try:
            request = self._request()
            self._require_local(request)
            response = self.answer(request)
        except CallError as error:
            response = self._refusal(error)
        except ConnectionError:  # the client has gone away
            raise
        except Exception as error:  # noqa: BLE001  a defect must reach the client as an answer
            _LOG.exception("%s %s failed", self.command, self.path)
            response = self._refusal(CallError(500, "InternalServerError", repr(error)))
        if request is None or not self._drained(request):
            self.close_connection = True
        self._send(response)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815  http.server's names

    def _request(self) -> Request:
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdigit()):
            raise CallError(411, "LengthRequired", "the endpoint takes bodies with a Content-Length only")
        place = urlsplit(self.path if self.path.startswith("/") else "/")
        return Request(
            method=self.command,
            host=self.headers.get("Host", ""),
            path=unquote(place.path),
            query=dict(parse_qsl(place.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            length=int(length),
            stream=self.rfile,
        )

    def _require_local(self, request: Request) -> None:
        """Raise for a request that a page of another origin could have made.

        Raises:
            CallError: the host is not this machine, or the origin is not this endpoint.
        """
        if not _OWN_HOST.match(request.host):
            raise CallError(403, "Forbidden", "the Host header must be 127.0.0.1 or localhost")
        origin = request.headers.get("origin")
        if origin is not None and origin not in self.origins:
            raise CallError(403, "Forbidden", "requests from pages of another origin are refused")

    def _drained(self, request: Request) -> bool:
        """Read the rest of a small body, so that its client reads the answer instead of a closed connection."""
        if request.is_read or not request.length:
            return True
        if request.length > _LARGEST_JSON:
            return False
        with contextlib.suppress(CallError, OSError):
            for _ in request.chunks():
                pass
            return True
        return False

    def _refusal(self, error: CallError) -> Response:
        if "x-ms-version" in self.headers:
            text = f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
            content = f'<?xml version="1.0" encoding="utf-8"?>{text}'.encode()
            headers = {"x-ms-error-code": error.code}
            return Response(status=error.status, content=content, kind="application/xml", headers=headers)
        return Response.of_json({"error": {"code": error.code, "message": error.message}}, status=error.status)

    def _send(self, response: Response) -> None:
        content = response.content
        whole = len(content) if isinstance(content, bytes) else content.stat().st_size - response.start
        length = whole if response.length is None else response.length
        self.send_response(response.status)
        headers = {
            "Content-Type": response.kind,
            "Content-Length": str(length),
            "x-ms-request-id": secrets.token_hex(8),
        }
        for name, value in {**headers, **response.headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(content, bytes):
            self.wfile.write(content)
            return
        with content.open("rb") as stream:
            stream.seek(response.start)
            while length and (chunk := stream.read(min(length, _CHUNK))):
                self.wfile.write(chunk)
                length -= len(chunk)

    def log_message(self, *_: object) -> None:
        """Log nothing: addresses may hold signatures."""
