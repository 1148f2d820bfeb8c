"""Training loops: weight updates until the validation loss stops falling, or epochs with Keras's callbacks.

Which optimizer, callback and schedule, and with which arguments, was checked by `mlops_aed.training.config`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import keras

from mlops_aed.training.schedules import SCHEDULES, learning_rate
from mlops_core import HistoryRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mlops_aed.config import Training
    from mlops_core import StepContext

    Floats = NDArray[np.float32]

_CHECK_EVERY = 50
"""Weight updates between two checks of the validation part, at most."""
_AVERAGE_SHARE = 0.1
"""How far the running average of the weights looks back, as a share of all updates."""
_WARM_UP_SHARE = 0.1
"""Share of all updates in which the learning rate rises; at most `_LONGEST_WARM_UP` updates."""
_LONGEST_WARM_UP = 100


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
    """Train `model` in place, by epochs where the settings count them, else by weight updates."""
    if settings.epochs is not None:
        return _fit_epochs(context, model, data, settings)
    return _fit_steps(context, model, data, settings)


def _fit_steps(context: StepContext, model: keras.Model, data: TrainingData, settings: Training) -> list[TrainingRow]:
    """Train for `settings.steps` updates at most; keep the running average with the lowest validation loss.

    The average is validated and kept: at a learning rate that is still high, single weights jump by more than a small
    validation part can resolve. Source: B. Polyak and A. Juditsky, Acceleration of stochastic approximation by
    averaging, SIAM J. Control Optim. 30 (1992).
    """
    checks = math.ceil(settings.steps / _CHECK_EVERY)
    updates = settings.steps // checks  # between two checks
    total = checks * updates
    optimizer = keras.optimizers.AdamW(
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        use_ema=True,
        ema_momentum=max(0.0, 1 - 1 / (_AVERAGE_SHARE * total)),
    )
    loss_function, accuracy = loss_and_accuracy(
        label_smoothing=settings.label_smoothing, is_multi_label=data.is_multi_label
    )
    model.compile(optimizer=optimizer, loss=loss_function, metrics=[accuracy])
    optimizer.build(model.trainable_variables)  # else Keras traces the first update twice, which takes a second
    stop = keras.callbacks.EarlyStopping(patience=math.ceil(settings.patience / updates), restore_best_weights=True)
    callbacks = [_Pace(context, settings, total), keras.callbacks.SwapEMAWeights(swap_on_epoch=True), stop]
    logs = _run(model, data, epochs=checks, updates=updates, callbacks=callbacks)
    if stop.stopped_epoch:
        context.log.info("stopped: the validation loss did not fall for %d steps", stop.wait * updates)
    context.log.info("kept the weights averaged up to step %d", (stop.best_epoch + 1) * updates)
    return _history(logs, updates=updates)


class _Pace(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Sets the learning rate of each update, a warm-up and then a cosine, and reports progress.

    Keras's `CosineDecay` gives the same rates, but is traced anew for each weight: a second and a half at every start.
    """

    def __init__(self, context: StepContext, settings: Training, total: int) -> None:
        super().__init__()
        self._context = context
        self._peak = settings.learning_rate
        self._warm_up = min(_LONGEST_WARM_UP, int(total * _WARM_UP_SHARE))
        self._total = total
        self._done = 0

    def on_train_batch_begin(self, *_: Any, **__: Any) -> None:
        self.model.optimizer.learning_rate = self._rate()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self._done += 1
        self._context.progress("step", self._done, self._total)

    def on_epoch_end(self, _: int, logs: dict[str, float] | None = None) -> None:
        _log(self._context, f"step {self._done}", logs or {})

    def _rate(self) -> float:
        if self._done < self._warm_up:
            return self._peak * self._done / self._warm_up
        share = (self._done - self._warm_up) / (self._total - self._warm_up)
        return self._peak * 0.5 * (1 + math.cos(math.pi * share))


def validated(model: keras.Model, held: tuple[Floats, Floats], *, step: int, loss: float) -> TrainingRow:
    """Return what the compiled `model` gives for the validation part."""
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
    callbacks = [*build_callbacks(settings), best]
    logs = _run(model, data, epochs=epochs, updates=data.batches_per_epoch, callbacks=callbacks)
    model.set_weights(best.weights)
    history = _history(logs, updates=data.batches_per_epoch)
    context.log.info("kept the weights of epoch %d of %d", best.epoch + 1, len(history))
    return history


def _run(
    model: keras.Model,
    data: TrainingData,
    *,
    epochs: int,
    updates: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, list[float]]:
    """Train the compiled `model`, `updates` an epoch; return Keras's history."""
    found = model.fit(
        (batch for batch in data.batches),  # Keras takes a generator, not any iterator
        steps_per_epoch=updates,
        epochs=epochs,
        validation_data=data.held,
        validation_batch_size=256,
        callbacks=list(callbacks),
        shuffle=False,  # the batches are drawn at random already
        verbose=0,
    )
    return cast("dict[str, list[float]]", found.history)


def _log(context: StepContext, moment: str, logs: dict[str, float]) -> None:
    context.log.info(
        "%s: loss %.3f, validation loss %.3f, accuracy %.3f",
        moment,
        logs["loss"],
        logs["val_loss"],
        logs["val_accuracy"],
    )


def _history(logs: dict[str, list[float]], *, updates: int) -> list[TrainingRow]:
    columns = zip(logs["loss"], logs["val_loss"], logs["val_accuracy"], strict=True)
    return [
        TrainingRow(step=(epoch + 1) * updates, loss=loss, validation_loss=held_loss, validation_accuracy=accuracy)
        for epoch, (loss, held_loss, accuracy) in enumerate(columns)
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
        _log(self._context, f"epoch {epoch + 1}", found)
        if found["val_accuracy"] > self._accuracy:
            self._accuracy, self.epoch, self.weights = found["val_accuracy"], epoch, self.model.get_weights()


def build_optimizer(settings: Training) -> keras.optimizers.Optimizer:
    """Return the optimizer that the settings name; Adam with ``learning_rate`` where they name none."""
    for name, arguments in (settings.optimizer or {}).items():
        return getattr(keras.optimizers, name)(**arguments)
    return keras.optimizers.Adam(learning_rate=settings.learning_rate)


def build_callbacks(settings: Training) -> list[keras.callbacks.Callback]:
    """Return the callbacks that the settings name, in their order."""
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
