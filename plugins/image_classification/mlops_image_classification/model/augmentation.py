"""Augmentation of batches of training images with stateless TensorFlow operations: equal seeds give equal batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from mlops_image_classification.config import DataAugmentation

    Tensor = Any

_GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Luma of ITU-R BT.601."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """Seeds of the single draws, each derived from `base` and the number of the draw."""

    base: Tensor

    def __call__(self, number: int) -> Tensor:
        """Return the seed of draw `number`, shape (2,)."""
        return tf.stack([self.base[0], self.base[1] + number])


def augment(images: Tensor, targets: Tensor, *, seed: Tensor, settings: DataAugmentation) -> tuple[Tensor, Tensor]:
    """Return the augmented batch.

    Args:
        images: (batch, height, width, 3), float32, 0 to 1.
        targets: (batch, classes), float32.
        seed: (2,), int64.
        settings: strength of each augmentation.
    """
    seeds = Seeds(seed)
    images = _coloured(_moved(images, seeds, settings), seeds, settings)
    if settings.noise:
        sigma = settings.noise * tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seeds(20))
        images += sigma * tf.random.stateless_normal(tf.shape(images), seeds(21))
    images = tf.clip_by_value(images, 0.0, 1.0)
    if settings.erase:
        images = _erased(images, seeds, settings.erase)
    if settings.cutmix_alpha:
        images, targets = _cut_and_mixed(images, targets, seeds, settings.cutmix_alpha)
    if settings.mixup_alpha:
        images, targets = _mixed(images, targets, seeds, settings.mixup_alpha)
    return images, targets


def _between(count: Tensor, seed: Tensor, limit: float) -> Tensor:
    return tf.random.stateless_uniform((count,), seed, -limit, limit)


def _moved(images: Tensor, seeds: Seeds, settings: DataAugmentation) -> Tensor:
    """Rotate, scale, shear, shift and mirror each image about its centre; the border is reflected."""
    count, size = tf.shape(images)[0], tf.cast(tf.shape(images)[1], tf.float32)
    angle = _between(count, seeds(1), settings.rotation_deg * math.pi / 180)
    shear = _between(count, seeds(2), settings.shear)
    scale_x = tf.exp(_between(count, seeds(3), settings.zoom))
    scale_y = scale_x * tf.exp(_between(count, seeds(4), settings.zoom / 2))
    if settings.horizontal_flip:
        scale_x *= tf.where(tf.random.stateless_uniform((count,), seeds(5)) < 0.5, -1.0, 1.0)
    a, b = scale_x * tf.cos(angle), scale_y * (shear - tf.sin(angle))
    c, d = scale_x * tf.sin(angle), scale_y * (tf.cos(angle) + shear * tf.sin(angle))
    centre = (size - 1) / 2
    shift_x = size * _between(count, seeds(6), settings.shift)
    shift_y = size * _between(count, seeds(7), settings.shift)
    zeros = tf.zeros_like(a)
    transforms = tf.stack(
        [
            a,
            b,
            centre - a * centre - b * centre + shift_x,
            c,
            d,
            centre - c * centre - d * centre + shift_y,
            zeros,
            zeros,
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def _coloured(images: Tensor, seeds: Seeds, settings: DataAugmentation) -> Tensor:
    """Change brightness, contrast and saturation of each image by factors around 1."""

    def factor(number: int, strength: float) -> Tensor:
        low, high = math.log(1 - 0.9 * strength), math.log(1 + strength)
        drawn = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seeds(number), low, high)
        return tf.exp(drawn)

    if settings.brightness:
        images *= factor(10, settings.brightness)
    if settings.contrast:
        mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
        images = mean + (images - mean) * factor(11, settings.contrast)
    if settings.saturation:
        grey = tf.reduce_sum(images * tf.constant(_GREY_WEIGHTS), axis=3, keepdims=True)
        images = grey + (images - grey) * factor(12, settings.saturation)
    return images


def _box(images: Tensor, seeds: Seeds, number: int, area: Tensor) -> Tensor:
    """Return a mask, (batch, height, width, 1), that is true in a square of `area` (a fraction) of each image."""
    count, size = tf.shape(images)[0], tf.shape(images)[1]
    half = tf.sqrt(area) / 2
    grid = (tf.cast(tf.range(size), tf.float32) + 0.5) / tf.cast(size, tf.float32)
    centre_y, centre_x = tf.unstack(tf.random.stateless_uniform((2, count), seeds(number)))
    rows = tf.abs(grid[None, :] - centre_y[:, None]) < half[:, None]
    columns = tf.abs(grid[None, :] - centre_x[:, None]) < half[:, None]
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def _erased(images: Tensor, seeds: Seeds, largest: float) -> Tensor:
    """Fill one square of each image with its mean colour (Zhong et al., Random Erasing, 2020)."""
    area = largest * tf.random.stateless_uniform((tf.shape(images)[0],), seeds(30))
    mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return tf.where(_box(images, seeds, 31, area), mean, images)


def _weights(count: Tensor, seeds: Seeds, number: int, alpha: float) -> Tensor:
    """Return draws from Beta(alpha, alpha), folded to 0.5 and above."""
    first, second = (tf.random.stateless_gamma((count,), seeds(number + k), alpha) for k in (0, 1))
    share = first / tf.maximum(first + second, 1e-12)
    return tf.maximum(share, 1 - share)


def _mixed(images: Tensor, targets: Tensor, seeds: Seeds, alpha: float) -> tuple[Tensor, Tensor]:
    """Mix each image with its neighbour in the batch (Zhang et al., mixup, 2018); batches are shuffled already."""
    weights = _weights(tf.shape(images)[0], seeds, 40, alpha)
    other, other_targets = tf.roll(images, 1, axis=0), tf.roll(targets, 1, axis=0)
    images = weights[:, None, None, None] * images + (1 - weights)[:, None, None, None] * other
    return images, weights[:, None] * targets + (1 - weights)[:, None] * other_targets


def _cut_and_mixed(images: Tensor, targets: Tensor, seeds: Seeds, alpha: float) -> tuple[Tensor, Tensor]:
    """Paste a square of another image into each image (Yun et al., CutMix, 2019); targets by the area pasted."""
    weights = _weights(tf.shape(images)[0], seeds, 50, alpha)
    mask = _box(images, seeds, 52, 1 - weights)
    pasted = tf.reduce_mean(tf.cast(mask, tf.float32), axis=(1, 2))
    images = tf.where(mask, tf.roll(images, 2, axis=0), images)
    return images, (1 - pasted) * targets + pasted * tf.roll(targets, 2, axis=0)
