"""Training loops: weight updates until the validation loss stops falling, or epochs with Keras's callbacks.

Names and arguments of optimizer, callbacks and schedule are checked by `mlops_aed.training.config`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from mlops_aed.training.schedules import SCHEDULES, learning_rate
from mlops_core import HistoryRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mlops_aed.config import Training
    from mlops_core import StepContext

    Floats = NDArray[np.float32]

_CHECK_EVERY = 50
"""Number of weight updates between two validations."""
_AVERAGE_EVERY = 5
"""Weight updates between two that enter the running average: copying the weights costs a tenth of an update."""
_AVERAGE_SHARE = 0.025
"""Of the newest weights in the running average: it looks back about 200 updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """Loss and accuracy after `step` weight updates or epochs."""

    step: int
    loss: float
    validation_loss: float
    validation_accuracy: float

    def to_history(self) -> HistoryRow:
        """Return the row of ``history.csv``."""
        values = {name: getattr(self, name) for name in ("loss", "validation_loss", "validation_accuracy")}
        return HistoryRow(step=self.step, values=values)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Input of a training loop.

    Attributes:
        batches: endless iterator over (batch, n_mels, frames, 1) and (batch, classes).
        held: validation patches (patches, n_mels, frames, 1) and targets (patches, classes), one-hot or multi-hot.
        batches_per_epoch: number of batches that hold each training patch once.
        is_multi_label: whether a patch may have several classes, each with its own probability.
    """

    batches: Iterator[tuple[Floats, Floats]]
    held: tuple[Floats, Floats]
    batches_per_epoch: int
    is_multi_label: bool = False


def loss_and_accuracy(*, label_smoothing: float, is_multi_label: bool) -> tuple[keras.Loss, keras.Metric]:
    """Return the cross-entropy over the classes and the share of right answers; of several labels, for each class."""
    if is_multi_label:
        return keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing), keras.metrics.BinaryAccuracy(
            "accuracy"
        )
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    return loss, keras.metrics.CategoricalAccuracy("accuracy")


def fit(context: StepContext, model: keras.Model, data: TrainingData, settings: Training) -> list[TrainingRow]:
    """Train `model` in place, by epochs if the settings have them, else by weight updates."""
    if settings.epochs is not None:
        return _fit_epochs(context, model, data, settings)
    return _fit_steps(context, model, data, settings)


def _fit_steps(context: StepContext, model: keras.Model, data: TrainingData, settings: Training) -> list[TrainingRow]:
    loss_function, accuracy = loss_and_accuracy(
        label_smoothing=settings.label_smoothing, is_multi_label=data.is_multi_label
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(
            learning_rate=keras.optimizers.schedules.CosineDecay(
                0.0, settings.steps, warmup_target=settings.learning_rate, warmup_steps=min(100, settings.steps // 10)
            ),
            weight_decay=settings.weight_decay,
        ),
        loss=loss_function,
        metrics=[accuracy],
    )
    return _updated(context, model, data, settings)


def _updated(context: StepContext, model: keras.Model, data: TrainingData, settings: Training) -> list[TrainingRow]:
    """Update the compiled `model`; leave it with the best running average of its weights.

    The averages are what is validated: single weights, at a learning rate that is still high, jump by more than what
    a small validation part could tell apart. Source: B. Polyak and A. Juditsky, Acceleration of stochastic
    approximation by averaging, SIAM J. Control Optim. 30 (1992).
    """
    history: list[TrainingRow] = []
    average = model.get_weights()
    best: tuple[float, int, list[Any]] = (float("inf"), 0, average)
    for step in range(1, settings.steps + 1):
        loss = model.train_on_batch(*next(data.batches), return_dict=True)["loss"]
        context.progress("step", step, settings.steps)
        if not step % _AVERAGE_EVERY or step == settings.steps:
            average = _averaged(average, model.get_weights(), step=step)
        if step % _CHECK_EVERY and step < settings.steps:
            continue
        row = _validated_average(model, average, data, step=step, loss=float(loss))
        history.append(row)
        _log_row(context, row)
        if row.validation_loss < best[0]:
            best = (row.validation_loss, step, average)
        elif step - best[1] >= settings.patience:
            context.log.info("no better validation loss for %d steps: stopped", step - best[1])
            break
    model.set_weights(best[2])
    context.log.info("kept the weights averaged up to step %d", best[1])
    return history


def _averaged(average: list[Any], weights: list[Any], *, step: int) -> list[Any]:
    """Return the running average with newer weights in it; early ones count less, so that the start is forgotten."""
    share = min(1.0, max(_AVERAGE_SHARE, _AVERAGE_EVERY / step))
    return [(1 - share) * old + share * new for old, new in zip(average, weights, strict=True)]


def _validated_average(
    model: keras.Model, average: list[Any], data: TrainingData, *, step: int, loss: float
) -> TrainingRow:
    """Return what the averaged weights give; `model` goes on with its own."""
    weights = model.get_weights()
    model.set_weights(average)
    row = validated(model, data.held, step=step, loss=loss)
    model.set_weights(weights)
    return row


def _log_row(context: StepContext, row: TrainingRow) -> None:
    context.log.info(
        "step %d: loss %.3f, validation loss %.3f, accuracy %.3f",
        row.step,
        row.loss,
        row.validation_loss,
        row.validation_accuracy,
    )


def validated(model: keras.Model, held: tuple[Floats, Floats], *, step: int, loss: float) -> TrainingRow:
    """Return the result of the compiled `model` on the validation part."""
    found = model.evaluate(*held, batch_size=256, verbose=0, return_dict=True)
    model.reset_metrics()
    return TrainingRow(step=step, loss=loss, validation_loss=found["loss"], validation_accuracy=found["accuracy"])


def _fit_epochs(context: StepContext, model: keras.Model, data: TrainingData, settings: Training) -> list[TrainingRow]:
    """Train by epochs; keep the weights of the epoch with the highest validation accuracy, the first of equal ones."""
    epochs = settings.epochs or 1
    best = _BestWeights(context, epochs)
    loss_function, accuracy = loss_and_accuracy(
        label_smoothing=settings.label_smoothing, is_multi_label=data.is_multi_label
    )
    model.compile(optimizer=build_optimizer(settings), loss=loss_function, metrics=[accuracy])
    found = model.fit(
        (batch for batch in data.batches),  # Keras takes a generator, not any iterator
        steps_per_epoch=data.batches_per_epoch,
        epochs=epochs,
        validation_data=data.held,
        validation_batch_size=256,
        callbacks=[*build_callbacks(settings), best],
        shuffle=False,  # the batches are drawn at random already
        verbose=0,
    ).history
    model.set_weights(best.weights)
    context.log.info("kept the weights of epoch %d of %d", best.epoch + 1, len(found["loss"]))
    return [
        TrainingRow(
            step=(epoch + 1) * data.batches_per_epoch,
            loss=loss,
            validation_loss=held_loss,
            validation_accuracy=accuracy,
        )
        for epoch, (loss, held_loss, accuracy) in enumerate(
            zip(found["loss"], found["val_loss"], found["val_accuracy"], strict=True)
        )
    ]


class _BestWeights(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Notes the weights of the epoch with the highest validation accuracy, in memory, and the progress."""

    def __init__(self, context: StepContext, epochs: int) -> None:
        super().__init__()
        self.epoch = 0
        self.weights: list[Any] = []
        self._accuracy = -1.0
        self._context = context
        self._epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = logs or {}
        self._context.progress("epoch", epoch + 1, self._epochs)
        self._context.log.info(
            "epoch %d: loss %.3f, validation loss %.3f, accuracy %.3f",
            epoch + 1,
            found["loss"],
            found["val_loss"],
            found["val_accuracy"],
        )
        if found["val_accuracy"] > self._accuracy:
            self._accuracy, self.epoch, self.weights = found["val_accuracy"], epoch, self.model.get_weights()


def build_optimizer(settings: Training) -> keras.optimizers.Optimizer:
    """Return the optimizer in the settings; by default Adam with ``learning_rate``."""
    for name, arguments in (settings.optimizer or {}).items():
        return getattr(keras.optimizers, name)(**arguments)
    return keras.optimizers.Adam(learning_rate=settings.learning_rate)


def build_callbacks(settings: Training) -> list[keras.callbacks.Callback]:
    """Return the callbacks in the settings, in order."""
    found = []
    for name, arguments in settings.callbacks.items():
        if name in SCHEDULES:
            numbers = {key: value for key, value in arguments.items() if key != "verbose"}
            found.append(keras.callbacks.LearningRateScheduler(_rate_of_epoch(name, numbers)))
        else:
            found.append(getattr(keras.callbacks, name)(**arguments))
    return found


def _rate_of_epoch(name: str, arguments: dict[str, Any]) -> Any:
    return lambda epoch, _: learning_rate(name, arguments, epoch)
