"""Blocks of mono samples from a file of any length, or from a stream that cannot seek."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from mlops_aed.audio.channels import to_mono
from mlops_aed.audio.opening import open_audio
from mlops_aed.audio.wav_headers import SIGNATURE_BYTES, SampleFormat, check_raw, check_rest, read_wav_header
from mlops_aed.file_names import printable
from mlops_core import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import soundfile
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BLOCK_S = 0.25
"""Longest block of a stream: short enough to wait for, long enough to be cheap."""
FILE_BLOCK_S = 16.0
"""Length of the blocks of a file: some 64 patches."""
_WAV_FORMATS = frozenset({"WAV", "WAVEX", "RF64"})


def _expanded_a_law() -> NDArray[np.int16]:
    """Return the sample of each of the 256 codes of A-law, as in ITU-T G.711."""
    codes = np.arange(256) ^ 0x55
    exponent, mantissa = codes >> 4 & 7, codes & 15
    size = np.where(exponent == 0, (mantissa << 4) + 8, (mantissa << 4) + 0x108 << np.maximum(exponent - 1, 0))
    return np.where(codes & 0x80, size, -size).astype(np.int16)


def _expanded_mu_law() -> NDArray[np.int16]:
    """Return the sample of each of the 256 codes of mu-law, as in ITU-T G.711."""
    codes = 255 - np.arange(256)
    size = (((codes & 15) << 3) + 0x84 << (codes >> 4 & 7)) - 0x84
    return np.where(codes & 0x80, -size, size).astype(np.int16)


_EXPANDED = {"a1": _expanded_a_law(), "m1": _expanded_mu_law()}


def read_blocks(source: Path | IO[bytes], *, raw_rate_hz: int | None = None) -> tuple[int, Iterator[Floats]]:
    """Return the rate in Hz, and blocks of mono samples, each of shape (samples,).

    Args:
        source: a file, or a stream of WAV (integers or floats, not compressed) or of raw samples.
        raw_rate_hz: rate of a stream of 16-bit little-endian mono samples without a header; None for WAV.

    Raises:
        DatasetError: it cannot be decoded.
    """
    if isinstance(source, Path):
        return _file_blocks(source)
    if raw_rate_hz:
        start = source.read(SIGNATURE_BYTES)
        check_raw(start)
        layout = SampleFormat(rate_hz=raw_rate_hz, channels=1, kind="i2", scale=1 / 32768)
        return raw_rate_hz, _stream_blocks(source, layout, start=start)
    layout = read_wav_header(source)
    return layout.rate_hz, _stream_blocks(source, layout)


def _file_blocks(path: Path) -> tuple[int, Iterator[Floats]]:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_audio(path))
        if lacks_size(file):
            return read_to_end(path)
        return int(file.samplerate), _blocks_of(file, stack.pop_all(), name=printable(path.name))


def _blocks_of(file: soundfile.SoundFile, stack: contextlib.ExitStack, *, name: str) -> Iterator[Floats]:
    with stack:
        size = int(FILE_BLOCK_S * file.samplerate)  # not file.blocks(), which refuses formats without random access
        while len(block := file.read(size, dtype="float32")):
            yield _finite(to_mono(block), name)


def lacks_size(file: soundfile.SoundFile) -> bool:
    """Return whether a WAV file has no samples, or its header gives no size, as of a recording that was stopped."""
    return file.format in _WAV_FORMATS and not file.frames


def read_to_end(path: Path) -> tuple[int, Iterator[Floats]]:
    """Return the rate in Hz and blocks of mono samples, (samples,), of a WAV file, whatever size its header gives."""
    with path.open("rb") as stream:
        layout = read_wav_header(stream, name=printable(path.name))
        start = stream.tell()

    def blocks() -> Iterator[Floats]:
        with path.open("rb") as stream:
            stream.seek(start)
            yield from _stream_blocks(stream, layout, name=printable(path.name))

    return layout.rate_hz, blocks()


def _stream_blocks(
    stream: IO[bytes], layout: SampleFormat, *, start: bytes = b"", name: str = "standard input"
) -> Iterator[Floats]:
    """Yield the samples that have arrived, at most a block at a time; drop a sample that is cut off at the end.

    `start` has been read from the stream before.
    """
    size = max(1, int(BLOCK_S * layout.rate_hz)) * layout.frame_bytes
    read = getattr(stream, "read1", stream.read)
    left = layout.data_bytes
    rest = start
    while left is None or left > 0:
        chunk = read(size if left is None else min(size, left))
        if not chunk:
            return
        left = None if left is None else left - len(chunk)
        data = rest + chunk
        whole = len(data) // layout.frame_bytes * layout.frame_bytes
        rest = data[whole:]
        if whole:
            samples = _decoded(data[:whole], layout)
            mono = to_mono(samples.reshape(-1, layout.channels)) if layout.channels > 1 else samples
            yield _finite(mono, name)
    check_rest(stream, layout, name=name)


def _decoded(data: bytes, layout: SampleFormat) -> Floats:
    """Return the values of the samples, in -1 ... 1, shape (samples of all channels,)."""
    if layout.kind == "i3":
        values = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        places = slice(1, 4) if layout.order == "<" else slice(0, 3)
        values[:, places] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        samples = values.view(f"{layout.order}i4")[:, 0] >> 8
    elif layout.kind in _EXPANDED:
        samples = _EXPANDED[layout.kind][np.frombuffer(data, dtype=np.uint8)]
    else:
        samples = np.frombuffer(data, dtype=f"{layout.order}{layout.kind}")
    if layout.kind == "u1":
        samples = samples.astype(np.int16) - 128
    return cast("Floats", samples.astype(np.float32) * np.float32(layout.scale))


def _finite(samples: Floats, name: str) -> Floats:
    if not np.isfinite(samples).all():
        raise DatasetError(f"{name} holds samples that are not finite numbers")
    return samples
