"""Batches for training and scoring, as tf.data pipelines: read, select, decode in parallel, augment, batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mlops_image_classification.data.records import read_records
from mlops_image_classification.model.augmentation import augment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_image_classification.config import DataAugmentation
    from mlops_image_classification.data.splitting import Sample

    Tensor = Any

_SCORING_BATCH = 128
_SEEDS_PER_BATCH = 1000
_SHUFFLED = 20_000
_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReader:
    """Reads the pictures of one part.

    Attributes:
        folder: folder of the records.
        samples: samples of the part, ordered by number.
        classes: all classes, in the order of the scores.
        size: side of the pictures in pixels.
    """

    folder: Path
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    size: int

    def pictures(self) -> tf.data.Dataset:
        """Return (pixels (size, size, 3) uint8, index of the class) in the order of the samples."""
        index = {name: position for position, name in enumerate(self.classes)}
        keys = tf.constant([sample.number for sample in self.samples], tf.int64)
        labels = tf.constant([index[sample.label] for sample in self.samples], tf.int64)
        table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, labels), default_value=-1)
        size = self.size

        def decoded(png: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
            return tf.ensure_shape(tf.io.decode_png(png, channels=3), (size, size, 3)), label

        return (
            read_records(self.folder)
            .map(lambda number, png: (png, table.lookup(number)), num_parallel_calls=tf.data.AUTOTUNE)
            .filter(lambda _png, label: label >= 0)
            .map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
        )

    def scoring_batches(self) -> tf.data.Dataset:
        """Return batches of all pictures: (images (batch, size, size, 3) float32 0 to 1, targets (batch, classes))."""
        return (
            self.pictures().batch(_SCORING_BATCH).map(self._as_floats, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)
        )

    def training_batches(
        self, *, batch_size: int, seed: int, settings: DataAugmentation, cache_mb: int
    ) -> tf.data.Dataset:
        """Return an endless stream of augmented batches; a picture is repeated only after all others.

        Args:
            batch_size: at most the number of samples.
            seed: seed of the order and the augmentation.
            settings: strength of each augmentation.
            cache_mb: decoded pictures are kept in memory if all of them fit into this size.
        """
        pictures = self.pictures()
        if len(self.samples) * self.size * self.size * 3 <= cache_mb * _BYTES_PER_MB:
            pictures = pictures.cache()
        batches = (
            pictures.shuffle(min(len(self.samples), _SHUFFLED), seed=seed, reshuffle_each_iteration=True)
            .repeat()
            .batch(min(batch_size, len(self.samples)), drop_remainder=True)
            .map(self._as_floats, num_parallel_calls=tf.data.AUTOTUNE)
        )

        def augmented(number: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            pair = tf.stack([tf.constant(seed, tf.int64), number * _SEEDS_PER_BATCH])
            return augment(*batch, seed=pair, settings=settings)

        numbered = tf.data.Dataset.zip((tf.data.Dataset.counter(), batches))
        return numbered.map(augmented, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def _as_floats(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return tf.cast(pixels, tf.float32) / 255.0, tf.one_hot(labels, len(self.classes))


def channel_statistics(reader: PartReader) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel over all pixels, 0 to 1; one batch is in memory at a time."""
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for pixels, _ in reader.pictures().batch(_SCORING_BATCH):
        values: NDArray[np.float64] = pixels.numpy().reshape(-1, 3) / 255.0
        count += len(values)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 1e-4))
    return tuple(map(float, mean)), tuple(map(float, deviation))
