"""Score every picture of the test part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_core import Prediction, Predictions, SampleDescription, write_descriptions, write_predictions
from mlops_image_classification.data.describing import DESCRIPTION_NAMES, describe_picture
from mlops_image_classification.data.labelled import TEST
from mlops_image_classification.data.split_files import read_samples
from mlops_image_classification.metrics import compute_metrics, declared_metrics
from mlops_image_classification.model.batches import PartReader
from mlops_image_classification.model.classifier import Classifier

if TYPE_CHECKING:
    from mlops_core import StepContext


def evaluate(context: StepContext) -> None:
    """Write one prediction per picture; log the lines from which an engine reads the metrics."""
    samples = read_samples(context.input("split"), TEST)
    classifier = Classifier.load(context.input("model"))
    classes = tuple(classifier.metadata["classes"])
    reader = PartReader(
        folder=context.input("pictures"),
        samples=samples,
        classes=classes,
        size=classifier.metadata["preprocessing"]["image_size"],
    )
    rows: list[Prediction] = []
    described: list[SampleDescription] = []
    for images, _ in reader.scoring_batches():
        pixels = np.rint(np.asarray(images) * np.float32(255.0)).astype(np.uint8)
        for own, scores in zip(pixels, classifier.scores(images), strict=True):
            sample = samples[len(rows)]
            vector = describe_picture(own, scores)
            described.append(SampleDescription(sample=sample.name, group=sample.group, vector=vector))
            rows.append(Prediction(sample=sample.name, group=sample.group, label=sample.label, scores=scores))
        context.progress("picture", len(rows), len(samples))
    write_predictions(context.output("predictions"), classes, rows)
    write_descriptions(context.output("predictions"), DESCRIPTION_NAMES, described)
    report = compute_metrics(Predictions(classes=classes, rows=tuple(rows)), context.use_case)
    for metric in declared_metrics(context.use_case):
        context.log.info("%s on test set : %.4f", metric.title, report.values[metric.name].value)
