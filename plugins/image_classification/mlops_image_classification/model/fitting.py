"""Fitting of a network: weight updates, averaged weights, learning-rate schedule, early stopping.

This module knows neither files nor steps. The weights that are validated and kept are a running average of the trained
ones (Polyak and Juditsky, 1992), whose validation loss is far less noisy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_image_classification.config import Training

    Tensor = Any
    Weights = list[np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A phase of the training with its own schedule.

    Attributes:
        name: name for the log.
        epochs: maximum number of epochs.
        learning_rate: peak of the learning rate.
        warmup_epochs: epochs in which the learning rate rises to its peak; then it falls to 0 along a cosine.
        patience: number of epochs without a lower validation loss after which the phase stops.
        perfect_epochs: number of consecutive epochs without a misclassified validation picture after which it stops.

    A phase without validation batches runs for all epochs and keeps its last weights.
    """

    name: str
    epochs: int
    learning_rate: float
    warmup_epochs: float
    patience: int
    perfect_epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """Losses and accuracy of one epoch; losses are cross-entropies, the training loss with smoothed labels.

    What is not measured in a phase is NaN.
    """

    phase: str
    epoch: int
    loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """The batches of a training.

    Attributes:
        training: endless iterator of (images, targets).
        per_epoch: number of training batches per epoch.
        validation: iterable of the validation batches; None if their pictures are trained on.
    """

    training: Iterator[tuple[Tensor, Tensor]]
    per_epoch: int
    validation: Any


class Fitter:
    """Trains a network, phase by phase."""

    def __init__(self, model: keras.Model, *, settings: Training, class_weights: np.ndarray) -> None:
        """Prepare the training of `model`; `class_weights` has one factor of the loss per class."""
        self.model = model
        self._averaged = keras.models.clone_model(model)
        self._averaged.set_weights(model.get_weights())
        self._settings = settings
        self._class_weights = tf.constant(class_weights, tf.float32)
        self.history: list[EpochRecord] = []

    def fit(self, phase: Phase, batches: Batches, *, on_epoch: Callable[[EpochRecord], None]) -> int:
        """Train for one phase, keep the averaged weights of its best epoch, and return the number of that epoch.

        Without validation batches, the last epoch is the best one.

        Args:
            phase: the schedule.
            batches: the data.
            on_epoch: called with the record of each epoch.
        """
        update = self._update_function(phase, batches.per_epoch)
        validate = _validation_function(self._averaged)
        perfect = 0
        best: tuple[float, int, Weights] = (float("inf"), 0, self._averaged.get_weights())
        for epoch in range(1, phase.epochs + 1):
            losses = [update(*next(batches.training)) for _ in range(batches.per_epoch)]
            loss, accuracy = _mean_loss_and_accuracy(validate, batches.validation)
            is_best = loss < best[0] or batches.validation is None
            self.history.append(
                EpochRecord(
                    phase=phase.name,
                    epoch=epoch,
                    loss=float(np.mean(losses)),
                    validation_loss=loss,
                    validation_accuracy=accuracy,
                )
            )
            on_epoch(self.history[-1])
            if is_best:
                best = (loss, epoch, self._averaged.get_weights())
            perfect = perfect + 1 if accuracy == 1.0 else 0
            if epoch - best[1] >= phase.patience or perfect >= phase.perfect_epochs:
                break
        self._averaged.set_weights(best[2])
        self.model.set_weights(best[2])
        return best[1]

    def _update_function(self, phase: Phase, per_epoch: int) -> Callable[[Tensor, Tensor], Tensor]:
        optimizer = _optimizer(phase, per_epoch, weight_decay=self._settings.weight_decay)
        model, averaged, momentum = self.model, self._averaged, self._settings.ema_momentum
        smoothing, weights = self._settings.label_smoothing, self._class_weights
        trainable = model.trainable_variables
        optimizer.build(trainable)
        pairs = list(zip(averaged.weights, model.weights, strict=True))

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def update(images: Tensor, targets: Tensor) -> Tensor:
            with tf.GradientTape() as tape:
                scores = model(images, training=True)
                losses = keras.losses.categorical_crossentropy(targets, scores, label_smoothing=smoothing)
                loss = tf.reduce_mean(losses * tf.linalg.matvec(targets, weights))
            optimizer.apply(tape.gradient(loss, trainable), trainable)
            done = tf.cast(optimizer.iterations, tf.float32)
            keep = tf.minimum(momentum, done / (done + 9.0))  # so that the average soon forgets the initial weights
            for average, weight in pairs:
                average.assign_add((1.0 - keep) * (weight - average))  # leaves frozen weights unchanged
            return loss

        return update  # type: ignore[no-any-return]


def _optimizer(phase: Phase, per_epoch: int, *, weight_decay: float) -> keras.optimizers.Optimizer:
    total = max(1, phase.epochs * per_epoch)
    warmup = min(round(phase.warmup_epochs * per_epoch), total // 2)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else phase.learning_rate,
        total - warmup,
        warmup_target=phase.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(learning_rate=schedule, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _validation_function(model: keras.Model) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def validate(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        scores = model(images, training=False)
        hits = tf.argmax(scores, axis=1) == tf.argmax(targets, axis=1)
        losses = keras.losses.categorical_crossentropy(targets, scores)
        return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32))

    return validate  # type: ignore[no-any-return]


def _mean_loss_and_accuracy(
    validate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], batches: Any
) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy; NaN without batches."""
    if batches is None:
        return math.nan, math.nan
    loss = hits = count = 0.0
    for images, targets in batches:
        batch_loss, batch_hits = validate(images, targets)
        loss, hits, count = loss + float(batch_loss), hits + float(batch_hits), count + int(images.shape[0])
    return loss / count, hits / count
