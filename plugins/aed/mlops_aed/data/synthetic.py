"""AED_Dataset: generated clips in the layout of ESC-50, to try the pipeline without a download.

Ten kinds of sound, ten "source recordings" each, four clips from each recording, five folds by recording. The
properties of a recording (pitch, tempo, brightness, room, background, loudness) vary more than what distinguishes two
kinds, so a model must learn the kind and not the recording. The same seed gives the same bytes.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Signal = NDArray[np.float64]
    Sound = Callable[["Recording", np.random.Generator], Signal]

RATE_HZ = 16_000
CLIP_S = 2.0
FOLDS = 5
SOURCES_PER_CLASS = 10
CLIPS_PER_SOURCE = 4
_SAMPLES = int(RATE_HZ * CLIP_S)
_TIME = np.arange(_SAMPLES) / RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Properties shared by the clips of one source recording.

    Attributes:
        pitch_hz: pitch of the tonal sounds.
        tempo_hz: events per second.
        decay_s: decay time of an event.
        brightness: slope of the overtones; larger is duller.
        snr_db: signal-to-background ratio.
        room: weight of the echo.
        background: slope of the background's spectrum.
    """

    pitch_hz: float
    tempo_hz: float
    decay_s: float
    brightness: float
    snr_db: float
    room: float
    background: float


def generate(folder: Path, *, seed: int, progress: Callable[[str, int, int], None]) -> None:
    """Write ``audio/*.wav`` (16 kHz, 16 bit, mono, 2 s) and ``meta/esc50.csv`` into `folder`."""
    (folder / "audio").mkdir()
    (folder / "meta").mkdir()
    rows = []
    total = len(SOUNDS) * SOURCES_PER_CLASS * CLIPS_PER_SOURCE
    for target, label in enumerate(sorted(SOUNDS)):
        for source in range(SOURCES_PER_CLASS):
            group = f"{target}{source:02d}"
            draw = np.random.default_rng([seed, target, source])
            recording = make_recording(draw)
            for take in range(CLIPS_PER_SOURCE):
                fold = source % FOLDS + 1
                name = f"{fold}-{group}-{'ABCD'[take]}-{target}.wav"
                clip = make_clip(SOUNDS[label], recording, draw)
                write_clip(folder / "audio" / name, clip)
                rows.append((name, fold, target, label, "True", group, "ABCD"[take]))
                progress("clip", len(rows), total)
    with (folder / "meta" / "esc50.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("filename", "fold", "target", "category", "esc10", "src_file", "take"))
        writer.writerows(sorted(rows))


def write_clip(path: Path, clip: Signal) -> None:
    """Write `clip` (samples,) as WAV, encoded in memory: soundfile syncs every file that it opens to the disk."""
    buffer = io.BytesIO()
    soundfile.write(buffer, clip, RATE_HZ, format="WAV", subtype="PCM_16")
    path.write_bytes(buffer.getvalue())


def make_recording(draw: np.random.Generator) -> Recording:
    """Return random properties of a source recording."""
    return Recording(
        pitch_hz=float(np.exp(draw.uniform(np.log(250), np.log(1400)))),
        tempo_hz=float(draw.uniform(2.5, 6.0)),
        decay_s=float(draw.uniform(0.03, 0.10)),
        brightness=float(draw.uniform(0.8, 2.2)),
        snr_db=float(draw.uniform(-3, 12)),
        room=float(draw.uniform(0.0, 0.5)),
        background=float(draw.uniform(0.0, 1.0)),
    )


def make_clip(
    sound: Callable[[Recording, np.random.Generator], Signal], recording: Recording, draw: np.random.Generator
) -> Signal:
    """Return one clip of 2 s, shape (samples,), in -1 ... 1."""
    signal = sound(recording, draw)
    signal = signal / max(float(np.sqrt(np.mean(signal**2))), 1e-9)
    delay = int(draw.uniform(0.02, 0.08) * RATE_HZ)
    signal[delay:] += recording.room * signal[:-delay]
    noise = _coloured_noise(recording.background, draw) * 10 ** (-recording.snr_db / 20)
    mixed = signal + noise
    level = draw.uniform(0.2, 0.9)
    return np.asarray(level * mixed / np.abs(mixed).max())


def _coloured_noise(slope: float, draw: np.random.Generator) -> Signal:
    spectrum = np.fft.rfft(draw.standard_normal(_SAMPLES))
    frequencies = np.maximum(np.fft.rfftfreq(_SAMPLES, 1 / RATE_HZ), 50.0)
    noise = np.fft.irfft(spectrum / frequencies**slope, _SAMPLES)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def _band_noise(low_hz: float, high_hz: float, draw: np.random.Generator) -> Signal:
    spectrum = np.fft.rfft(draw.standard_normal(_SAMPLES))
    frequencies = np.fft.rfftfreq(_SAMPLES, 1 / RATE_HZ)
    return np.fft.irfft(np.where((frequencies >= low_hz) & (frequencies <= high_hz), spectrum, 0), _SAMPLES)


def _overtones(frequency: Signal | float, brightness: float, draw: np.random.Generator, *, count: int = 6) -> Signal:
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(frequency, _SAMPLES)) / RATE_HZ
    parts = [np.sin(k * phase + draw.uniform(0, 6.28)) / k**brightness for k in range(1, count + 1)]
    return np.asarray(np.sum(parts, axis=0))


