"""The header of a WAV stream that cannot seek: RIFF, RIFX and RF64, read up to the first sample.

A size that a program could not know when it wrote the header (0 in a header that ends with it, or a size that no file
reaches) means: up to the end of the stream.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from mlops_core import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_UNKNOWN_SIZE = 0xFFFFFF00
"""Smallest size in a header that means "unknown", as written by programs that write into a pipe."""
_ORDERS = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">"}
_FORMAT_BYTES = 16
_LARGE_SIZES_BYTES = 28
_SUBTYPES = {bytes.fromhex("000000001000800000aa00389b71"), bytes.fromhex("00002107d3118644c8c1ca000000")}
"""What follows the encoding in the identifier of an extensible header: that of Microsoft, and that of Ambisonics."""
_MOST_CHANNELS, _HIGHEST_RATE_HZ = 1024, 2**31 - 1
"""Limits of the decoder of files."""
_OTHER_FORMATS = {
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"FORM": "AIFF",
    b"caff": "CAF",
    b".snd": "AU",
    b"riff": "Wave64",
    b"\x1aE\xdf\xa3": "Matroska or WebM",
    **dict.fromkeys((b"ID3\2", b"ID3\3", b"ID3\4"), "MP3, or begins with an ID3 tag"),
    **dict.fromkeys(_ORDERS, "WAV"),
}
"""First bytes of a stream -> its format. Raw samples begin so only by a chance of one in many millions."""
_MP3_FRAMES = frozenset({b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2"})
"""First bytes of MP3 without a tag, with which raw samples may begin as well."""
SIGNATURE_BYTES = 4
"""Number of bytes that tell a format."""
_SKIPPED_AT_ONCE = 1 << 16
_KINDS = {
    (_PCM, 1): ("u1", 1 / 2**7),
    (_PCM, 2): ("i2", 1 / 2**15),
    (_PCM, 3): ("i3", 1 / 2**23),
    (_PCM, 4): ("i4", 1 / 2**31),
    (_FLOAT, 4): ("f4", 1.0),
    (_FLOAT, 8): ("f8", 1.0),
    (_A_LAW, 1): ("a1", 1 / 2**15),
    (_MU_LAW, 1): ("m1", 1 / 2**15),
}
"""(encoding, bytes per sample) -> kind, and the factor that maps the values to -1 ... 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFormat:
    """How a stream stores samples.

    Attributes:
        rate_hz: samples per second.
        channels: number of channels.
        order: byte order as in numpy, ``<`` or ``>``.
        kind: type as in numpy, ``i3`` for 24-bit integers, ``a1`` for A-law, ``m1`` for mu-law.
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
                if layout is not None:
                    raise DatasetError(f"{name}: the WAV header describes the samples twice; expected one chunk 'fmt '")
                layout = _format(content, order, name)
            else:
                large_bytes = _large_bytes(content, name)
        else:
            skip(stream, size + size % 2)
        place += size + size % 2
    if layout is None:
        raise DatasetError(f"{name}: the WAV header has no chunk 'fmt ' that describes the samples")
    if start[:4] == b"RF64" and (large_bytes or size >= _UNKNOWN_SIZE):
        if large_bytes is None:
            raise DatasetError(f"{name}: the RF64 header has no chunk 'ds64' with the sizes")
        return replace(layout, data_bytes=large_bytes or None)
    ends_here = riff_bytes >= _UNKNOWN_SIZE or riff_bytes + 8 <= place
    is_unknown = size >= _UNKNOWN_SIZE or (size == 0 and ends_here)
    return replace(layout, data_bytes=None if is_unknown else size)


def is_shorter_than_header(path: Path) -> bool:
    """Return whether a WAV file is shorter than its header says; decoders do not report it."""
    with path.open("rb") as stream:
        start = stream.read(8)
    size = int.from_bytes(start[4:8], "little")
    return start[:4] == b"RIFF" and 0 < size < _UNKNOWN_SIZE and path.stat().st_size < size + 8 - size % 2


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
        if kind in _ORDERS:
            raise DatasetError(f"{name} holds two WAV files, one after the other; expected one")
        skip(stream, size + size % 2)


def skip(stream: IO[bytes], size: int) -> None:
    """Read `size` bytes, or up to the end, in bounded memory."""
    while size > 0:
        chunk = stream.read(min(size, _SKIPPED_AT_ONCE))
        if not chunk:
            return
        size -= len(chunk)


def check_raw(start: bytes, *, name: str = "standard input") -> None:
    """Check that the first bytes of raw samples are not those of a file with a header.

    Raises:
        DatasetError: they are; its header would be heard, and its samples may be of another type.
    """
    form = _OTHER_FORMATS.get(start[:SIGNATURE_BYTES])
    if form is not None:
        advice = "leave out --raw" if form == "WAV" else "convert it to WAV and leave out --raw"
        raise DatasetError(f"{name} is {form}, not samples without a header; {advice}")


def _not_wav(start: bytes, name: str) -> str:
    if not start:
        return f"{name} is empty; expected a WAV stream"
    if start[8:12] == b"WAVE":
        form = start[:4].decode("ascii", "replace")
        return f"{name} is a WAV stream of the form {form!r}, which cannot be read; expected RIFF, RIFX or RF64"
    other = "MP3" if start[:2] in _MP3_FRAMES else _OTHER_FORMATS.get(start[:SIGNATURE_BYTES])
    if other == "WAV":
        return f"{name} ends within the WAV header" if len(start) < 12 else f"{name} is RIFF, but not WAV"
    if other is not None:
        return f"{name} is {other}, which cannot be streamed; convert it to WAV, or give it as a file"
    return f"{name} is not a WAV stream; for 16-bit mono samples without a header set their rate: --raw RATE"


def _chunk(stream: IO[bytes], order: str, name: str) -> tuple[bytes, int]:
    header = stream.read(8)
    if len(header) < 8:
        raise DatasetError(f"{name} ends within the WAV header")
    kind, size = struct.unpack(f"{order}4sL", header)
    if not (kind.isascii() and kind.decode("ascii").isprintable()):
        raise DatasetError(f"{name}: the WAV header is damaged: {kind!r} is not a name of a chunk")
    return kind, size


def _large_bytes(chunk: bytes, name: str) -> int:
    if len(chunk) < _LARGE_SIZES_BYTES:
        note = f"has {len(chunk)} bytes; expected at least {_LARGE_SIZES_BYTES}"
        raise DatasetError(f"{name}: the chunk 'ds64' of the RF64 header {note}")
    size = int(struct.unpack_from("<Q", chunk, 8)[0])
    if size == 2**64 - 1:
        raise DatasetError(f"{name}: the chunk 'ds64' of the RF64 header gives no size of the samples")
    return size


def _format(content: bytes, order: str, name: str) -> SampleFormat:
    if len(content) < _FORMAT_BYTES:
        note = f"has {len(content)} bytes; expected at least {_FORMAT_BYTES}"
        raise DatasetError(f"{name}: the chunk 'fmt ' of the WAV header {note}")
    encoding, channels, rate, _, _, bits = struct.unpack_from(f"{order}2H2L2H", content)
    if encoding == _EXTENSIBLE and content[26:40] in _SUBTYPES:
        (encoding,) = struct.unpack_from(f"{order}H", content, 24)
    found = _KINDS.get((encoding, (bits + 7) // 8))
    if found is None or not 0 < channels <= _MOST_CHANNELS or not 0 < rate <= _HIGHEST_RATE_HZ:
        raise DatasetError(
            f"{name}: WAV encoding {encoding} with {bits} bits, {channels} channels and {rate} Hz cannot be streamed; "
            "expected integers of 8 to 32 bits, floats of 32 or 64 bits, A-law or mu-law, or a file"
        )
    kind, scale = found
    return SampleFormat(rate_hz=rate, channels=channels, order=order, kind=kind, scale=scale)
