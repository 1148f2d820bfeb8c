"""Samples whose files were described: which of them are in the reference, and streams that are drawn from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_core.serving.drift.scaling import ScaledReference

_NEAR = 1e-3
"""In standard deviations: a reference has seven digits, and other processors round differently."""


def reference_places(vectors: NDArray[np.float64], reference: ScaledReference) -> NDArray[np.int64]:
    """Return the index of each sample in the reference, by its vector; -1 for one that is not in it.

    Args:
        vectors: raw ones, M x d.
        reference: the reference.
    """
    scaled = reference.scale(vectors)
    places = np.full(len(vectors), -1)
    for at, vector in enumerate(scaled):
        distances = np.abs(reference.values - vector).max(axis=1)
        nearest = int(distances.argmin())
        if distances[nearest] <= _NEAR:
            places[at] = nearest
    return places


class SamplePool:
    """Samples from which streams are drawn.

    Attributes:
        raw: their vectors, M x d.
        groups: number of the group of each; a sample that is not in the reference is a group of its own.
        in_reference: number of samples that are in the reference.
    """

    def __init__(self, raw: NDArray[np.float64], reference: ScaledReference) -> None:
        """Look for the samples in the reference."""
        self.raw = raw
        self._places = reference_places(raw, reference)
        size = len(reference.values)
        self._group_of = np.arange(size) if reference.groups is None else reference.groups
        own = size + np.arange(len(raw))
        self.groups: NDArray[np.int64] = np.where(self._places >= 0, self._group_of[self._places], own)
        self.in_reference = int((self._places >= 0).sum())

    def stream(
        self, source: np.random.Generator, length: int, is_free: NDArray[np.bool_], *, every: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the samples of a stream of whole groups, and which samples of the reference are in these groups.

        Of a group, one sample in `every` is taken, more where the groups would not suffice. A sample occurs twice only
        where the pool is too small.

        Args:
            source: of everything random.
            length: of the stream.
            is_free: which samples of the reference may be in it, N.
            every: one in so many samples is observed.
        """
        allowed = np.nonzero((self._places < 0) | is_free[self._places])[0]
        if not len(allowed):
            allowed = np.arange(len(self.raw))
        names, numbers, sizes = np.unique(self.groups[allowed], return_inverse=True, return_counts=True)
        takes = np.maximum(1, sizes // every)
        takes = np.minimum(sizes, np.ceil(takes * max(1.0, 2 * length / takes.sum())).astype(np.int64))
        pieces: list[NDArray[np.int64]] = []
        missing = length
        while missing > 0:
            for group in source.permutation(len(names)):
                members = np.sort(source.permutation(allowed[numbers == group])[: takes[group]])[:missing]
                pieces.append(members)
                missing -= len(members)
                if missing <= 0:
                    break
        stream = np.concatenate(pieces)
        return stream, np.isin(self._group_of, self.groups[stream])
