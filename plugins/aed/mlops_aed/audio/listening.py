"""Listening to long recordings and streams, with memory that does not grow.

Patches are cut from the recording as it is, at a quarter of their length; `mlops_aed.audio.events` derives events from
their scores. Silence is not removed as it is before training, which would shift the times; instead, patches that are
quiet throughout have no event.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np
import soxr

from mlops_aed.audio.events import OVERLAP, EventTracker
from mlops_aed.audio.features import log_mel
from mlops_aed.audio.pictures import Sonogram
from mlops_aed.audio.streams import read_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_aed.audio.events import Event, EventOptions
    from mlops_aed.config import FeatureExtraction, Preprocessing

    Floats = NDArray[np.float32]
    Scorer = Callable[[Floats], Floats]

_BATCH = 64
"""Largest number of patches that are scored together."""
_QUIET_DB = -60.0
"""Mean power relative to full scale below which a patch has no event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """A model and its features: `scorer` returns scores (patches, classes) of patches (patches, n_mels, frames)."""

    classes: tuple[str, ...]
    scorer: Scorer
    preprocessing: Preprocessing
    features: FeatureExtraction

    @property
    def window(self) -> int:
        """Number of samples in one patch."""
        extra = 0 if self.features.center else self.features.n_fft - self.features.hop_length
        return self.features.patch_length * self.features.hop_length + extra

    @property
    def step(self) -> int:
        """Number of samples from one patch to the next."""
        return max(1, self.features.patch_length * self.features.hop_length // OVERLAP)

    def patches(self, samples: Floats) -> Floats:
        """Return the patches of windows that are a step apart, shape (patches, n_mels, patch_length).

        One spectrogram is cut into patches, unless a window's own maximum or edges are part of its features.
        """
        settings, rate = self.features, self.preprocessing.target_rate
        length = settings.patch_length
        if settings.to_db or settings.center or self.step % settings.hop_length:
            starts = range(0, len(samples) - self.window + 1, self.step)
            windows = (samples[start : start + self.window] for start in starts)
            return np.stack([log_mel(window, settings, rate=rate)[:, :length] for window in windows])
        whole = log_mel(samples, settings, rate=rate)
        views = np.lib.stride_tricks.sliding_window_view(whole, length, axis=1)
        return np.ascontiguousarray(views[:, :: self.step // settings.hop_length].swapaxes(0, 1))


class AudioListening:
    """A recording while a model listens to it; iterate once over its events, in the order of their ends."""

    def __init__(self, source: Path | IO[bytes], hearing: Hearing, options: EventOptions) -> None:
        """Open the source.

        Raises:
            DatasetError: it cannot be decoded.
        """
        self._hearing = hearing
        self._options = options
        self._rate, self._blocks = read_blocks(source, raw_rate_hz=options.raw_rate_hz)
        self._heard = 0
        self._computed = 0.0
        self._batches = 0
        self._events: list[Event] = []
        self._sonogram = Sonogram(hearing.features, rate=hearing.preprocessing.target_rate)

    @property
    def duration_s(self) -> float:
        """Seconds of the recording that have been processed."""
        return self._heard / self._hearing.preprocessing.target_rate

    @property
    def computed_s(self) -> float:
        """Seconds of computing so far."""
        return self._computed

    @property
    def latency_s(self) -> float:
        """Seconds from the beginning of a sound to its first scores: a patch plus the mean time of computing."""
        computing = self._computed / self._batches if self._batches else 0.0
        return self._hearing.window / self._hearing.preprocessing.target_rate + computing

    def __iter__(self) -> Iterator[Event]:
        """Yield the events as they end."""
        tracker = EventTracker(
            self._hearing.classes,
            self._options,
            step_s=self._hearing.step / self._hearing.preprocessing.target_rate,
        )
        for scores in self._scores():
            yield from self._kept(tracker.add(scores))
        yield from self._kept(tracker.finish(self.duration_s))

    def draw(self, path: Path) -> None:
        """Write the log-mel spectrogram with the events below it, in the format of the path's suffix."""
        self._sonogram.draw(path, self._events, duration_s=self.duration_s)

    def _kept(self, events: Sequence[Event]) -> Sequence[Event]:
        self._events.extend(events)
        return events

    def _scores(self) -> Iterator[Floats]:
        """Yield the scores of the next patches, shape (patches, classes)."""
        waiting = np.zeros(0, dtype=np.float32)
        for block in self._resampled():
            waiting = np.concatenate((waiting, block))
            self._heard += len(block)
            while len(waiting) >= self._hearing.window:
                count = min(_BATCH, 1 + (len(waiting) - self._hearing.window) // self._hearing.step)
                yield self._scored(waiting, count)
                waiting = waiting[count * self._hearing.step :]
        seen = self._hearing.window - self._hearing.step if self._batches else 0
        if len(waiting) > seen:  # repeat the rest to the length of a patch, as for a short clip
            yield self._scored(np.resize(waiting, self._hearing.window), 1)

    def _resampled(self) -> Iterator[Floats]:
        target = self._hearing.preprocessing.target_rate
        if self._rate == target:
            yield from self._blocks
            return
        stream = soxr.ResampleStream(self._rate, target, 1, dtype="float32", quality="HQ")
        for block in self._blocks:
            yield stream.resample_chunk(block)
        yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)

    def _scored(self, samples: Floats, count: int) -> Floats:
        start = time.perf_counter()
        hearing = self._hearing
        windows = [samples[n * hearing.step : n * hearing.step + hearing.window] for n in range(count)]
        patches = hearing.patches(samples[: (count - 1) * hearing.step + hearing.window])
        scores = np.array(hearing.scorer(patches), dtype=np.float32)
        is_quiet = [10 * math.log10(float(np.mean(np.square(w))) + 1e-12) < _QUIET_DB for w in windows]
        scores[is_quiet] = 0.0
        self._sonogram.add(patches)
        spent = time.perf_counter() - start
        self._computed += spent
        self._batches += 1
        return scores
