"""Score the test clips of several labels each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_aed import network
from mlops_aed.clips import TEST
from mlops_aed.feature_store import open_features, read_rows
from mlops_aed.multilabel import LABELS_FACT, clip_predictions, compute_metrics
from mlops_aed.training_input import MappedPatches
from mlops_core.predictions import Predictions, write_predictions

if TYPE_CHECKING:
    from mlops_core.steps import StepContext


def evaluate(context: StepContext) -> None:
    """Write one prediction a clip and label; log the lines from which an engine shows its metrics."""
    folder = context.input("features")
    rows = read_rows(folder, TEST)
    model, metadata = network.load(context.input("model"))
    patches = MappedPatches(
        open_features(folder),
        [row.index for row in rows],
        mean=metadata["mean"],
        deviation=metadata["deviation"],
    )
    scores = model.predict(patches[:][..., None], batch_size=256, verbose=0)
    predictions = tuple(clip_predictions(rows, scores))
    classes = tuple(metadata["classes"])
    facts = {LABELS_FACT: round(len(predictions) / len({row.clip for row in rows}), 4)}
    write_predictions(context.output("predictions"), classes, predictions, facts=facts)
    values = compute_metrics(Predictions(classes=classes, rows=predictions, facts=facts)).values
    context.log.info("Mean average precision on test set : %.4f", values["map"].value)
    context.log.info("d-prime on test set : %.4f", values["d_prime"].value)
