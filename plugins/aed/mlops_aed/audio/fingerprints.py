"""Fingerprints that find the same sound in clips with different bytes: another rate, level, format or position.

A fingerprint is one 32-bit number per frame: whether the energy difference of neighbouring bands grows from one frame
to the next (Haitsma and Kalker, A highly robust audio fingerprinting system, 2002). Two clips that share numbers at
one offset are compared frame by frame; for unrelated sounds, half of the bits differ.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlops_aed.audio.features import mel_spectrogram
from mlops_aed.config import FeatureExtraction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Words = NDArray[np.uint32]

_SETTINGS = FeatureExtraction(
    n_fft=4096, window_length=4096, hop_length=256, n_mels=33, fmin=200, fmax=3500, power=2.0, norm="slaney"
)
_QUIET = 1e-6
"""Share of the loudest frame's power below which a frame is left out, because its bits carry no information."""
_COMMON = 32
"""Numbers that occur in more places than this are too common to identify a clip."""
_SHARED = 4
_OVERLAP = 40
"""Number of frames (16 ms each) that two clips must have in common."""
MAX_ERROR = 0.25
"""Largest share of differing bits at which two clips count as the same sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Two clips with the same sound, by their positions; `error` is the share of bits that differ, 0 to 0.5."""

    first: int
    second: int
    error: float
    overlap_s: float


def fingerprint(waveform: Floats, *, rate: int) -> Words:
    """Return one number per frame of 16 ms, 0 if it is quiet; shape (frames,), empty for less than 0.3 s."""
    power = mel_spectrogram(waveform, _SETTINGS, rate=rate).T.astype(np.float64)
    if len(power) < 2:
        return np.zeros(0, dtype=np.uint32)
    bands = np.diff(power, axis=1)
    bits = np.diff(bands, axis=0) > 0
    packed = np.ascontiguousarray(np.packbits(bits, axis=1))  # bits may be laid out along the frames
    words = packed.view(">u4")[:, 0].astype(np.uint32)
    loud = power.sum(axis=1)
    words[loud[1:] <= _QUIET * loud.max()] = 0
    return words


def find_matches(words: Sequence[Words], *, rate: int) -> list[Match]:
    """Return the pairs of clips that hold the same sound, each once, in ascending order.

    Args:
        words: one fingerprint per clip.
        rate: sample rate of the fingerprints in Hz.
    """
    matches = []
    for (first, second, offset), count in sorted(_candidates(words).items()):
        if count < _SHARED:
            continue
        a, b = _aligned(words[first], words[second], offset)
        used = (a != 0) & (b != 0)
        if used.sum() < _OVERLAP:
            continue
        error = float(np.bitwise_count(a[used] ^ b[used]).mean() / 32)
        if error <= MAX_ERROR:
            seconds = float(used.sum()) * _SETTINGS.hop_length / rate
            matches.append(Match(first=first, second=second, error=error, overlap_s=seconds))
    return list(_best(matches))


def _candidates(words: Sequence[Words]) -> Counter[tuple[int, int, int]]:
    """Count shared numbers per (clip, clip, offset in frames)."""
    counts: Counter[tuple[int, int, int]] = Counter()
    if not any(map(len, words)):
        return counts
    values = np.concatenate(words)
    clips = np.repeat(np.arange(len(words)), [len(word) for word in words])
    places = np.concatenate([np.arange(len(word)) for word in words])
    order = np.argsort(values, kind="stable")
    values, clips, places = values[order], clips[order], places[order]
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] ^ 1))
    ends = np.append(starts[1:], len(values))
    is_shared = clips[starts] != clips[ends - 1]  # within one number, clips ascend
    for start, end in zip(starts[is_shared].tolist(), ends[is_shared].tolist(), strict=True):
        if values[start] == 0 or end - start > _COMMON:
            continue
        group = list(zip(clips[start:end].tolist(), places[start:end].tolist(), strict=True))
        for number, (first, at) in enumerate(group):
            for second, place in group[number + 1 :]:
                if first != second:
                    counts[first, second, place - at] += 1
    return counts


def _aligned(a: Words, b: Words, offset: int) -> tuple[Words, Words]:
    """Return the overlapping parts of both when frame 0 of `a` is at frame `offset` of `b`."""
    if offset < 0:
        b, a = _aligned(b, a, -offset)
        return a, b
    length = min(len(a), len(b) - offset)
    return a[:length], b[offset : offset + length]


def _best(matches: Sequence[Match]) -> Iterator[Match]:
    best: dict[tuple[int, int], Match] = {}
    for match in matches:
        pair = (match.first, match.second)
        if pair not in best or match.error < best[pair].error:
            best[pair] = match
    yield from (best[pair] for pair in sorted(best))
