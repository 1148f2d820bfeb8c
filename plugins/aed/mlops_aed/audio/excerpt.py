"""A short, playable excerpt of a clip for the report of a run; it runs in the driver, so it needs only Python."""

from __future__ import annotations

import io
import struct
import sys
import wave
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core import PREVIEW_LIMIT, Preview

if TYPE_CHECKING:
    from pathlib import Path

_COMPRESSED = {".flac": "audio/flac", ".mp3": "audio/mpeg", ".oga": "audio/ogg", ".ogg": "audio/ogg"}
_EXCERPT_BYTES = 192 * 1024
_HEADER_BYTES = 44
_LOUDNESS_STRIDE = 16
"""Every sixteenth value is enough to find the loud part of a clip."""
_PLACES = 40
"""Number of candidate starts of an excerpt, spread evenly over the clip."""
_BYTES = 2
_READ_BYTES = 32 << 20
"""Largest number of bytes read from a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sound:
    """One channel of 16-bit values, in the byte order of the machine."""

    rate_hz: int
    values: array[int]
    duration_s: float


def preview_clip(dataset: Path, sample: str) -> Preview | None:
    """Return the loudest part of a clip, as long as fits into a report.

    Args:
        dataset: the folder with ``audio/``.
        sample: file name below ``audio/``.

    Returns:
        The first channel of a PCM file of 16 bits, at the file's own rate; a small compressed file unchanged; None
        for anything else.
    """
    audio = (dataset / "audio").resolve()
    path = (audio / sample).resolve()
    if not path.is_relative_to(audio) or not path.is_file():
        return None
    media_type = _COMPRESSED.get(path.suffix.lower())
    if media_type:
        is_small = path.stat().st_size <= PREVIEW_LIMIT
        return Preview(media_type=media_type, data=path.read_bytes(), caption="whole clip") if is_small else None
    sound = _read(path)
    return _excerpt(sound) if sound and len(sound.values) else None


def _read(path: Path) -> _Sound | None:
    try:
        with wave.open(str(path), "rb") as stream:
            width, channels, rate = stream.getsampwidth(), stream.getnchannels(), stream.getframerate()
            frames = stream.getnframes()
            data = stream.readframes(min(frames, _READ_BYTES // max(1, width * channels)))
    except (wave.Error, EOFError, OSError, ValueError, ArithmeticError, struct.error):
        return None
    values = _as_16_bits(data, width)
    if values is None or rate <= 0:
        return None
    return _Sound(rate_hz=rate, values=values[::channels], duration_s=frames / rate)


def _as_16_bits(data: bytes, width: int) -> array[int] | None:
    """Keep the two most significant bytes of each value; return None for 8 bits, which are unsigned and rare."""
    if width < _BYTES:
        return None
    frames = len(data) // width
    kept = bytearray(frames * _BYTES)
    kept[0::2] = data[width - 2 : frames * width : width]
    kept[1::2] = data[width - 1 : frames * width : width]
    values = array("h", bytes(kept))
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _excerpt(sound: _Sound) -> Preview:
    room = (_EXCERPT_BYTES - _HEADER_BYTES) // _BYTES
    start = _loudest(sound.values, room)
    part = sound.values[start : start + room]
    length_s = len(part) / sound.rate_hz
    if length_s >= sound.duration_s:
        caption = f"whole clip, {length_s:.1f} s"
    else:
        caption = f"{length_s:.1f} s of {sound.duration_s:.1f} s, from {start / sound.rate_hz:.1f} s"
    return Preview(media_type="audio/wav", data=_wav(part, sound.rate_hz), caption=caption)


def _loudest(values: array[int], room: int) -> int:
    """Return the start of the loudest `room` values."""
    last = len(values) - room
    if last <= 0:
        return 0
    loudness = [abs(value) for value in values[::_LOUDNESS_STRIDE]]
    span = room // _LOUDNESS_STRIDE
    starts = sorted({last * place // _PLACES for place in range(_PLACES + 1)})
    return max(starts, key=lambda start: sum(loudness[start // _LOUDNESS_STRIDE :][:span]))


def _wav(values: array[int], rate_hz: int) -> bytes:
    if sys.byteorder == "big":
        values = array("h", values)
        values.byteswap()
    content = io.BytesIO()
    with wave.open(content, "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(_BYTES)
        stream.setframerate(rate_hz)
        stream.writeframes(values.tobytes())
    return content.getvalue()
