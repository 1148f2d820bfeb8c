"""Events in long recordings and streams: when a sound of a class begins and ends, with memory that does not grow.

Patches are cut from the recording as it is, at a quarter of their length; each instant gets the mean score of the
patches over it. An event is where the score of a class stays above the threshold. Silence is not removed as it is
before training (the times would be wrong): patches that are quiet throughout have no event instead.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np
import soxr

from mlops_aed.audio.features import log_mel
from mlops_aed.audio.pictures import Sonogram
from mlops_aed.audio.streams import read_blocks
from mlops_core.predictors import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_aed.config import FeatureExtraction, Preprocessing
    from mlops_core.predictors import EventOptions

    Floats = NDArray[np.float32]
    Scorer = Callable[[Floats], Floats]

_STEPS = 4
"""Patches that lie over one instant."""
_BATCH = 64
"""Patches that are scored at once where they are there."""
_QUIET_DB = -60.0
"""Mean power to full scale below which a patch has no event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """How a model hears: `scorer` gives scores (patches, classes) for patches (patches, n_mels, frames)."""

    classes: tuple[str, ...]
    scorer: Scorer
    preprocessing: Preprocessing
    features: FeatureExtraction

    @property
    def window(self) -> int:
        """Samples of one patch."""
        extra = 0 if self.features.center else self.features.n_fft - self.features.hop_length
        return self.features.patch_length * self.features.hop_length + extra

    @property
    def step(self) -> int:
        """Samples from one patch to the next."""
        return max(1, self.features.patch_length * self.features.hop_length // _STEPS)

    def patches(self, samples: Floats) -> Floats:
        """Return the patches of windows that are a step apart, (patches, n_mels, patch_length).

        One spectrogram is cut, unless a window's own maximum or edges are part of its features.
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
    """Listens to one recording; see `mlops_core.predictors.Listening`."""

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
        """Seconds that have been heard."""
        return self._heard / self._hearing.preprocessing.target_rate

    @property
    def computed_s(self) -> float:
        """Seconds of computing."""
        return self._computed

    @property
    def latency_s(self) -> float:
        """Seconds of sound that a patch needs, and the mean time of computing a batch."""
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
        """Write the log-mel spectrogram with the events below it."""
        self._sonogram.draw(path, self._events, duration_s=self.duration_s)

    def _kept(self, events: Sequence[Event]) -> Sequence[Event]:
        self._events.extend(events)
        return events

    def _scores(self) -> Iterator[Floats]:
        """Yield the scores of the next patches, (patches, classes)."""
        waiting = np.zeros(0, dtype=np.float32)
        for block in self._resampled():
            waiting = np.concatenate((waiting, block))
            self._heard += len(block)
            while len(waiting) >= self._hearing.window:
                count = min(_BATCH, 1 + (len(waiting) - self._hearing.window) // self._hearing.step)
                yield self._scored(waiting, count)
                waiting = waiting[count * self._hearing.step :]
        known = self._hearing.window - self._hearing.step if self._batches else 0
        if len(waiting) > known:  # what is left is repeated up to a patch, as a short clip is for training
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


class EventTracker:
    """Makes events of the scores of overlapping patches, `step_s` apart, each over `_STEPS` steps."""

    def __init__(self, classes: Sequence[str], options: EventOptions, *, step_s: float) -> None:
        """Begin at time 0."""
        self._classes = tuple(classes)
        self._options = options
        self._step_s = step_s
        self._recent: list[Floats] = []
        self._steps = 0
        self._open: dict[int, tuple[int, list[float]]] = {}

    def add(self, scores: Floats) -> list[Event]:
        """Take the scores of the next patches, (patches, classes); return the events that have ended."""
        found: list[Event] = []
        for row in scores:
            self._recent = [*self._recent[-(_STEPS - 1) :], row]
            found.extend(self._advance(np.mean(self._recent, axis=0)))
        return found

    def finish(self, duration_s: float) -> list[Event]:
        """Return the events that last until the end, at `duration_s`."""
        found: list[Event] = []
        while self._recent and self._steps * self._step_s < duration_s:
            found.extend(self._advance(np.mean(self._recent, axis=0)))
            self._recent = self._recent[1:] if len(self._recent) > 1 else self._recent
        ended = [self._event(index, *self._open.pop(index), end_s=duration_s) for index in sorted(self._open)]
        return self._long_enough([*found, *ended])

    def _advance(self, scores: Floats) -> list[Event]:
        """Go on by one step, over which each class has the mean score in `scores`."""
        found: list[Event] = []
        for index, score in enumerate(scores.tolist()):
            if score >= self._options.threshold:
                self._open.setdefault(index, (self._steps, []))[1].append(score)
            elif index in self._open:
                end_s = self._steps * self._step_s
                found.append(self._event(index, *self._open.pop(index), end_s=end_s))
        self._steps += 1
        return self._long_enough(found)

    def _event(self, index: int, start: int, scores: list[float], *, end_s: float) -> Event:
        return Event(
            onset_s=round(start * self._step_s, 3),
            offset_s=round(end_s, 3),
            label=self._classes[index],
            confidence=round(sum(scores) / len(scores), 4),
        )

    def _long_enough(self, events: Sequence[Event]) -> list[Event]:
        return [event for event in events if event.offset_s - event.onset_s >= self._options.shortest_s]
