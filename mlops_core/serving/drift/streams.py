"""Streams without drift, drawn from a reference, in which samples of a group follow each other.

Clips of one recording or frames of one camera resemble each other: a stream of them makes a statistic vary far more
than independent samples do. Where the reference has groups, streams are made of whole groups, thinned as the stream of
requests is: of a group with g samples, one in `every` remains, but at least one. Groups whose samples arrive further
apart are not modelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_GROUPS = 10


class GroupStreams:
    """Draws streams of samples from groups.

    Attributes:
        count: number of groups.
        group_of: number of the group of each sample, N.
    """

    def __init__(self, samples: int, groups: NDArray[np.int64] | None, *, every: int) -> None:
        """Prepare drawing.

        Args:
            samples: their number N.
            groups: number of the group of each, 0 to G-1; None for independent samples.
            every: one in so many samples of the stream is observed.

        Raises:
            DatasetError: there are too few groups.
        """
        self.is_grouped = groups is not None
        self.group_of = np.arange(samples) if groups is None else np.unique(groups, return_inverse=True)[1]
        self._order = np.argsort(self.group_of, kind="stable")
        self._sizes = np.bincount(self.group_of)
        self.count = len(self._sizes)
        if self.count < MIN_GROUPS:
            raise DatasetError(
                f"drift: the {samples} samples of the reference are in {self.count} groups; at least {MIN_GROUPS} are "
                "needed to know how much groups differ"
            )
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]])
        self._every = every

    def draw(
        self, source: np.random.Generator, streams: int, length: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return streams in which no sample occurs twice, and the groups from which each was drawn.

        Returns:
            indices of samples, streams x length, and numbers of groups, streams x the largest number of groups, where
            -1 fills shorter rows. The other groups are those that a stream is compared with.
        """
        if not self.is_grouped:
            keys = source.random((streams, self.count), dtype=np.float32)
            chosen = np.argpartition(keys, length, axis=1)[:, :length]
            chosen = source.permuted(chosen, axis=1)
            return chosen, chosen
        takes = self._takes(source, streams, length)
        drawn = [self._one(source, length, row) for row in takes]
        width = max(len(groups) for _, groups in drawn)
        used = np.full((streams, width), -1)
        for row, (_, groups) in zip(used, drawn, strict=True):
            row[: len(groups)] = groups
        return np.array([indices for indices, _ in drawn]), used

    def endless(self, source: np.random.Generator, streams: int, length: int) -> NDArray[np.int64]:
        """Return streams of groups drawn with replacement: indices, streams x length."""
        if not self.is_grouped:
            return source.integers(self.count, size=(streams, length))
        odds = np.minimum(self._sizes, self._every).astype(np.float64)
        odds /= odds.sum()
        rows = []
        for _ in range(streams):
            pieces: list[NDArray[np.int64]] = []
            missing = length
            while missing > 0:
                groups = source.choice(self.count, size=missing, p=odds)
                found = self._members(source, groups, self._thinned(source, groups))[:missing]
                pieces.append(found)
                missing -= len(found)
            rows.append(np.concatenate(pieces))
        return np.array(rows)

    def resampled(self, source: np.random.Generator) -> NDArray[np.int64]:
        """Return indices of as many groups as there are, drawn with replacement: a reference of the same population."""
        if not self.is_grouped:
            return source.integers(self.count, size=self.count)
        groups = source.integers(self.count, size=self.count)
        return np.concatenate(
            [self._order[self._starts[each] : self._starts[each] + self._sizes[each]] for each in groups]
        )

    def _thinned(self, source: np.random.Generator, groups: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many samples of each group remain when one in `every` is observed."""
        wanted = self._sizes[groups] / self._every
        whole = np.floor(wanted)
        takes: NDArray[np.int64] = np.maximum(1, whole + (source.random(len(groups)) < wanted - whole)).astype(np.int64)
        return takes

    def _takes(self, source: np.random.Generator, streams: int, length: int) -> NDArray[np.int64]:
        """Return the number of samples of each group, streams x G; enough for a stream of half of the groups."""
        every_group = np.arange(self.count)
        rows = np.array([self._thinned(source, every_group) for _ in range(streams)])
        short = 2 * length / rows.sum(axis=1, keepdims=True)
        takes: NDArray[np.int64] = np.minimum(self._sizes, np.ceil(rows * np.maximum(1.0, short))).astype(np.int64)
        return takes

    def _one(
        self, source: np.random.Generator, length: int, takes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return a stream and its groups; a group comes first with odds of its size, up to `every`."""
        keys = source.exponential(size=self.count) / np.minimum(self._sizes, self._every)
        order = np.argsort(keys)
        needed = int(np.searchsorted(np.cumsum(takes[order]), length)) + 1
        groups = order[:needed]
        indices = self._members(source, groups, takes[groups])[:length]
        if len(indices) < length or needed > self.count - 2:
            raise DatasetError(
                f"drift: a stream of {length} samples takes {needed} of the {self.count} groups of the reference; too "
                "few remain to compare it with: use a larger reference or smaller windows"
            )
        return indices, groups

    def _members(
        self, source: np.random.Generator, groups: NDArray[np.int64], takes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return so many samples of each group, evenly spread from a random first one."""
        spread = self._sizes[groups] / takes
        first = source.random(len(groups)) * spread
        which = np.repeat(np.arange(len(groups)), takes)
        rank = np.arange(len(which)) - np.repeat(np.cumsum(takes) - takes, takes)
        offsets = np.minimum((first[which] + rank * spread[which]).astype(np.int64), self._sizes[groups][which] - 1)
        members: NDArray[np.int64] = self._order[self._starts[groups][which] + offsets]
        return members
