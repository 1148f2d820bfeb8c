"""Clips changed on purpose, as microphones and rooms change them: gain, noise, and a lower sample rate."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from mlops_aed.audio.channels import to_mono
from mlops_aed.audio.waveform import decode, resample
from mlops_core import Perturbation

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_aed.audio.waveform import Floats


def perturbations(*, seconds: float) -> tuple[Perturbation, ...]:
    """Return the changes of a clip of which the first `seconds` are used."""

    def gain(source: Path, target: Path, decibels: float) -> None:
        samples, rate = _read(source, seconds)
        _write(target, samples * np.float32(10 ** (decibels / 20)), rate)

    def noise(source: Path, target: Path, decibels: float) -> None:
        samples, rate = _read(source, seconds)
        level = np.sqrt(np.mean(np.square(samples, dtype=np.float64))) * 10 ** (-decibels / 20)
        random = np.random.default_rng(zlib.crc32(samples.tobytes()))  # other noise in each clip, the same each time
        _write(target, samples + (level * random.normal(size=len(samples))).astype(np.float32), rate)

    def lower_rate(source: Path, target: Path, rate_hz: float) -> None:
        samples, rate = _read(source, seconds)
        low = min(int(rate_hz), rate)
        _write(target, resample(resample(samples, rate, low), low, rate)[: len(samples)], rate)

    return (
        Perturbation(name="gain", strengths=(-12, -6, 6), unit="dB", write=gain, suffix=".wav"),
        Perturbation(name="white noise, SNR", strengths=(30, 20, 10), unit="dB", write=noise, suffix=".wav"),
        Perturbation(name="resampled to", strengths=(11025, 8000, 4000), unit="Hz", write=lower_rate, suffix=".wav"),
    )


def _read(path: Path, seconds: float) -> tuple[Floats, int]:
    samples, rate = decode(path, seconds=seconds)
    return to_mono(samples), rate


def _write(path: Path, samples: Floats, rate: int) -> None:
    """Write 32-bit floats, so that a quiet clip keeps its resolution; what is beyond full scale is clipped."""
    soundfile.write(path, np.clip(samples, -1, 1), rate, subtype="FLOAT")
