"""Messages between the front and a worker: a header of JSON, then a body of bytes, each with its length before it."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import StreamReader
    from collections.abc import Mapping
    from typing import BinaryIO

_LENGTHS = struct.Struct("!IQ")


def packed(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Return a message as bytes."""
    text = json.dumps(header).encode()
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Return the next message of a blocking stream; None at its end."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header, body = _LENGTHS.unpack(lengths)
    return json.loads(stream.read(header)), stream.read(body)


async def receive_message(reader: StreamReader) -> tuple[dict[str, Any], bytes]:
    """Return the next message.

    Raises:
        asyncio.IncompleteReadError: the other side has ended.
    """
    header, body = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    data = await reader.readexactly(header + body)
    return json.loads(data[:header].decode()), data[header:]
