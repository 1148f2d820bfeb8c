"""Train the network on the training part; stop and select the weights by the validation part."""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from mlops_core import HistoryRow, Prediction, StepError, write_history, write_predictions
from mlops_image_classification.config import DataAugmentation, Preprocessing, Training
from mlops_image_classification.data.labelled import TRAIN, VALIDATION
from mlops_image_classification.data.split_files import read_samples
from mlops_image_classification.data.splitting import of_part
from mlops_image_classification.model import network
from mlops_image_classification.model.batches import PartReader, channel_statistics
from mlops_image_classification.model.calibration import best_temperature
from mlops_image_classification.model.classifier import Classifier
from mlops_image_classification.model.fitting import Batches, EpochRecord, Fitter, Phase
from mlops_image_classification.model.kernel_classifier import KernelClassifier
from mlops_image_classification.model.transfer import final_phase, phases, set_trainable

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core import StepContext

HYPERPARAMETERS_FILE = "hyperparameters.json"
_MEASURED = ("loss", "validation_loss", "validation_accuracy")
_SQUARE_ROOT = "sqrt"


def train(context: StepContext) -> None:
    """Write the network with the best validation loss, its metadata, hyperparameters and history."""
    keras.utils.set_random_seed(context.seed)
    tf.config.experimental.enable_op_determinism()
    settings = context.section("training", Training)
    training, validation = _reader(context, TRAIN), _reader(context, VALIDATION)
    both = _reader(context, TRAIN, VALIDATION)
    mean, deviation = channel_statistics(training)
    model = network.build(
        settings.model, size=training.size, classes=len(training.classes), mean=mean, deviation=deviation
    )
    context.log.info(
        "%d weights; %d training pictures, %d validation pictures",
        model.count_params(),
        len(training.samples),
        len(validation.samples),
    )
    fitter = Fitter(model, settings=settings, class_weights=class_weights(training, settings.class_weights))
    last, epochs = _fit(context, fitter, training, validation)
    judged = Classifier.of(model, _kernel(training, settings), settings)
    temperature = _temperature(judged, validation)
    metadata = {
        "classes": training.classes,
        "use_case": context.use_case,
        "preprocessing": context.section("preprocessing", Preprocessing).model_dump(exclude={"shards"}),
        "temperature": temperature,
        "weights": int(model.count_params()),
    }
    if context.has_output(VALIDATION):  # before the last phase, which also trains on the validation part
        _write_validation(context.output(VALIDATION), judged.with_metadata(metadata), validation)
    kernel = judged.kernel
    if (phase := final_phase(settings, last, epochs=epochs)) is not None:
        batches = _batches(context, both, validation=None)
        _run_phase(context, fitter, phase, batches, planned=len(fitter.history) + phase.epochs)
        kernel = _kernel(both, settings)
    context.log.info("temperature of the scores: %.3f", temperature)
    folder = context.output("model")
    Classifier.of(model, kernel, settings).with_metadata(metadata).save(folder)
    _write_history(folder, fitter.history)
    (folder / HYPERPARAMETERS_FILE).write_text(_hyperparameters(context), encoding="utf-8")


def _reader(context: StepContext, *parts: str) -> PartReader:
    samples = read_samples(context.input("split"))
    return PartReader(
        folder=context.input("pictures"),
        samples=of_part(samples, *parts),
        classes=tuple(sorted({sample.label for sample in samples})),
        size=context.section("preprocessing", Preprocessing).image_size,
    )


def _batches(context: StepContext, training: PartReader, *, validation: PartReader | None) -> Batches:
    settings = context.section("training", Training)
    batch_size = min(settings.batch_size, len(training.samples))
    endless = training.training_batches(
        batch_size=batch_size,
        seed=context.seed,
        settings=context.section("data_augmentation", DataAugmentation),
        cache_mb=settings.cache_mb,
    )
    return Batches(
        training=iter(endless),
        per_epoch=len(training.samples) // batch_size,
        validation=None if validation is None else validation.scoring_batches().cache(),
    )