def _onsets(tempo_hz: float, draw: np.random.Generator, *, jitter: float) -> Signal:
    count = max(3, round(CLIP_S * tempo_hz))
    even = (np.arange(count) + draw.uniform(0, 0.8)) / tempo_hz
    return np.clip(even + jitter * draw.standard_normal(count) / tempo_hz, 0, CLIP_S - 0.01)


def _ringing(onsets: Signal, decay_s: float) -> Signal:
    since = _TIME[None, :] - onsets[:, None]
    return np.asarray(np.where(since >= 0, np.exp(-np.maximum(since, 0) / decay_s), 0).sum(axis=0))


def _alarm(recording: Recording, draw: np.random.Generator) -> Signal:
    """Return two alternating pitches."""
    turn = np.sign(np.sin(2 * np.pi * recording.tempo_hz / 2 * _TIME + draw.uniform(0, 6.28)))
    return _overtones(recording.pitch_hz * (1.15 + 0.15 * turn), recording.brightness, draw)


def _bell(recording: Recording, draw: np.random.Generator) -> Signal:
    """Return strokes with overtones that are not whole multiples."""
    onsets = _onsets(recording.tempo_hz / 2, draw, jitter=0.05)
    parts = [np.sin(2 * np.pi * recording.pitch_hz * ratio * _TIME) for ratio in (1, 2.76, 5.40)]
    return np.asarray(np.sum(parts, axis=0) * _ringing(onsets, 4 * recording.decay_s))


def _chirp(recording: Recording, draw: np.random.Generator) -> Signal:
    """Return short glides upwards, like a bird's."""
    onsets = _onsets(recording.tempo_hz, draw, jitter=0.15)
    since = _TIME[None, :] - onsets[:, None]
    is_on = (since >= 0) & (since < 0.12)
    phase = 2 * np.pi * (2 * recording.pitch_hz * since + 6 * recording.pitch_hz * since**2)
    return np.asarray(np.where(is_on, np.sin(phase) * np.sin(np.pi * since / 0.12), 0).sum(axis=0))


def _clicks(recording: Recording, draw: np.random.Generator) -> Signal:
    """Return even, dry, wide-band clicks."""
    onsets = _onsets(recording.tempo_hz, draw, jitter=0.01)
    return draw.standard_normal(_SAMPLES) * _ringing(onsets, 0.15 * recording.decay_s)


def _crackle(recording: Recording, draw: np.random.Generator) -> Signal:
    """Return irregular, dense clicks, like fire."""
    onsets = np.sort(draw.uniform(0, CLIP_S, int(8 * recording.tempo_hz)))
    weights = draw.exponential(1.0, len(onsets))
    rings = [
        weight * _ringing(np.array([onset]), 0.1 * recording.decay_s)
        for onset, weight in zip(onsets, weights, strict=True)
    ]
    return np.asarray(draw.standard_normal(_SAMPLES) * np.sum(rings, axis=0))


def _engine(recording: Recording, draw: np.random.Generator) -> Signal:
    """Return low, throbbing overtones."""
    throb = 1 + 0.6 * np.sin(2 * np.pi * 3 * recording.tempo_hz * _TIME)
    return _overtones(recording.pitch_hz / 6, 0.5 * recording.brightness, draw, count=20) * throb


def _knock(recording: Recording, draw: np.random.Generator) -> Signal:
    """Return groups of dull blows."""
    first = draw.uniform(0.05, 0.5)
    onsets = first + np.arange(4) / (2 * recording.tempo_hz)
    return _band_noise(80, 200 + recording.pitch_hz / 2, draw) * _ringing(onsets, recording.decay_s)


def _rain(recording: Recording, draw: np.random.Generator) -> Signal:
    """Return steady noise in a wide band."""
    return _band_noise(400 + recording.pitch_hz, 7500, draw)


def _siren(recording: Recording, draw: np.random.Generator) -> Signal:
    """Return a pitch that rises and falls slowly."""
    glide = 2 ** (0.7 * np.sin(2 * np.pi * recording.tempo_hz / 8 * _TIME + draw.uniform(0, 6.28)))
    return _overtones(recording.pitch_hz * glide, recording.brightness, draw)


def _waves(recording: Recording, draw: np.random.Generator) -> Signal:
    """Return swelling noise."""
    swell = (0.5 + 0.5 * np.sin(2 * np.pi * recording.tempo_hz / 5 * _TIME + draw.uniform(0, 6.28))) ** 2
    return _band_noise(100, 1500 + 2 * recording.pitch_hz, draw) * (0.1 + swell)


SOUNDS: dict[str, Sound] = {
    "alarm": _alarm,
    "bell": _bell,
    "chirp": _chirp,
    "clicks": _clicks,
    "crackle": _crackle,
    "engine": _engine,
    "knock": _knock,
    "rain": _rain,
    "siren": _siren,
    "waves": _waves,
}
