"""An S3 or Azure blob endpoint on loopback that counts and discards uploads, so that the client limits the speed.

It has one process and one thread, and the kernel discards bodies without copying them (on Linux), so that it takes
little from a client on the same cores. It keeps only small objects that end with ``.json``, ``.gz`` or ``.txt``, so
that a manifest can be read back, and prints its port. Requests with the header ``x-ms-version`` are answered as Azure
does.
Usage: ``python benchmarks/discarding_server.py``
"""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import sys
from urllib.parse import unquote

BUFFER = memoryview(bytearray(1 << 20))
HEAD_BYTES = 1 << 12
"""Read at once while a head is expected: what arrives of the body with it is copied."""
DISCARD = socket.MSG_TRUNC if sys.platform == "linux" else 0
"""On TCP, received bytes are dropped instead of copied."""
KEPT_BYTES = 1 << 20
EMPTY = (
    b'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>'
)
EMPTY_AZURE = (
    b'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs></Blobs><NextMarker></NextMarker>'
    b"</EnumerationResults>"
)
NO_BLOB = b'<?xml version="1.0" encoding="utf-8"?><Error><Code>BlobNotFound</Code><Message>none</Message></Error>'
NO_KEY = b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>none</Message></Error>'
KEPT: dict[str, bytes] = {}
COUNTS = {"PUT": 0, "GET": 0, "HEAD": 0, "POST": 0, "DELETE": 0, "bytes": 0}


class Connection:
    """A connection; the body of a request is counted and discarded on arrival."""

    def __init__(self, connected: socket.socket) -> None:
        """Wait for the first request."""
        self.socket = connected
        self._head = b""
        self._left = 0
        self._body: list[bytes] | None = None

    def receive(self) -> bool:
        """Process what has arrived; return whether the connection is still open."""
        try:
            if self._left and self._body is None:
                count = self.socket.recv_into(BUFFER, min(self._left, len(BUFFER)), DISCARD)
                self._left -= count
                COUNTS["bytes"] += count
                if count and not self._left:
                    self._answer()
            else:
                count = self.socket.recv_into(BUFFER, self._left or HEAD_BYTES)
                self._take(bytes(BUFFER[:count]))
        except ConnectionError:
            return False
        return count > 0

    def _take(self, data: bytes) -> None:
        while data:
            if not self._left:
                data = self._read_head(data)
                continue
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            COUNTS["bytes"] += len(part)
            if self._body is not None:
                self._body.append(part)
            if not self._left:
                self._answer()

    def _read_head(self, data: bytes) -> bytes:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return b""
        lines = head.decode("latin-1").split("\r\n")
        self._method, self._target, _ = lines[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self._head = b""
        self._left = int(headers.get("content-length", 0))
        path = self._target.partition("?")[0]
        is_kept = path.endswith((".json", ".gz", ".txt")) and self._left <= KEPT_BYTES
        self._is_azure = "x-ms-version" in headers
        self._body = [] if is_kept else None
        if headers.get("expect") == "100-continue":
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._left:
            self._answer()
        return rest

    def _answer(self) -> None:
        COUNTS[self._method] += 1
        key = unquote(self._target.partition("?")[0])
        if self._method == "PUT":
            if self._body is not None:
                KEPT[key] = b"".join(self._body)
            self._respond(201 if self._is_azure else 200, b"")
        elif self._method == "DELETE":
            KEPT.pop(key, None)
            self._respond(202 if self._is_azure else 204, b"")
        elif self._method == "GET" and key in KEPT:
            self._respond(200, KEPT[key])
        elif self._method == "GET" and ("list-type" in self._target or "prefix" in self._target):
            self._respond(200, EMPTY_AZURE if self._is_azure else EMPTY)
        elif self._method == "POST":
            KEPT.clear()
            self._respond(200, b"<DeleteResult></DeleteResult>")
        else:
            self._respond(404, b"" if self._method == "HEAD" else NO_BLOB if self._is_azure else NO_KEY)
        self._body = None

    def _respond(self, status: int, body: bytes) -> None:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        head = (
            f'HTTP/1.1 {status} -\r\nETag: "{etag}"\r\nContent-Type: application/xml\r\n'
            f"Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._send(head.encode() + body)

    def _send(self, data: bytes) -> None:
        self.socket.sendall(data)


def main() -> None:
    """Serve until standard input is closed; then print the counts."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listening.getsockname()[1], flush=True)
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    print(COUNTS, flush=True)
                    return
                if key.fileobj is listening:
                    connected, _address = listening.accept()
                    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(connected, selectors.EVENT_READ, Connection(connected))
                elif not key.data.receive():
                    selector.unregister(key.data.socket)
                    key.data.socket.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
