"""Fitting the network: weight updates, learning-rate schedule, and the running average of the weights, which is kept.

This module knows neither files nor steps. Crops are made by a thread beside the updates, in an order that depends on
the seed alone.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from mlops_core import StepError
from mlops_object_detection.model.losses import total_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mlops_object_detection.model.crops import CropMaker

    Tensor = Any

_AHEAD = 8
_CLIPPING = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast the network is trained.

    Attributes:
        epochs: number of epochs.
        steps_per_epoch: updates per epoch.
        batch_size: crops per update.
        learning_rate: its peak; it rises over the warm-up and then falls to 0 along a cosine.
        warmup_steps: updates of the warm-up.
        weight_decay: of AdamW, or of SGD.
        optimizer: ``adamw``, ``adam`` or ``sgd``.
        ema_momentum: of the running average.
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    optimizer: str
    ema_momentum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """Mean losses of one epoch."""

    epoch: int
    loss: float
    centre_loss: float
    box_loss: float
    class_loss: float


def fit(
    model: Any, maker: CropMaker, schedule: Schedule, *, seed: int, on_epoch: Callable[[EpochRecord], None]
) -> list[EpochRecord]:
    """Train a network and leave the averaged weights in it; return one record per epoch.

    Args:
        model: with random weights.
        maker: makes the crops.
        schedule: how long and how fast.
        seed: of the crops.
        on_epoch: called after each epoch.

    Raises:
        StepError: the loss is not finite.
    """
    averaged = keras.models.clone_model(model)
    averaged.set_weights(model.get_weights())
    update = _update_function(model, averaged, schedule)
    records: list[EpochRecord] = []
    batches = _batches(maker, schedule, seed=seed)
    try:
        for epoch in range(1, schedule.epochs + 1):
            losses = np.mean([update(*next(batches)).numpy() for _ in range(schedule.steps_per_epoch)], axis=0)
            if not np.isfinite(losses).all():
                raise StepError(f"epoch {epoch}: the loss is not finite; lower training.learning_rate")
            centre, box, label = (float(value) for value in losses)
            records.append(
                EpochRecord(epoch=epoch, loss=centre + box + label, centre_loss=centre, box_loss=box, class_loss=label)
            )
            on_epoch(records[-1])
    finally:
        batches.close()
    model.set_weights(averaged.get_weights())
    return records


def _update_function(model: Any, averaged: Any, schedule: Schedule) -> Callable[..., Tensor]:
    optimizer = _optimizer(schedule)
    trainable = model.trainable_variables
    optimizer.build(trainable)
    pairs = list(zip(averaged.weights, model.weights, strict=True))

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def update(images: Tensor, centres: Tensor, sides: Tensor, classes: Tensor) -> Tensor:
        with tf.GradientTape() as tape:
            losses = total_loss(model(images, training=True), (centres, sides, classes))
            loss = tf.reduce_sum(losses)
        optimizer.apply(tape.gradient(loss, trainable), trainable)
        done = tf.cast(optimizer.iterations, tf.float32)
        keep = tf.minimum(schedule.ema_momentum, done / (done + 9.0))  # so that it soon forgets the initial weights
        for average, weight in pairs:
            average.assign_add((1.0 - keep) * (weight - average))
        return losses

    return update  # type: ignore[no-any-return]


def _optimizer(schedule: Schedule) -> keras.optimizers.Optimizer:
    total = schedule.epochs * schedule.steps_per_epoch
    warmup = min(schedule.warmup_steps, total // 2)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else schedule.learning_rate,
        max(1, total - warmup),
        warmup_target=schedule.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    common = {"learning_rate": rate, "global_clipnorm": _CLIPPING}
    if schedule.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=0.9, weight_decay=schedule.weight_decay, **common)
    if schedule.optimizer == "adam":
        return keras.optimizers.Adam(**common)
    optimizer = keras.optimizers.AdamW(weight_decay=schedule.weight_decay, **common)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _batches(maker: CropMaker, schedule: Schedule, *, seed: int) -> Generator[tuple[np.ndarray, ...], None, None]:
    """Yield batches without end; they are made in a thread, which ends when the iterator is closed."""
    made: queue.Queue[Any] = queue.Queue(_AHEAD)
    is_done = threading.Event()

    def put(item: Any) -> None:
        while not is_done.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        generator = np.random.default_rng(seed)
        try:
            while not is_done.is_set():
                put(_batch(maker, generator, schedule.batch_size))
        except Exception as error:  # noqa: BLE001  raised again where the batch is taken
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = made.get()
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        is_done.set()
        thread.join()


def _batch(maker: CropMaker, generator: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
    crops, targets = zip(*(maker.make(generator) for _ in range(size)), strict=True)
    return (
        np.stack(crops),
        np.stack([one.centres for one in targets]),
        np.stack([one.sides for one in targets]),
        np.stack([one.classes for one in targets]),
    )
