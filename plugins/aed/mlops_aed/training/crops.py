"""Patches at any offset, cut from the patches of the features.

Patches of one clip overlap or touch, so its spectrogram can be restored; nothing is decoded twice.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlops_aed.config import FeatureExtraction
    from mlops_aed.data.feature_store import PatchRow

    Floats = NDArray[np.float32]


def spectrogram(patches: Floats, settings: FeatureExtraction) -> Floats:
    """Return the spectrogram that `patches` (patches, n_mels, frames) were cut from, shape (n_mels, all frames).

    The frames after the last whole patch are missing. With ``include_last_patch`` the last patch may be off the grid
    and is left out.
    """
    step = settings.patch_length - math.floor(settings.patch_length * settings.overlap)
    if settings.include_last_patch and len(patches) > 1:
        patches = patches[:-1]
    return np.concatenate([*(patch[:, :step] for patch in patches[:-1]), patches[-1]], axis=1)


def dense_patches(patches: Floats, settings: FeatureExtraction, *, step: int) -> Floats:
    """Return the patches of one clip, one per `step` frames, shape (patches, n_mels, frames)."""
    whole = spectrogram(patches, settings)
    windows = np.lib.stride_tricks.sliding_window_view(whole, settings.patch_length, axis=1)
    return np.ascontiguousarray(windows[:, ::step].swapaxes(0, 1))


def by_clip(rows: Sequence[PatchRow]) -> Iterator[list[PatchRow]]:
    """Yield the rows of each clip; rows of one clip must be adjacent."""
    for _, members in groupby(rows, key=lambda row: row.clip):
        yield list(members)
