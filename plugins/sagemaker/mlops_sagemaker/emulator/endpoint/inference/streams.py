"""The event stream in which ``InvokeEndpointWithResponseStream`` answers: ``application/vnd.amazon.eventstream``.

A message is the length of the whole and of its headers, a CRC-32 of these two, headers, payload, and a CRC-32 of
everything before: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html
"""

from __future__ import annotations

import struct
import zlib

_PART = 64 * 1024
_STRING = 7
_HEADERS = ((":event-type", "PayloadPart"), (":content-type", "application/octet-stream"), (":message-type", "event"))


def as_event_stream(body: bytes) -> bytes:
    """Return a body as the messages of an event stream, in parts of 64 KiB."""
    return b"".join(_message(body[start : start + _PART]) for start in range(0, len(body), _PART))


def _message(payload: bytes) -> bytes:
    headers = b"".join(_header(name, value) for name, value in _HEADERS)
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    encoded, text = name.encode(), value.encode()
    return struct.pack("!B", len(encoded)) + encoded + struct.pack("!BH", _STRING, len(text)) + text
