"""Score every patch of the test part, with the quantized and the float model side by side where there are both."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from mlops_aed import model_folder
from mlops_aed.clips import TEST
from mlops_aed.feature_store import open_features, read_rows
from mlops_aed.litert import LiteRtModel
from mlops_aed.metrics import FLOAT_PREFIX, compute_metrics
from mlops_core.predictions import Prediction, Predictions, write_predictions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_aed.feature_store import PatchRow
    from mlops_core.steps import StepContext


def evaluate(context: StepContext) -> None:
    """Write one prediction a patch; log the lines from which an engine shows its metrics."""
    features = context.input("features")
    rows = read_rows(features, TEST)
    patches = np.asarray(open_features(features)[[row.index for row in rows]])
    folder = context.input("model")
    metadata = model_folder.read_metadata(folder)
    predictions = tuple(_predictions(folder, rows, patches))
    _write(context, metadata["classes"], predictions, facts=model_facts(folder, patches))


def compare(context: StepContext) -> None:
    """Write one prediction a patch and model: the quantized one's, and the float one's under another name."""
    features = context.input("features")
    rows = read_rows(features, TEST)
    patches = np.asarray(open_features(features)[[row.index for row in rows]])
    folder = context.input("model")
    metadata = model_folder.read_metadata(folder)
    predictions = (
        *_predictions(folder, rows, patches),
        *_predictions(context.input("float_model"), rows, patches, prefix=FLOAT_PREFIX),
    )
    _write(context, metadata["classes"], predictions, facts=model_facts(folder, patches))


def _predictions(
    folder: Path, rows: Sequence[PatchRow], patches: np.ndarray, *, prefix: str = ""
) -> Iterator[Prediction]:
    metadata = model_folder.read_metadata(folder)
    found = model_folder.scores(model_folder.open_scorer(folder), patches, metadata)
    for row, scores in zip(rows, found, strict=True):
        yield Prediction(
            sample=f"{prefix}{row.clip}",
            part=row.patch,
            group=row.group,
            label=row.label,
            scores=tuple(round(float(score), 6) for score in scores),
        )


def model_facts(folder: Path, patches: np.ndarray) -> dict[str, float]:
    """Return what the quantized model costs, and how much of the test patches its input cannot say."""
    path = folder / model_folder.QUANTIZED_FILE
    if not path.is_file():
        return {}
    metadata = model_folder.read_metadata(folder)
    model = LiteRtModel(path)
    normalised = model_folder.normalise(patches, metadata["mean"], metadata["deviation"])
    return {**asdict(model.cost()), "input_clipping_rate": round(model.clipping_rate(normalised), 8)}


def _write(
    context: StepContext, classes: Sequence[str], predictions: tuple[Prediction, ...], *, facts: dict[str, float]
) -> None:
    write_predictions(context.output("predictions"), classes, predictions, facts=facts)
    values = compute_metrics(Predictions(classes=tuple(classes), rows=predictions, facts=facts)).values
    context.log.info("Clip-level accuracy on test set : %.4f", values["clip_acc"].value)
    context.log.info("Patch-level accuracy on test set : %.4f", values["patch_acc"].value)
    if "float_clip_acc" in values:
        context.log.info("Clip-level Accuracy of float model = %.2f%%", 100 * values["float_clip_acc"].value)
        context.log.info("Clip-level Accuracy of quantized model = %.2f%%", 100 * values["clip_acc"].value)
