"""Train the network on the training part; stop, and choose the weights, by the validation part."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from mlops_aed import network
from mlops_aed.augmentation import training_batches
from mlops_aed.clips import TRAIN, VALIDATION
from mlops_aed.config import DataAugmentation, FeatureExtraction, Preprocessing, Training
from mlops_aed.feature_store import open_features, read_classes, read_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_core.steps import StepContext

    Floats = NDArray[np.float32]

_CHECK_EVERY = 50
"""Weight updates between two looks at the validation part."""


def train(context: StepContext) -> None:
    """Write the network with the best validation loss, its metadata and ``history.csv``."""
    settings = context.section("training", Training)
    keras.utils.set_random_seed(context.seed)
    tf.config.experimental.enable_op_determinism()
    features = context.input("features")
    classes = read_classes(features)
    patches, targets = _part(context, TRAIN, classes)
    mean, deviation = float(patches.mean(dtype=np.float64)), float(patches.std(dtype=np.float64)) or 1.0
    patches = network.normalise(patches, mean, deviation)
    held, held_targets = _part(context, VALIDATION, classes)
    held = network.normalise(held, mean, deviation)
    model = network.build(settings.model, shape=patches.shape[1:], classes=len(classes))
    context.log.info("%d weights; %d patches to train, %d to validate", model.count_params(), len(patches), len(held))
    batches = training_batches(
        patches,
        targets,
        settings=context.section("data_augmentation", DataAugmentation),
        batch_size=settings.batch_size,
        seed=context.seed,
    )
    history = _fit(context, model, batches, (held[..., None], held_targets), settings)
    _write(context, model, classes, history, mean=mean, deviation=deviation)


def _part(context: StepContext, part: str, classes: tuple[str, ...]) -> tuple[Floats, Floats]:
    folder = context.input("features")
    rows = read_rows(folder, part)
    patches = np.asarray(open_features(folder)[[row.index for row in rows]])
    targets = np.eye(len(classes), dtype=np.float32)[[classes.index(row.label) for row in rows]]
    return patches, targets


def _fit(
    context: StepContext, model: keras.Model, batches: Any, held: tuple[Floats, Floats], settings: Training
) -> list[tuple[int, float, float, float]]:
    model.compile(
        optimizer=keras.optimizers.AdamW(
            learning_rate=keras.optimizers.schedules.CosineDecay(
                0.0, settings.steps, warmup_target=settings.learning_rate, warmup_steps=min(100, settings.steps // 10)
            ),
            weight_decay=settings.weight_decay,
        ),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing),
        metrics=["accuracy"],
    )
    history: list[tuple[int, float, float, float]] = []
    best: tuple[float, int, list[Any]] = (float("inf"), 0, model.get_weights())
    for step in range(1, settings.steps + 1):
        loss = model.train_on_batch(*next(batches), return_dict=True)["loss"]
        context.progress("step", step, settings.steps)
        if step % _CHECK_EVERY and step < settings.steps:
            continue
        found = model.evaluate(*held, batch_size=256, verbose=0, return_dict=True)
        model.reset_metrics()
        history.append((step, float(loss), found["loss"], found["accuracy"]))
        context.log.info("step %d: loss %.3f, validation loss %.3f, accuracy %.3f", *history[-1])
        if found["loss"] < best[0]:
            best = (found["loss"], step, model.get_weights())
        elif step - best[1] >= settings.patience:
            context.log.info("no better validation loss for %d steps: stopped", step - best[1])
            break
    model.set_weights(best[2])
    context.log.info("kept the weights of step %d", best[1])
    return history


def _write(
    context: StepContext,
    model: keras.Model,
    classes: tuple[str, ...],
    history: list[tuple[int, float, float, float]],
    *,
    mean: float,
    deviation: float,
) -> None:
    folder = context.output("model")
    metadata = {
        "classes": classes,
        "mean": mean,
        "deviation": deviation,
        "preprocessing": context.section("preprocessing", Preprocessing).model_dump(),
        "feature_extraction": context.section("feature_extraction", FeatureExtraction).model_dump(),
        "weights": int(model.count_params()),
    }
    network.save(model, folder, metadata)
    with (folder / "history.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("step", "loss", "validation_loss", "validation_accuracy"))
        writer.writerows(history)
