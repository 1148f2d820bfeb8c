"""Events: which sounds a recording holds, and when, from the scores of overlapping patches.

Each instant gets the mean score of the patches over it. An event is where the score of a class stays above the
threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

OVERLAP = 4
"""Number of patches over one instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A sound in a recording, from `onset_s` to `offset_s` seconds after its beginning.

    Attributes:
        onset_s: when it begins.
        offset_s: when it ends.
        label: its class.
        confidence: mean score of the class between the two, 0 to 1.
    """

    onset_s: float
    offset_s: float
    label: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOptions:
    """How events are derived from scores.

    Attributes:
        threshold: lowest score of a class during an event, 0 to 1.
        shortest_s: shorter events are left out.
        raw_rate_hz: rate of a stream of 16-bit little-endian mono samples without a header; None for WAV.
    """

    threshold: float = 0.5
    shortest_s: float = 0.0
    raw_rate_hz: int | None = None


class EventTracker:
    """Derives events from the scores of overlapping patches, `step_s` apart, each over `OVERLAP` steps."""

    def __init__(self, classes: Sequence[str], options: EventOptions, *, step_s: float) -> None:
        """Start at time 0."""
        self._classes = tuple(classes)
        self._options = options
        self._step_s = step_s
        self._recent: list[Floats] = []
        self._steps = 0
        self._open: dict[int, tuple[int, list[float]]] = {}

    def add(self, scores: Floats) -> list[Event]:
        """Add the scores of the next patches, shape (patches, classes); return the events that have ended."""
        ended: list[Event] = []
        for row in scores:
            self._recent = [*self._recent[-(OVERLAP - 1) :], row]
            ended.extend(self._advance(np.mean(self._recent, axis=0)))
        return ended

    def finish(self, duration_s: float) -> list[Event]:
        """Return the events that last until the end of the recording, at `duration_s`."""
        ended: list[Event] = []
        while self._recent and self._steps * self._step_s < duration_s:
            ended.extend(self._advance(np.mean(self._recent, axis=0)))
            self._recent = self._recent[1:] if len(self._recent) > 1 else self._recent
        last = [self._event(index, *self._open.pop(index), end_s=duration_s) for index in sorted(self._open)]
        return self._long_enough([*ended, *last])

    def _advance(self, scores: Floats) -> list[Event]:
        """Advance by one step, over which each class has the mean score in `scores`; return the events that end."""
        ended: list[Event] = []
        for index, score in enumerate(scores.tolist()):
            if score >= self._options.threshold:
                self._open.setdefault(index, (self._steps, []))[1].append(score)
            elif index in self._open:
                end_s = self._steps * self._step_s
                ended.append(self._event(index, *self._open.pop(index), end_s=end_s))
        self._steps += 1
        return self._long_enough(ended)

    def _event(self, index: int, start: int, scores: list[float], *, end_s: float) -> Event:
        return Event(
            onset_s=round(start * self._step_s, 3),
            offset_s=round(end_s, 3),
            label=self._classes[index],
            confidence=round(sum(scores) / len(scores), 4),
        )

    def _long_enough(self, events: Sequence[Event]) -> list[Event]:
        return [event for event in events if event.offset_s - event.onset_s >= self._options.shortest_s]
