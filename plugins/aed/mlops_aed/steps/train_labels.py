"""Train the network for clips of several labels: one sigmoid a class, binary cross-entropy."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from mlops_aed import architectures, network
from mlops_aed.augmentation import training_batches
from mlops_aed.clips import TRAIN, VALIDATION
from mlops_aed.config import DataAugmentation, FeatureExtraction, Preprocessing, Training
from mlops_aed.feature_store import open_features, read_classes, read_rows
from mlops_aed.multilabel import multi_hot
from mlops_aed.training_input import Ahead, MappedPatches

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
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
    folder = context.input("features")
    classes = read_classes(folder)
    patches, targets = _part(folder, TRAIN, moments=None)
    moments = patches.moments()
    patches, targets = _part(folder, TRAIN, moments=moments)
    model = architectures.build(settings.model, shape=(patches.shape[1], patches.shape[2]), classes=len(classes))
    model.layers[-1].activation = keras.activations.sigmoid
    batches = training_batches(
        patches,
        targets,
        settings=context.section("data_augmentation", DataAugmentation),
        batch_size=settings.batch_size,
        seed=context.seed,
    )
    context.log.info("%d weights; %d patches to train", model.count_params(), len(patches))
    with Ahead(batches) as ahead:
        history = _fit(context, model, ahead, _part(folder, VALIDATION, moments=moments))
    metadata = {
        "classes": classes,
        "is_multi_label": True,
        "mean": moments[0],
        "deviation": moments[1],
        "preprocessing": context.section("preprocessing", Preprocessing).model_dump(),
        "feature_extraction": context.section("feature_extraction", FeatureExtraction).model_dump(),
        "weights": int(model.count_params()),
    }
    network.save(model, context.output("model"), metadata)
    with (context.output("model") / "history.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("step", "loss", "validation_loss"))
        writer.writerows(history)


def _part(folder: Any, part: str, *, moments: tuple[float, float] | None) -> tuple[MappedPatches, Floats]:
    rows = read_rows(folder, part)
    mean, deviation = moments or (0.0, 1.0)
    patches = MappedPatches(open_features(folder), [row.index for row in rows], mean=mean, deviation=deviation)
    return patches, multi_hot((row.label for row in rows), read_classes(folder))


def _fit(
    context: StepContext,
    model: keras.Model,
    batches: Iterator[tuple[Floats, Floats]],
    held: tuple[MappedPatches, Floats],
) -> list[tuple[int, float, float]]:
    settings = context.section("training", Training)
    model.compile(
        optimizer=keras.optimizers.AdamW(
            learning_rate=keras.optimizers.schedules.CosineDecay(
                0.0, settings.steps, warmup_target=settings.learning_rate, warmup_steps=min(100, settings.steps // 10)
            ),
            weight_decay=settings.weight_decay,
        ),
        loss=keras.losses.BinaryCrossentropy(label_smoothing=settings.label_smoothing),
    )
    history: list[tuple[int, float, float]] = []
    best: tuple[float, int, list[Any]] = (float("inf"), 0, model.get_weights())
    for step in range(1, settings.steps + 1):
        loss = model.train_on_batch(*next(batches))
        context.progress("step", step, settings.steps)
        if step % _CHECK_EVERY and step < settings.steps:
            continue
        found = float(model.evaluate(held[0][:][..., None], held[1], batch_size=256, verbose=0))
        model.reset_metrics()
        history.append((step, float(loss), found))
        context.log.info("step %d: loss %.3f, validation loss %.3f", *history[-1])
        if found < best[0]:
            best = (found, step, model.get_weights())
        elif step - best[1] >= settings.patience:
            break
    model.set_weights(best[2])
    context.log.info("kept the weights of step %d", best[1])
    return history