def _fit(context: StepContext, fitter: Fitter, training: PartReader, validation: PartReader) -> tuple[Phase, int]:
    """Run the phases with validation; return the last one and the number of epochs that it took."""
    planned = phases(context.section("training", Training))
    total = sum(phase.epochs for phase in planned)
    batches = _batches(context, training, validation=validation)
    for phase in planned:
        before = len(fitter.history)
        _run_phase(context, fitter, phase, batches, planned=total)
    return planned[-1], len(fitter.history) - before


def _run_phase(context: StepContext, fitter: Fitter, phase: Phase, batches: Batches, *, planned: int) -> None:
    def report(record: EpochRecord) -> None:
        if not np.isfinite(record.loss):
            raise StepError(f"epoch {record.epoch}: the loss is {record.loss}; lower training.learning_rate")
        context.progress("epoch", len(fitter.history), planned)
        context.log.info("%s, epoch %d: loss %.3f, validation loss %.3f, accuracy %.3f", *astuple(record))

    set_trainable(fitter.model, phase, trained_share=context.section("training", Training).fine_tuning.trained_share)
    best = fitter.fit(phase, batches, on_epoch=report)
    context.log.info("%s: kept the weights of epoch %d of %d", phase.name, best, phase.epochs)


def _kernel(training: PartReader, settings: Training) -> KernelClassifier | None:
    """Return the classifier of descriptors, if it has a share of the scores."""
    if not settings.kernel_share:
        return None
    return KernelClassifier.fit(
        training.scoring_batches().as_numpy_iterator(),
        count=len(training.samples),
        is_mirrored=settings.mirrored_scores,
    )


def _temperature(classifier: Classifier, validation: PartReader) -> float:
    scores, labels = [], []
    for images, targets in validation.scoring_batches():
        scores.append(classifier.probabilities(images))
        labels.append(np.argmax(targets, axis=1))
    return best_temperature(np.concatenate(scores), np.concatenate(labels))


def _write_validation(folder: Path, classifier: Classifier, validation: PartReader) -> None:
    """Write one prediction per validation picture, by which the trials of a search are compared."""
    scores = (each for images, _ in validation.scoring_batches() for each in classifier.scores(images))
    rows = (
        Prediction(sample=sample.name, group=sample.group, label=sample.label, scores=each)
        for sample, each in zip(validation.samples, scores, strict=True)
    )
    write_predictions(folder, validation.classes, rows)


def class_weights(training: PartReader, kind: str) -> np.ndarray:
    """Return the factor of the loss per class, (classes,); the mean over the pictures is 1.

    Args:
        training: the training part.
        kind: ``none`` for 1, ``balanced`` for the inverse of the class's number of pictures, ``sqrt`` for the inverse
            of its square root.
    """
    if kind == "none":
        return np.ones(len(training.classes))
    labels = [sample.label for sample in training.samples]
    counts = np.array([labels.count(name) for name in training.classes], np.float64)
    factors = 1.0 / (np.sqrt(counts) if kind == _SQUARE_ROOT else counts)
    return np.asarray(factors * counts.sum() / (factors * counts).sum())


def _write_history(folder: Path, history: list[EpochRecord]) -> None:
    """Write one row per epoch; epochs are counted through all phases, so that the curves continue."""
    rows = (
        HistoryRow(step=epoch, values={name: getattr(record, name) for name in _MEASURED})
        for epoch, record in enumerate(history, 1)
    )
    write_history(folder, rows, step_name="epoch")


def _hyperparameters(context: StepContext) -> str:
    """Return all settings of the training as a flat JSON object whose values are strings, as engines log them."""
    sections = {
        "training": context.section("training", Training),
        "data_augmentation": context.section("data_augmentation", DataAugmentation),
        "preprocessing": context.section("preprocessing", Preprocessing),
    }
    flat = {"seed": str(context.seed)}
    for section in sections.values():
        flat |= _flattened(section.model_dump(mode="json", exclude={"shards"}))
    return json.dumps(flat, indent=2, sort_keys=True) + "\n"


def _flattened(values: dict[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flattened(value, prefix=f"{prefix}{name}_")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return flat
