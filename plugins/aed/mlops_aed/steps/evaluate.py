"""Score every patch of the test part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_aed import network
from mlops_aed.clips import TEST
from mlops_aed.feature_store import open_features, read_rows
from mlops_aed.metrics import compute_metrics
from mlops_core.predictions import Prediction, Predictions, write_predictions

if TYPE_CHECKING:
    from mlops_core.steps import StepContext


def evaluate(context: StepContext) -> None:
    """Write one prediction a patch; log the lines from which an engine shows its metrics."""
    features = context.input("features")
    rows = read_rows(features, TEST)
    model, metadata = network.load(context.input("model"))
    classes = tuple(metadata["classes"])
    patches = np.asarray(open_features(features)[[row.index for row in rows]])
    found = network.scores(model, patches, metadata)
    predictions = tuple(
        Prediction(
            sample=row.clip,
            part=row.patch,
            group=row.group,
            label=row.label,
            scores=tuple(round(float(score), 6) for score in scores),
        )
        for row, scores in zip(rows, found, strict=True)
    )
    write_predictions(context.output("predictions"), classes, predictions)
    values = compute_metrics(Predictions(classes=classes, rows=predictions)).values
    context.log.info("Clip-level accuracy on test set : %.4f", values["clip_acc"].value)
    context.log.info("Patch-level accuracy on test set : %.4f", values["patch_acc"].value)
