"""From an audio file to a waveform: decoding, mono, resampling, silence, length.

The functions are equal to ``librosa.load`` and ``librosa.effects.split``, without librosa; the tests compare
with it. Spectrograms are the subject of `mlops_aed.audio.features`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import soxr

from mlops_aed.audio.channels import to_mono
from mlops_aed.audio.opening import open_audio
from mlops_aed.audio.streams import lacks_size, read_to_end
from mlops_aed.file_names import printable
from mlops_core import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_aed.config import Preprocessing

    Floats = NDArray[np.float32]

_INT16_SCALE = np.float32(1 / 32768)


def load_waveform(path: Path, settings: Preprocessing) -> Floats:
    """Return a mono waveform at ``target_rate``, at most ``max_length`` seconds, shape (samples,).

    Only the first ``max_length`` seconds are read, however long the file is.

    Raises:
        DatasetError: the file cannot be decoded or holds no samples; the message gives the reason.
    """
    samples, rate = decode(path, seconds=settings.max_length)
    return resample(to_mono(samples), rate, settings.target_rate)


def decode(path: Path, *, seconds: float) -> tuple[Floats, int]:
    """Return the first `seconds` of a file, shape (samples,) or (samples, channels), in -1 ... 1, and its rate in Hz.

    Files of 16 bits are read as integers and scaled here, which gives the same numbers five times as fast.

    Raises:
        DatasetError: the file cannot be decoded, holds no samples, or holds a sample that is not finite.
    """
    name = printable(path.name)
    with open_audio(path) as file:
        if lacks_size(file):
            return _of_unknown_size(path, seconds=seconds)
        is_int16 = file.subtype == "PCM_16"
        rate = file.samplerate
        count = int(seconds * rate)
        if not file.seekable():  # the decoder would allocate all that is asked for
            count = min(count, file.frames)
        samples = file.read(count, dtype="int16" if is_int16 else "float32")
    if len(samples) == 0:
        raise DatasetError(f"{name} holds no samples")
    if is_int16:
        return np.multiply(samples, _INT16_SCALE, dtype=np.float32), rate
    if not np.isfinite(samples).all():
        raise DatasetError(f"{name} holds samples that are not finite numbers")
    return samples, rate


def _of_unknown_size(path: Path, *, seconds: float) -> tuple[Floats, int]:
    rate, blocks = read_to_end(path)
    count = int(seconds * rate)
    parts: list[Floats] = []
    while sum(map(len, parts)) < count and (block := next(blocks, None)) is not None:
        parts.append(block)
    if not parts:
        raise DatasetError(f"{printable(path.name)} holds no samples")
    return np.concatenate(parts)[:count], rate


def resample(waveform: Floats, rate: int, target_rate: int) -> Floats:
    """Return the waveform at `target_rate`, resampled by soxr's HQ recipe as in ``librosa.load``, shape (samples,)."""
    if rate == target_rate:
        return waveform
    length = math.ceil(len(waveform) * target_rate / rate)
    resampled: Floats = soxr.resample(waveform, rate, target_rate, quality="HQ")[:length]
    if len(resampled) < length:
        resampled = np.pad(resampled, (0, length - len(resampled)))
    return resampled


def prepare_waveform(waveform: Floats, settings: Preprocessing) -> Floats:
    """Return the waveform without silence, cut to whole seconds if set, repeated up to ``min_length``; (samples,)."""
    kept = remove_silence(
        waveform, top_db=settings.top_db, frame_length=settings.frame_length, hop_length=settings.hop_length
    )
    rate = settings.target_rate
    if settings.trim_last_second and len(kept) >= rate:
        kept = kept[: len(kept) // rate * rate]
    shortest = math.ceil(settings.min_length * rate)
    if len(kept) < shortest:
        kept = np.tile(kept, math.ceil(shortest / len(kept)))[:shortest]
    return kept


def remove_silence(waveform: Floats, *, top_db: float, frame_length: int, hop_length: int) -> Floats:
    """Return the frames that are louder than `top_db` below the loudest, joined.

    Equal to joining the intervals of ``librosa.effects.split``. A silent waveform is kept whole: nothing in it is
    quieter than its loudest frame.
    """
    padded = np.zeros(len(waveform) + frame_length // 2 * 2, dtype=np.float32)
    padded[frame_length // 2 : frame_length // 2 + len(waveform)] = waveform
    if len(padded) < frame_length:
        return waveform
    power = _frame_power(padded, frame_length=frame_length, hop_length=hop_length)
    decibel = 10 * np.log10(np.maximum(1e-10, power)) - 10 * np.log10(max(1e-10, float(power.max())))
    is_loud = decibel > -top_db
    if is_loud.all():
        return waveform[: len(is_loud) * hop_length]
    edges = np.flatnonzero(np.diff(is_loud, prepend=False, append=False)) * hop_length
    return np.concatenate(
        [waveform[start:end] for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]
    )


def _frame_power(padded: Floats, *, frame_length: int, hop_length: int) -> Floats:
    """Return the mean square of each frame, shape (frames,); frames of whole hops reuse the squares."""
    count = 1 + (len(padded) - frame_length) // hop_length
    if frame_length % hop_length == 0:
        hops = padded[: len(padded) // hop_length * hop_length].reshape(-1, hop_length)
        squares = np.einsum("ij,ij->i", hops, hops)
        sums = sum((squares[k : k + count] for k in range(frame_length // hop_length)), np.zeros(count, np.float32))
    else:
        frames = np.lib.stride_tricks.sliding_window_view(padded, frame_length)[::hop_length]
        sums = np.einsum("ij,ij->i", frames, frames)
    return cast("Floats", sums / np.float32(frame_length))
