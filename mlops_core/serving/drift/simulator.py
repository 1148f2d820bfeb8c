"""MMD² of many streams that are drawn from a reference, each against the groups that it does not use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_core.serving.drift.streams import GroupStreams


class MmdSimulator:
    """Computes MMD² of streams against the groups that they do not use."""

    def __init__(self, similarities: NDArray[np.float32], streams: GroupStreams) -> None:
        self._k = similarities
        self._streams = streams
        self._rows = similarities.sum(axis=1, dtype=np.float64)
        self._total = float(self._rows.sum())
        count = streams.count
        self._sizes = np.append(np.bincount(streams.group_of, minlength=count), 0)
        if streams.is_grouped:
            by_group = np.zeros((len(similarities), count + 1), np.float32)
            np.add.at(by_group.T, streams.group_of, similarities)
            self._by_group = by_group
            both = np.zeros((count + 1, count + 1))
            np.add.at(both, streams.group_of, by_group.astype(np.float64))
            self._both = both

    def statistics(
        self, source: np.random.Generator, number: int, *, windows: tuple[int, ...], steps: int
    ) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
        """Return drawn streams, number x (largest window + steps), and MMD² of each window after 0 to `steps` samples.

        Windows of different sizes end with the same sample.
        """
        largest = max(windows)
        chosen, used = self._streams.draw(source, number, largest + steps)
        within = self._k[chosen[:, :, None], chosen[:, None, :]].astype(np.float64)
        if self._streams.is_grouped:
            lost = self._by_group[chosen[:, :, None], used[:, None, :]].sum(axis=2, dtype=np.float64)
            lost_both = self._both[used[:, :, None], used[:, None, :]].sum(axis=(1, 2))
            lost_rows = np.append(self._both[:-1].sum(axis=0)[:-1], 0.0)[used].sum(axis=1)
        else:
            lost = within.sum(axis=2)
            lost_both = lost.sum(axis=1)
            lost_rows = self._rows[chosen].sum(axis=1)
        left = len(self._k) - self._sizes[used].sum(axis=1)
        means = (self._rows[chosen] - lost) / left[:, None]
        constant = (self._total - 2.0 * lost_rows + lost_both - left) / (left * (left - 1))
        found = []
        for window in windows:
            begin = largest - window
            inside = window_sums(within[:, begin:, begin:], window)
            between = sliding_sums(means[:, begin:], window)
            found.append(constant[:, None] + (inside - window) / (window * (window - 1)) - 2.0 * between / window)
        return chosen, found


def sliding_sums(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the sums of `window` consecutive values, n x L, as n x (L - window + 1)."""
    sums = np.cumsum(values, axis=1)
    found = sums[:, window - 1 :].copy()
    found[:, 1:] -= sums[:, :-window]
    return found


def window_sums(within: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the sums of the square blocks of side `window` along the diagonals of matrices, n x L x L."""
    rows = np.cumsum(within, axis=2)
    number, length = rows.shape[:2]
    first = rows[:, :window, window - 1].sum(axis=1)
    before = np.arange(length - window)
    new = before + window
    # The row of the entering sample over the new window, and the row of the leaving one over the old window.
    entering = rows[:, new, new] - rows[:, new, before]
    leaving = rows[:, before, new - 1] - np.where(before > 0, rows[:, before, before - 1], 0.0)
    diagonal = np.diagonal(within, axis1=1, axis2=2)
    change = 2.0 * (entering - leaving) - diagonal[:, new] + diagonal[:, before]
    sums = np.empty((number, length - window + 1))
    sums[:, 0] = first
    sums[:, 1:] = first[:, None] + np.cumsum(change, axis=1)
    return sums
