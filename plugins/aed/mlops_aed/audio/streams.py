"""Blocks of mono samples from a file of any length, or from a stream that cannot seek."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import soundfile

from mlops_aed.audio.waveform import to_mono
from mlops_core import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BLOCK_S = 0.25
"""Longest block of a stream: short enough to wait for, long enough to be cheap."""
FILE_BLOCK_S = 16.0
"""Length of the blocks of a file: some 64 patches."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFormat:
    """How a stream stores samples: `kind` is byte order and type for numpy, `scale` maps the values to -1 ... 1."""

    rate_hz: int
    channels: int
    kind: str
    scale: float

    @property
    def frame_bytes(self) -> int:
        """Number of bytes of one sample of every channel."""
        return self.channels * np.dtype(self.kind).itemsize


def read_blocks(source: Path | IO[bytes], *, raw_rate_hz: int | None = None) -> tuple[int, Iterator[Floats]]:
    """Return the rate in Hz, and blocks of mono samples, each of shape (samples,).

    Args:
        source: a file, or a stream of WAV (16 or 32 bit integers, 32-bit floats) or of raw samples.
        raw_rate_hz: rate of a stream of 16-bit little-endian mono samples without a header; None for WAV.

    Raises:
        DatasetError: it cannot be decoded.
    """
    if isinstance(source, Path):
        return _file_blocks(source)
    layout = (
        SampleFormat(rate_hz=raw_rate_hz, channels=1, kind="<i2", scale=1 / 32768)
        if raw_rate_hz
        else read_wav_header(source)
    )
    return layout.rate_hz, _stream_blocks(source, layout)


def _file_blocks(path: Path) -> tuple[int, Iterator[Floats]]:
    if not path.is_file():
        raise DatasetError(f"{path.name} cannot be decoded: no such file, or not a regular one")
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise DatasetError(f"{path.name} cannot be decoded: {getattr(error, 'error_string', None) or error}") from error

    def blocks() -> Iterator[Floats]:
        with file:
            for block in file.blocks(blocksize=int(FILE_BLOCK_S * file.samplerate), dtype="float32"):
                yield _finite(to_mono(block), path.name)

    return int(file.samplerate), blocks()


def _stream_blocks(stream: IO[bytes], layout: SampleFormat) -> Iterator[Floats]:
    """Yield the samples that have arrived, at most a block at a time; drop a sample that is cut off at the end."""
    size = max(1, int(BLOCK_S * layout.rate_hz)) * layout.frame_bytes
    read = getattr(stream, "read1", stream.read)
    rest = b""
    while chunk := read(size):
        data = rest + chunk
        whole = len(data) // layout.frame_bytes * layout.frame_bytes
        rest = data[whole:]
        if whole:
            samples = np.frombuffer(data[:whole], dtype=layout.kind).astype(np.float32) * np.float32(layout.scale)
            mono = to_mono(samples.reshape(-1, layout.channels)) if layout.channels > 1 else samples
            yield _finite(mono, "standard input")


def _finite(samples: Floats, name: str) -> Floats:
    if not np.isfinite(samples).all():
        raise DatasetError(f"{name} holds samples that are not finite numbers")
    return samples


def read_wav_header(stream: IO[bytes]) -> SampleFormat:
    """Read a WAV header up to the first sample; ignore the sizes in it, which a stream does not know.

    Raises:
        DatasetError: the stream is not WAV, or has an unsupported encoding.
    """
    start = stream.read(12)
    if start[:4] != b"RIFF" or start[8:12] != b"WAVE":
        raise DatasetError(
            "standard input is not a WAV stream; for 16-bit mono samples without a header set their rate: --raw RATE"
        )
    layout: SampleFormat | None = None
    while True:
        header = stream.read(8)
        if len(header) < 8:
            raise DatasetError("standard input ends within the WAV header")
        kind, size = struct.unpack("<4sL", header)
        if kind == b"data":
            break
        content = stream.read(size + size % 2)
        if kind == b"fmt ":
            layout = _layout(content)
    if layout is None:
        raise DatasetError("standard input: the WAV header has no chunk that describes the samples")
    return layout


def _layout(content: bytes) -> SampleFormat:
    encoding, channels, rate, _, _, bits = struct.unpack_from("<2H2L2H", content)
    if encoding == _EXTENSIBLE and len(content) >= 26:
        (encoding,) = struct.unpack_from("<H", content, 24)
    kinds = {
        (_PCM, 16): ("<i2", 1 / 2**15),
        (_PCM, 32): ("<i4", 1 / 2**31),
        (_FLOAT, 32): ("<f4", 1.0),
    }
    if (encoding, bits) not in kinds or not channels or not rate:
        raise DatasetError(
            f"standard input: WAV encoding {encoding} with {bits} bits and {channels} channels cannot be streamed; "
            "expected 16 or 32 bit integers or 32-bit floats"
        )
    kind, scale = kinds[encoding, bits]
    return SampleFormat(rate_hz=rate, channels=channels, kind=kind, scale=scale)
