"""Batches of training patches, changed at random: shifts, masks, mixup. The same seed gives the same batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mlops_aed.config import DataAugmentation
    from mlops_aed.training_input import MappedPatches

    Floats = NDArray[np.float32]


def training_batches(
    patches: Floats | MappedPatches, targets: Floats, *, settings: DataAugmentation, batch_size: int, seed: int
) -> Iterator[tuple[Floats, Floats]]:
    """Yield batches without end: (batch, n_mels, frames, 1) and (batch, classes).

    Every patch is drawn once before any is drawn again.

    Args:
        patches: normalised, (patches, n_mels, frames).
        targets: one-hot, (patches, classes).
        settings: strengths.
        batch_size: at most the number of patches.
        seed: of every draw.
    """
    draw = np.random.default_rng(seed)
    size = min(batch_size, len(patches))
    while True:
        order = draw.permutation(len(patches))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            batch = np.stack([_changed(patches[index], settings, draw) for index in chosen])
            yield _mixed(batch, targets[chosen], settings.mixup_alpha, draw)


def _changed(patch: Floats, settings: DataAugmentation, draw: np.random.Generator) -> Floats:
    if settings.time_shift:
        patch = np.roll(patch, int(draw.integers(-settings.time_shift, settings.time_shift + 1)), axis=1)
    patch = patch.copy()
    for axis, widest in ((0, settings.frequency_mask), (1, settings.time_mask)):
        width = int(draw.integers(0, widest + 1)) if widest else 0
        start = int(draw.integers(0, max(1, patch.shape[axis] - width)))
        masked = [slice(None), slice(None)]
        masked[axis] = slice(start, start + width)
        patch[tuple(masked)] = 0.0  # the mean of normalised patches
    return patch


def _mixed(batch: Floats, targets: Floats, alpha: float, draw: np.random.Generator) -> tuple[Floats, Floats]:
    """Mix each patch with another (Zhang et al., mixup: beyond empirical risk minimization, 2018)."""
    if alpha:
        weights = draw.beta(alpha, alpha, len(batch)).astype(np.float32)
        weights = np.maximum(weights, 1 - weights)
        other = draw.permutation(len(batch))
        batch = weights[:, None, None] * batch + (1 - weights)[:, None, None] * batch[other]
        targets = weights[:, None] * targets + (1 - weights)[:, None] * targets[other]
    return batch[..., None], targets
