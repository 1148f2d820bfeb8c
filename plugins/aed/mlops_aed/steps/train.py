"""Step ``train``: the network, trained on the training part; the validation part chooses the weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from mlops_aed.config import DataAugmentation, FeatureExtraction, General, Preprocessing, Training
from mlops_aed.data.clips import TRAIN, VALIDATION
from mlops_aed.data.feature_store import open_features, read_classes, read_rows
from mlops_aed.evaluation.multilabel import multi_hot
from mlops_aed.models import architectures, foreign, network, yamnet
from mlops_aed.models.pretrained import ZOO_WEIGHTS, ZOO_WEIGHTS_SHA256, obtain, require_model
from mlops_aed.steps.scoring import write_validation
from mlops_aed.training import backbone as backbone_training
from mlops_aed.training.augmentation import training_batches
from mlops_aed.training.fitting import TrainingData, TrainingRow, fit, loss_and_accuracy, validated
from mlops_aed.training.inputs import Ahead, MappedPatches
from mlops_aed.training.levels import Levels
from mlops_core import write_history

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mlops_aed.data.feature_store import PatchRow
    from mlops_core import StepContext

    Floats = NDArray[np.float32]


def train(context: StepContext) -> None:
    """Write the network with the best validation loss, its metadata and ``history.csv``."""
    train_network(context, is_multi_label=False)


def train_network(context: StepContext, *, is_multi_label: bool) -> None:
    """Train as `train` does; with `is_multi_label` each class has its own probability."""
    settings = context.section("training", Training)
    keras.utils.set_random_seed(context.seed)
    tf.config.experimental.enable_op_determinism()
    folder = context.input("features")
    classes = read_classes(folder)
    patches = open_features(folder)
    model = _network(context, settings, shape=patches.shape[1:], classes=len(classes))
    if is_multi_label:
        model.layers[-1].activation = keras.activations.sigmoid
    if settings.model.name == "yamnet" and settings.model.pretrained:
        history, moments = _train_pretrained(context, model, settings, is_multi_label=is_multi_label), (0.0, 1.0)
    elif settings.model.name == "file":
        moments = (0.0, 1.0)
        history = _train_all(context, model, settings, moments=moments, is_multi_label=is_multi_label)
    else:
        moments = MappedPatches(patches, [row.index for row in _rows(context, TRAIN)]).moments()
        history = _train_all(context, model, settings, moments=moments, is_multi_label=is_multi_label)
    folder = context.output("model")
    _save(context, model, folder, moments=moments)
    write_history(folder, (row.to_history() for row in history))
    if context.has_output(VALIDATION) and not _has_fitted_head(settings):
        write_validation(context, folder)


def _has_fitted_head(settings: Training) -> bool:
    """Tell whether only the head is fitted, which ends with a fit to the validation part, too."""
    is_pretrained = settings.model.name == "yamnet" and settings.model.pretrained
    return is_pretrained and settings.epochs is None and not settings.fine_tune


def _network(context: StepContext, settings: Training, *, shape: tuple[int, int], classes: int) -> keras.Model:
    """Return the network to train; an existing one is read from its file."""
    if settings.model.name != "file":
        return architectures.build(settings.model, shape=shape, classes=classes)
    general = context.section("general", General)
    path = obtain(str(general.model_path), context.scratch, sha256=general.model_sha256, key="general.model_path")
    require_model(path, str(general.model_path), key="general.model_path")
    return foreign.load_for_training(path, shape=shape, classes=classes)


def _train_pretrained(
    context: StepContext, model: keras.Model, settings: Training, *, is_multi_label: bool
) -> list[TrainingRow]:
    """Fit the head, by epochs if they are set; then fine-tune all layers, if set.

    Without epochs and fine-tuning, the head is also fitted to the validation part, which decides nothing.
    """
    where, sha256 = settings.model.weights, settings.model.weights_sha256
    if where is None:
        where, sha256 = ZOO_WEIGHTS, ZOO_WEIGHTS_SHA256
    path = obtain(where, context.scratch, sha256=sha256, key="training.model.weights")
    require_model(path, where, key="training.model.weights")
    yamnet.load_pretrained(model, path)
    if settings.epochs is not None and not settings.fine_tune:
        for layer in model.layers[:-1]:
            layer.trainable = False
        return _train_all(context, model, settings, moments=(0.0, 1.0), is_multi_label=is_multi_label)
    if settings.fine_tune or context.has_output(VALIDATION):
        _fit_head(context, model, settings, TRAIN, is_multi_label=is_multi_label)
    if not settings.fine_tune and context.has_output(VALIDATION):  # before the head has seen this part
        judged = context.scratch / VALIDATION
        judged.mkdir()
        _save(context, model, judged, moments=(0.0, 1.0))
        write_validation(context, judged)
    if settings.fine_tune:
        backbone_training.freeze_statistics(model)
        return _train_all(context, model, settings, moments=(0.0, 1.0), is_multi_label=is_multi_label)
    _fit_head(context, model, settings, TRAIN, VALIDATION, is_multi_label=is_multi_label)
    loss, accuracy = loss_and_accuracy(label_smoothing=0.0, is_multi_label=is_multi_label)
    model.compile(loss=loss, metrics=[accuracy])
    held, targets = _part(context, VALIDATION, moments=(0.0, 1.0))
    row = validated(model, (held[:][..., None], targets), step=1, loss=math.nan)
    return [TrainingRow(step=1, loss=row.validation_loss, validation_loss=math.nan, validation_accuracy=math.nan)]


def _fit_head(context: StepContext, model: keras.Model, settings: Training, *parts: str, is_multi_label: bool) -> None:
    backbone_training.fit_head_of(
        context,
        model,
        _rows(context, *parts),
        classes=read_classes(context.input("features")),
        penalty=settings.head_penalty,
        is_multi_label=is_multi_label,
    )


def _train_all(
    context: StepContext,
    model: keras.Model,
    settings: Training,
    *,
    moments: tuple[float, float],
    is_multi_label: bool,
) -> list[TrainingRow]:
    patches, targets = _part(context, TRAIN, moments=moments)
    held, held_targets = _part(context, VALIDATION, moments=moments)
    context.log.info("%d weights; %d patches to train, %d to validate", model.count_params(), len(patches), len(held))
    batches = training_batches(
        patches,
        targets,
        settings=context.section("data_augmentation", DataAugmentation),
        batch_size=settings.batch_size,
        seed=context.seed,
        levels=Levels(
            power=context.section("feature_extraction", FeatureExtraction).power, mean=moments[0], deviation=moments[1]
        ),
    )
    with Ahead(batches) as ahead:
        data = TrainingData(
            batches=ahead,
            held=(held[:][..., None], held_targets),
            batches_per_epoch=max(1, len(patches) // settings.batch_size),
            is_multi_label=is_multi_label,
        )
        return fit(context, model, data, settings)


def _rows(context: StepContext, *parts: str) -> list[PatchRow]:
    return read_rows(context.input("features"), *parts, split=context.input("split"))


def _part(context: StepContext, part: str, *, moments: tuple[float, float]) -> tuple[MappedPatches, Floats]:
    folder = context.input("features")
    rows = _rows(context, part)
    mean, deviation = moments
    patches = MappedPatches(open_features(folder), [row.index for row in rows], mean=mean, deviation=deviation)
    return patches, multi_hot((row.label for row in rows), read_classes(folder))


def _save(context: StepContext, model: keras.Model, folder: Path, *, moments: tuple[float, float]) -> None:
    metadata = {
        "classes": read_classes(context.input("features")),
        "mean": moments[0],
        "deviation": moments[1],
        "preprocessing": context.section("preprocessing", Preprocessing).model_dump(),
        "feature_extraction": context.section("feature_extraction", FeatureExtraction).model_dump(),
        "weights": int(model.count_params()),
    }
    network.save(model, folder, metadata)
