"""The header of a WAV stream that cannot seek: RIFF, RIFX and RF64, read up to the first sample.

A size that a program could not know when it wrote the header (0 in a header that ends with it, or a size that no file
reaches) means: up to the end of the stream.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import IO

from mlops_core import DatasetError

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_SIZE = 0xFFFFFF00
"""Smallest size in a header that means "unknown", as written by programs that write into a pipe."""
_ORDERS = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">"}
_FORMAT_BYTES = 16
_SUBTYPE_END = 26
_SKIPPED_AT_ONCE = 1 << 16
_KINDS = {
    (_PCM, 1): ("u1", 1 / 2**7),
    (_PCM, 2): ("i2", 1 / 2**15),
    (_PCM, 3): ("i3", 1 / 2**23),
    (_PCM, 4): ("i4", 1 / 2**31),
    (_FLOAT, 4): ("f4", 1.0),
    (_FLOAT, 8): ("f8", 1.0),
}
"""(encoding, bytes per sample) -> kind, and the factor that maps the values to -1 ... 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFormat:
    """How a stream stores samples.

    Attributes:
        rate_hz: samples per second.
        channels: number of channels.
        order: byte order as in numpy, ``<`` or ``>``.
        kind: type as in numpy, or ``i3`` for 24-bit integers.
        scale: factor that maps the values to -1 ... 1.
        data_bytes: number of bytes of samples; None for all up to the end.
    """

    rate_hz: int
    channels: int
    order: str = "<"
    kind: str
    scale: float
    data_bytes: int | None = None

    @property
    def frame_bytes(self) -> int:
        """Number of bytes of one sample of every channel."""
        return self.channels * int(self.kind[1:])


def read_wav_header(stream: IO[bytes], *, name: str = "standard input") -> SampleFormat:
    """Return the format of the samples; the stream is then at the first of them.

    Raises:
        DatasetError: the stream is not WAV, its header is damaged, or it has an encoding that cannot be streamed.
    """
    start = stream.read(12)
    order = _ORDERS.get(start[:4])
    if order is None or start[8:12] != b"WAVE":
        raise DatasetError(_not_wav(start, name))
    (riff_bytes,) = struct.unpack_from(f"{order}L", start, 4)
    place, layout, large_bytes = 12, None, None
    while True:
        kind, size = _chunk(stream, order, name)
        place += 8
        if kind == b"data":
            break
        if kind in {b"fmt ", b"ds64"} and size <= _SKIPPED_AT_ONCE:
            content = stream.read(size)
            skip(stream, size % 2)
            if kind == b"fmt ":
                layout = _format(content, order, name)
            else:
                large_bytes = _large_bytes(content, name)
        else:
            skip(stream, size + size % 2)
        place += size + size % 2
    if layout is None:
        raise DatasetError(f"{name}: the WAV header has no chunk 'fmt ' that describes the samples")
    if start[:4] == b"RF64" and size >= _UNKNOWN_SIZE:
        if large_bytes is None:
            raise DatasetError(f"{name}: the RF64 header has no chunk 'ds64' with the sizes")
        return replace(layout, data_bytes=large_bytes or None)
    ends_here = riff_bytes >= _UNKNOWN_SIZE or riff_bytes + 8 <= place
    is_unknown = size >= _UNKNOWN_SIZE or (size == 0 and ends_here)
    return replace(layout, data_bytes=None if is_unknown else size)


def check_rest(stream: IO[bytes], layout: SampleFormat, *, name: str = "standard input") -> None:
    """Read what follows the samples up to the end of the stream.

    Raises:
        DatasetError: further samples follow, which a decoder of files refuses as well.
    """
    skip(stream, (layout.data_bytes or 0) % 2)
    while len(header := stream.read(8)) == 8:
        kind, size = struct.unpack(f"{layout.order}4sL", header)
        if kind == b"data" and size:
            raise DatasetError(f"{name} holds two chunks of samples; expected one")
        skip(stream, size + size % 2)


def skip(stream: IO[bytes], size: int) -> None:
    """Read `size` bytes, or up to the end, in bounded memory."""
    while size > 0:
        chunk = stream.read(min(size, _SKIPPED_AT_ONCE))
        if not chunk:
            return
        size -= len(chunk)


def _not_wav(start: bytes, name: str) -> str:
    if start[8:12] == b"WAVE":
        form = start[:4].decode("ascii", "replace")
        return f"{name} is a WAV stream of the form {form!r}, which cannot be read; expected RIFF, RIFX or RF64"
    return f"{name} is not a WAV stream; for 16-bit mono samples without a header set their rate: --raw RATE"


def _chunk(stream: IO[bytes], order: str, name: str) -> tuple[bytes, int]:
    header = stream.read(8)
    if len(header) < 8:
        raise DatasetError(f"{name} ends within the WAV header")
    kind, size = struct.unpack(f"{order}4sL", header)
    return kind, size


def _large_bytes(chunk: bytes, name: str) -> int:
    if len(chunk) < 16:
        raise DatasetError(f"{name}: the chunk 'ds64' of the RF64 header has {len(chunk)} bytes; expected at least 16")
    return int(struct.unpack_from("<Q", chunk, 8)[0])


def _format(content: bytes, order: str, name: str) -> SampleFormat:
    if len(content) < _FORMAT_BYTES:
        note = f"has {len(content)} bytes; expected at least {_FORMAT_BYTES}"
        raise DatasetError(f"{name}: the chunk 'fmt ' of the WAV header {note}")
    encoding, channels, rate, _, _, bits = struct.unpack_from(f"{order}2H2L2H", content)
    if encoding == _EXTENSIBLE and len(content) >= _SUBTYPE_END:
        (encoding,) = struct.unpack_from(f"{order}H", content, 24)
    found = _KINDS.get((encoding, (bits + 7) // 8))
    if found is None or not channels or not rate:
        raise DatasetError(
            f"{name}: WAV encoding {encoding} with {bits} bits, {channels} channels and {rate} Hz cannot be streamed; "
            "expected integers of 8 to 32 bits or floats of 32 or 64 bits"
        )
    kind, scale = found
    return SampleFormat(rate_hz=rate, channels=channels, order=order, kind=kind, scale=scale)
