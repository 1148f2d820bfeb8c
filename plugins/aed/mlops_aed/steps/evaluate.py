"""Step ``evaluate``: scores of every patch of the test part, by the model and, if it is quantized, its float model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from mlops_aed.audio.describing import describe_clips, description_names
from mlops_aed.data.clips import TEST
from mlops_aed.data.feature_store import unscored
from mlops_aed.evaluation import files as evaluation_files
from mlops_aed.evaluation.votes import FLOAT_MODEL, ONNX_INT8_MODEL, ONNX_MODEL
from mlops_aed.models import model_folder, scorers
from mlops_aed.models.litert import LiteRtModel
from mlops_aed.steps.scoring import classes_of, predictions_of, read_part
from mlops_core import Predictions, write_descriptions, write_left_out, write_predictions

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from mlops_aed.data.feature_store import PatchRow
    from mlops_core import StepContext


def evaluate(context: StepContext) -> None:
    """Write one prediction per patch and the figures; log the lines from which a runner may read metrics."""
    _evaluate(context, _scored(context))


def compare(context: StepContext) -> None:
    """Do the same with one prediction per patch and model; rows of the float model have its name."""
    _evaluate(context, _compared(context))


def _evaluate(context: StepContext, predictions: Predictions) -> None:
    split = context.input("split")
    evaluation_files.write(context, predictions, splits={"": split})
    scored = (row.sample for row in predictions.rows)
    write_left_out(context.output("predictions"), unscored(split, scored, features=context.input("features")))
    rows, patches = _test_part(context)
    names = description_names(patches.shape[1])
    write_descriptions(context.output("predictions"), names, describe_clips(rows, patches))


def score(context: StepContext) -> None:
    """Write one prediction per patch of the test fold of a cross-validation."""
    _write(context, _scored(context))


def score_both(context: StepContext) -> None:
    """Write one prediction per patch and model of the test fold of a cross-validation."""
    _write(context, _compared(context))


def _write(context: StepContext, predictions: Predictions) -> None:
    write_predictions(context.output("predictions"), predictions.classes, predictions.rows, facts=predictions.facts)


def _scored(context: StepContext) -> Predictions:
    rows, patches = _test_part(context)
    folder = context.input("model")
    predictions = tuple(predictions_of(scorers.open_scorer(folder), folder, rows, patches))
    return Predictions(classes=classes_of(folder), rows=predictions, facts=model_facts(folder, patches))


def _compared(context: StepContext) -> Predictions:
    rows, patches = _test_part(context)
    quantized, original = context.input("model"), context.input("float_model")
    predictions = [
        *predictions_of(scorers.open_scorer(quantized), quantized, rows, patches),
        *predictions_of(scorers.open_scorer(original), original, rows, patches, model=FLOAT_MODEL),
    ]
    for model, exported in _exports(quantized).items():
        from mlops_aed.models.onnx_models import OnnxModel

        predictions += predictions_of(OnnxModel(exported), quantized, rows, patches, model=model)
    return Predictions(classes=classes_of(quantized), rows=tuple(predictions), facts=model_facts(quantized, patches))


def _test_part(context: StepContext) -> tuple[list[PatchRow], np.ndarray]:
    return read_part(context, TEST)


def model_facts(folder: Path, patches: np.ndarray) -> dict[str, float]:
    """Return the cost of the quantized model, and the share of input values that it clips."""
    path = folder / model_folder.QUANTIZED_FILE
    if not path.is_file():
        return {}
    metadata = model_folder.read_metadata(folder)
    model = LiteRtModel(path)
    normalised = scorers.normalise(patches, metadata["mean"], metadata["deviation"])
    facts = {**asdict(model.cost()), "input_clipping_rate": round(model.clipping_rate(normalised), 8)}
    sizes = {f"{model}_bytes": exported.stat().st_size for model, exported in _exports(folder).items()}
    return {**facts, **sizes}


def _exports(folder: Path) -> dict[str, Path]:
    """Return the exported files of a quantized model by the names of their rows."""
    files = {
        ONNX_MODEL: folder / model_folder.ONNX_FILE,
        ONNX_INT8_MODEL: folder / model_folder.QUANTIZED_ONNX_FILE,
    }
    return {model: path for model, path in files.items() if path.is_file()}
