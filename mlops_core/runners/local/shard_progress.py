"""The progress of a sharded step: the reports of all shards together, as one count that never decreases."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True, kw_only=True)
class _Reported:
    """The last report of a shard with one label."""

    done: int
    total: int


class ShardProgress:
    """Adds up what shards report, and passes on the sum.

    Shards may be at different labels, for example one still reads while another already writes: the sum is that of
    the earliest label that a shard is still at, in which the shards ahead of it have finished. A shard that has not
    reported yet is expected to have as much to do as the others.
    """

    def __init__(self, shards: int, on_progress: Callable[[str, int, int], None]) -> None:
        """Add up the reports of `shards` shards; call `on_progress` with (label, done, total)."""
        self._shards = shards
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._labels: list[str] = []
        self._reports: list[dict[str, _Reported]] = [{} for _ in range(shards)]
        self._current: list[str] = [""] * shards
        self._shown: dict[str, tuple[int, int]] = {}

    def of_shard(self, index: int) -> Callable[[str, int, int], None]:
        """Return the function that takes the reports of the shard `index`."""

        def report(label: str, done: int, total: int) -> None:
            with self._lock:
                self._take(index, label, _Reported(done=done, total=total))

        return report

    def _take(self, index: int, label: str, reported: _Reported) -> None:
        if label not in self._labels:
            self._labels.append(label)
        earlier = self._reports[index].get(label)
        if earlier and reported.done < earlier.done:
            reported = earlier
        self._reports[index][label] = reported
        self._current[index] = label
        earliest = min((self._labels.index(name) for name in self._current if name), default=0)
        self._show(self._labels[earliest])

    def _show(self, label: str) -> None:
        known = []
        for reports, current in zip(self._reports, self._current, strict=True):
            report = reports.get(label)
            if report is not None:
                is_over = self._labels.index(current) > self._labels.index(label)
                known.append(_Reported(done=report.total if is_over else report.done, total=report.total))
        if not known:
            return
        done, reported = sum(one.done for one in known), sum(one.total for one in known)
        total = round(reported * self._shards / len(known))
        shown_done, shown_total = self._shown.get(label, (0, max(total, 1)))
        if done * shown_total < shown_done * total:  # the estimate of the total was too low: keep what was shown
            return
        self._shown[label] = (done, max(total, 1))
        self._on_progress(label, done, total)
