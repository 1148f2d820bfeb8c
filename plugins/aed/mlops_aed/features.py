"""From an audio file to log-mel patches, with the meaning of librosa's functions and without librosa.

A file is decoded by soundfile up to `Preprocessing.max_length`, mixed to mono, resampled by soxr (HQ), freed of
silence, repeated up to `Preprocessing.min_length`; its mel spectrogram is cut into overlapping patches. Every clip
gives at least one patch. The tests compare each part with librosa 0.11.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np
import soundfile
import soxr

from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_aed.config import FeatureExtraction, Preprocessing

    Floats = NDArray[np.float32]

LOG_OFFSET = 1e-4
"""Added before the logarithm when ``to_db`` is false."""


def load_waveform(path: Path, settings: Preprocessing) -> Floats:
    """Return a mono waveform at ``target_rate``, at most ``max_length`` seconds, shape (samples,).

    Only the first ``max_length`` seconds are read, however long the file is.

    Raises:
        DatasetError: the file cannot be decoded or holds no sample; the reason is in the message.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            frames = file.read(int(settings.max_length * rate), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        reason = getattr(error, "error_string", None) or str(error)
        raise DatasetError(f"{path.name} cannot be decoded: {reason}") from error
    if len(frames) == 0:
        raise DatasetError(f"{path.name} holds no sample")
    mono = np.asarray(frames.mean(axis=1), dtype=np.float32)
    if not np.isfinite(mono).all():
        raise DatasetError(f"{path.name} holds samples that are not finite numbers")
    if rate == settings.target_rate:
        return mono
    wanted = math.ceil(len(mono) * settings.target_rate / rate)
    resampled = soxr.resample(mono, rate, settings.target_rate, quality="HQ")[:wanted]
    return np.pad(resampled, (0, wanted - len(resampled))).astype(np.float32, copy=False)


def prepare_waveform(waveform: Floats, settings: Preprocessing) -> Floats:
    """Drop silence, cut to whole seconds if asked, repeat up to ``min_length``; shape (samples,)."""
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

    Equal to joining the intervals of ``librosa.effects.split``. A wholly silent waveform is kept: nothing in it is
    quieter than its loudest frame.
    """
    padded = np.pad(waveform, frame_length // 2)
    count = 1 + (len(padded) - frame_length) // hop_length if len(padded) >= frame_length else 0
    if count == 0:
        return waveform
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame_length)[::hop_length]
    power = np.mean(np.square(frames), axis=1)
    decibel = 10 * np.log10(np.maximum(1e-10, power)) - 10 * np.log10(max(1e-10, float(power.max())))
    loud = np.repeat(decibel > -top_db, hop_length)[: len(waveform)]
    return cast("Floats", waveform[: len(loud)][loud])


def log_mel(waveform: Floats, settings: FeatureExtraction, *, rate: int) -> Floats:
    """Return the log-mel spectrogram, shape (n_mels, frames), as librosa computes it.

    With ``to_db`` it is decibel below the maximum (80 dB deep), else ``ln(mel + 1e-4)``.
    """
    if settings.center:
        mode = {"constant": "constant", "reflect": "reflect", "edge": "edge"}[settings.pad_mode]
        waveform = np.pad(waveform, settings.n_fft // 2, mode=mode)  # type: ignore[call-overload]
    if len(waveform) < settings.n_fft:
        waveform = np.pad(waveform, (0, settings.n_fft - len(waveform)))
    frames = np.lib.stride_tricks.sliding_window_view(waveform, settings.n_fft)[:: settings.hop_length]
    spectrum = np.abs(np.fft.rfft(frames * _window(settings.window_length, settings.n_fft))).astype(np.float32)
    if settings.power == 2.0:
        spectrum = np.square(spectrum)
    bank = mel_filters(settings, rate=rate)
    mel = bank @ spectrum.T
    if not settings.to_db:
        return cast("Floats", np.log(mel + np.float32(LOG_OFFSET)))
    power = mel if settings.power == 2.0 else np.square(mel)
    decibel = 10 * np.log10(np.maximum(1e-10, power)) - 10 * np.log10(max(1e-10, float(power.max())))
    return cast("Floats", np.maximum(decibel, decibel.max() - 80.0).astype(np.float32))


def patches(spectrogram: Floats, settings: FeatureExtraction) -> Floats:
    """Cut a spectrogram into overlapping patches, shape (patches, n_mels, patch_length); at least one.

    Patch i starts at frame ``i * (patch_length - floor(patch_length * overlap))``. A spectrogram shorter than one
    patch is padded with its smallest value, so no clip is ever dropped.
    """
    length = settings.patch_length
    step = length - math.floor(length * settings.overlap)
    frames = spectrogram.shape[1]
    if frames < length:
        spectrogram = np.pad(spectrogram, ((0, 0), (0, length - frames)), constant_values=float(spectrogram.min()))
        frames = length
    starts = list(range(0, frames - length + 1, step))
    if settings.include_last_patch and starts[-1] + length < frames:
        starts.append(frames - length)
    return np.stack([spectrogram[:, start : start + length] for start in starts])


def clip_patches(path: Path, preprocessing: Preprocessing, features: FeatureExtraction) -> Floats:
    """Return the patches of one file, shape (patches, n_mels, patch_length).

    Raises:
        DatasetError: the file cannot be used.
    """
    waveform = prepare_waveform(load_waveform(path, preprocessing), preprocessing)
    return patches(log_mel(waveform, features, rate=preprocessing.target_rate), features)


@lru_cache(maxsize=8)
def _window(length: int, n_fft: int) -> NDArray[np.float64]:
    """Return a periodic Hann window of `length`, centred in `n_fft` samples.

    In double precision, as librosa's: a transform in single precision differs by 1.5e-4 on average in quiet bands.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    left = (n_fft - length) // 2
    return np.pad(window, (left, n_fft - length - left))


@lru_cache(maxsize=8)
def mel_filters(settings: FeatureExtraction, *, rate: int) -> Floats:
    """Return triangular mel filters, shape (n_mels, 1 + n_fft // 2), equal to ``librosa.filters.mel``.

    The HTK scale is 2595 log10(1 + f / 700); Slaney's is linear to 1 kHz, logarithmic above (Auditory Toolbox,
    1998). With ``norm="slaney"`` each triangle has an area of 1.
    """
    to_mel, to_hz = (_hz_to_mel_htk, _mel_to_hz_htk) if settings.htk else (_hz_to_mel_slaney, _mel_to_hz_slaney)
    ends = to_mel(np.array([settings.fmin, settings.fmax], dtype=np.float64))
    corners = to_hz(np.linspace(ends[0], ends[1], settings.n_mels + 2))
    widths = np.diff(corners)
    ramps = corners[:, None] - np.fft.rfftfreq(settings.n_fft, 1 / rate)[None, :]
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    weights = np.maximum(0, np.minimum(rising, falling))
    if settings.norm == "slaney":
        weights *= (2.0 / (corners[2:] - corners[:-2]))[:, None]
    return weights.astype(np.float32)


def _hz_to_mel_htk(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def _mel_to_hz_htk(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


_LINEAR_HZ = 200.0 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = math.log(6.4) / 27.0


def _hz_to_mel_slaney(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz >= _BREAK_HZ, above, hz / _LINEAR_HZ)


def _mel_to_hz_slaney(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel >= _BREAK_MEL, above, mel * _LINEAR_HZ)
