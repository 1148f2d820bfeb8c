"""Detect the objects on every picture of the test part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import Predictions
from mlops_object_detection.data.splitting import TEST
from mlops_object_detection.declarations import declared_metrics
from mlops_object_detection.metrics import compute_metrics
from mlops_object_detection.model import network
from mlops_object_detection.model.detector import Detector
from mlops_object_detection.steps.detections import write_detections

if TYPE_CHECKING:
    from mlops_core import StepContext


def evaluate(context: StepContext) -> None:
    """Write one row per picture; log the lines from which an engine reads the metrics."""
    model, metadata = network.load(context.input("model"))
    classes, rows, facts = write_detections(
        context, Detector(model, metadata), metadata, part=TEST, output="predictions"
    )
    report = compute_metrics(Predictions(classes=classes, rows=tuple(rows), facts=facts, has_boxes=True))
    for metric in declared_metrics():
        context.log.info("%s on test set : %.4f", metric.title, report.values[metric.name].value)
