"""Batches of randomly changed training patches: shifts, gain, noise, masks, mixup; determined by the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_aed.training.levels import Levels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mlops_aed.config import DataAugmentation
    from mlops_aed.training.inputs import MappedPatches

    Floats = NDArray[np.float32]

_RAW = Levels()


def training_batches(
    patches: Floats | MappedPatches,
    targets: Floats,
    *,
    settings: DataAugmentation,
    batch_size: int,
    seed: int,
    levels: Levels = _RAW,
) -> Iterator[tuple[Floats, Floats]]:
    """Yield an endless sequence of batches: (batch, n_mels, frames, 1) and (batch, classes).

    Every patch is drawn once before any is drawn again.

    Args:
        patches: normalised, (patches, n_mels, frames).
        targets: (patches, classes), one-hot or multi-hot.
        settings: strengths.
        batch_size: at most the number of patches.
        seed: random seed.
        levels: how the patches were made, for the gain.
    """
    draw = np.random.default_rng(seed)
    size = min(batch_size, len(patches))
    while True:
        order = draw.permutation(len(patches))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            batch = np.ascontiguousarray(patches[chosen])
            for patch in batch:
                _change(patch, settings, draw, levels)
            yield _mixed(batch, targets[chosen], settings.mixup_alpha, draw)


def _change(patch: Floats, settings: DataAugmentation, draw: np.random.Generator, levels: Levels) -> None:
    """Change a patch in place; an option that is off draws no random number, so that the others do not change."""
    if settings.time_shift:
        patch[:] = np.roll(patch, int(draw.integers(-settings.time_shift, settings.time_shift + 1)), axis=1)
    if settings.gain_db:
        patch[:] = levels.amplified(patch, draw.uniform(-settings.gain_db, settings.gain_db))
    if settings.volume != (1.0, 1.0):
        patch *= np.float32(draw.uniform(*settings.volume))
    if settings.noise:
        patch += np.float32(settings.noise) * draw.standard_normal(patch.shape, dtype=np.float32)
    masks = (
        (0, settings.frequency_mask, settings.frequency_masks),
        (1, settings.time_mask, settings.time_masks),
    )
    for axis, widest, count in masks:
        for _ in range(count):
            _mask(patch, draw, axis=axis, widest=widest)


def _mask(patch: Floats, draw: np.random.Generator, *, axis: int, widest: int) -> None:
    """Set up to `widest` neighbouring bands (axis 0) or frames (axis 1) to 0, the mean of all patches."""
    width = int(draw.integers(0, widest + 1)) if widest else 0
    start = int(draw.integers(0, max(1, patch.shape[axis] - width)))
    (patch if axis == 0 else patch.T)[start : start + width] = 0.0


def _mixed(batch: Floats, targets: Floats, alpha: float, draw: np.random.Generator) -> tuple[Floats, Floats]:
    """Mix each patch with another (Zhang et al., mixup: beyond empirical risk minimization, 2018)."""
    if alpha:
        weights = draw.beta(alpha, alpha, len(batch)).astype(np.float32)
        weights = np.maximum(weights, 1 - weights)
        other = draw.permutation(len(batch))
        batch = weights[:, None, None] * batch + (1 - weights)[:, None, None] * batch[other]
        targets = weights[:, None] * targets + (1 - weights)[:, None] * targets[other]
    return batch[..., None], targets
