"""A clip as numbers that show when the data changes: mean and deviation of each mel band over its patches."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import SampleDescription

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlops_aed.data.feature_store import PatchRow


def description_names(bands: int) -> tuple[str, ...]:
    """Return the names of the numbers of `describe_patches`; band 1 has the lowest frequencies."""
    return tuple(f"band {band} {what}" for what in ("mean", "deviation") for band in range(1, bands + 1))


def describe_patches(patches: NDArray[np.float32]) -> tuple[float, ...]:
    """Return mean and deviation of each band, 2 x n_mels numbers, of `patches` (patches, n_mels, patch_length)."""
    by_band = np.moveaxis(patches, 1, 0).reshape(patches.shape[1], -1)
    means = by_band.mean(axis=1, dtype=np.float64)
    deviations = by_band.std(axis=1, dtype=np.float64)
    return (*means.tolist(), *deviations.tolist())


def describe_clips(rows: Sequence[PatchRow], patches: NDArray[np.float32]) -> Iterator[SampleDescription]:
    """Yield the description of each clip.

    Args:
        rows: the patches in the order of the file, in which those of a clip follow each other.
        patches: their values, (rows, n_mels, patch_length).
    """
    begin = 0
    for clip, own in groupby(rows, key=attrgetter("clip")):
        of_clip = list(own)
        end = begin + len(of_clip)
        yield SampleDescription(sample=clip, group=of_clip[0].group, vector=describe_patches(patches[begin:end]))
        begin = end
