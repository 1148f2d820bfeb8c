"""How the router calls a server: HTTP/1.1 over connections that are kept open."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

if TYPE_CHECKING:
    from collections.abc import Sequence

    Headers = Sequence[tuple[bytes, bytes]]

_CHUNK = 1 << 18
_MOST_IDLE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamAnswer:
    """The answer of a server.

    Attributes:
        status: of HTTP.
        headers: names in lower case, and values.
        body: the whole body.
    """

    status: int
    headers: Headers
    body: bytes


class UpstreamError(Exception):
    """The server did not answer."""


class _Connection:
    """A connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(our_role=h11.CLIENT)

    async def exchange(self, request: h11.Request, body: bytes) -> UpstreamAnswer:
        """Send a request and return the answer."""
        for part in (request, h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._http.send(part) or b"")
        await self._writer.drain()
        response: h11.Response | None = None
        parts: list[bytes] = []
        has_data = False
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._reader.read(_CHUNK)
                if not data and not has_data:
                    raise ConnectionResetError("the server closed the connection")
                has_data = True
                self._http.receive_data(data)
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("the server closed the connection")
        if response is None:
            raise ConnectionResetError("the server sent no response")
        return UpstreamAnswer(status=response.status_code, headers=list(response.headers), body=b"".join(parts))

    def reuse(self) -> bool:
        """Prepare for the next request; return whether there may be one."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    def is_open(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Upstream:
    """A server on this machine, and the idle connections to it."""

    def __init__(self, port: int) -> None:
        """Call the server at a port of 127.0.0.1."""
        self.port = port
        self._idle: list[_Connection] = []

    async def call(
        self, method: str, path: str, *, headers: Headers = (), body: bytes = b"", timeout_s: float
    ) -> UpstreamAnswer:
        """Send a request and return the answer.

        Raises:
            UpstreamError: the server does not answer, or not in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._call(method, path, headers=headers, body=body)
        except TimeoutError as error:
            raise UpstreamError(f"no answer within {timeout_s:g} s") from error
        except (OSError, h11.ProtocolError) as error:
            raise UpstreamError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await self._idle.pop().close()

    async def _call(self, method: str, path: str, *, headers: Headers, body: bytes) -> UpstreamAnswer:
        own = [(b"host", f"127.0.0.1:{self.port}".encode()), (b"content-length", str(len(body)).encode())]
        request = h11.Request(method=method, target=path.encode(), headers=[*own, *headers])
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                try:
                    return await self._exchanged(connection, request, body)
                except ConnectionError:
                    continue  # it was closed while it was idle: the server has not begun an answer
            await connection.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return await self._exchanged(_Connection(reader, writer), request, body)

    async def _exchanged(self, connection: _Connection, request: h11.Request, body: bytes) -> UpstreamAnswer:
        try:
            answer = await connection.exchange(request, body)
        except BaseException:
            await connection.close()
            raise
        if connection.reuse() and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            await connection.close()
        return answer
