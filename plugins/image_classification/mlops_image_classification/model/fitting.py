"""Fitting a network: weight updates, averaged weights, the schedule, and when to stop.

Knows nothing of files or steps. The weights that are judged and kept are a running average of those that are
trained (Polyak and Juditsky, 1992); a single look at them is far less noisy.
"""

from __future__ import annotations

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
    """A part of the training with a schedule of its own.

    Attributes:
        name: for the log.
        epochs: at most.
        learning_rate: its highest value.
        warmup_epochs: in which it rises to that; afterwards it falls as a cosine to 0.
        patience: epochs without a better validation loss after which it stops.
        perfect_epochs: epochs in a row without a wrong validation picture after which it stops.
    """

    name: str
    epochs: int
    learning_rate: float
    warmup_epochs: float
    patience: int
    perfect_epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """What one epoch brought; losses are cross-entropies, that of training with smoothed labels."""

    phase: str
    epoch: int
    loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Where batches come from.

    Attributes:
        training: gives batches (images, targets) without end.
        per_epoch: how many of them are an epoch.
        validation: gives each validation batch once.
    """

    training: Iterator[tuple[Tensor, Tensor]]
    per_epoch: int
    validation: Any


class Fitter:
    """Trains one network, phase after phase."""

    def __init__(self, model: keras.Model, *, settings: Training, class_weights: np.ndarray) -> None:
        """Take a network; `class_weights` has one factor of the loss for each class."""
        self._model = model
        self._averaged = keras.models.clone_model(model)
        self._averaged.set_weights(model.get_weights())
        self._settings = settings
        self._class_weights = tf.constant(class_weights, tf.float32)
        self.history: list[EpochRecord] = []

    def fit(self, phase: Phase, batches: Batches, *, tell: Callable[[EpochRecord], None]) -> int:
        """Train for one phase, keep the averaged weights of its best epoch, and return that epoch.

        Args:
            phase: its schedule.
            batches: the data.
            tell: is given each epoch's record.
        """
        update = self._update_function(phase, batches.per_epoch)
        judge = _judge_function(self._averaged)
        perfect = 0
        best: tuple[float, int, Weights] = (float("inf"), 0, self._averaged.get_weights())
        for epoch in range(1, phase.epochs + 1):
            losses = [update(*next(batches.training)) for _ in range(batches.per_epoch)]
            loss, accuracy = _judged(judge, batches.validation)
            self.history.append(
                EpochRecord(
                    phase=phase.name,
                    epoch=epoch,
                    loss=float(np.mean(losses)),
                    validation_loss=loss,
                    validation_accuracy=accuracy,
                )
            )
            tell(self.history[-1])
            if loss < best[0]:
                best = (loss, epoch, self._averaged.get_weights())
            perfect = perfect + 1 if accuracy == 1.0 else 0
            if epoch - best[1] >= phase.patience or perfect >= phase.perfect_epochs:
                break
        self._averaged.set_weights(best[2])
        self._model.set_weights(best[2])
        return best[1]

    def _update_function(self, phase: Phase, per_epoch: int) -> Callable[[Tensor, Tensor], Tensor]:
        optimizer = _optimizer(phase, per_epoch, weight_decay=self._settings.weight_decay)
        model, averaged, momentum = self._model, self._averaged, self._settings.ema_momentum
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
            keep = tf.minimum(momentum, done / (done + 9.0))  # the first averages forget the random start
            for average, weight in pairs:
                average.assign_add((1.0 - keep) * (weight - average))  # so that frozen weights stay as they are
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


def _judge_function(model: keras.Model) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def judge(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        scores = model(images, training=False)
        hits = tf.argmax(scores, axis=1) == tf.argmax(targets, axis=1)
        losses = keras.losses.categorical_crossentropy(targets, scores)
        return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32))

    return judge  # type: ignore[no-any-return]


def _judged(judge: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], batches: Any) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy."""
    loss = hits = count = 0.0
    for images, targets in batches:
        found = judge(images, targets)
        loss, hits, count = loss + float(found[0]), hits + float(found[1]), count + int(images.shape[0])
    return loss / count, hits / count
