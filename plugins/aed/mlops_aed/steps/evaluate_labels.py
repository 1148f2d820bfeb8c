"""Step ``evaluate`` for clips with several labels, with the model and, if it is quantized, its float model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_aed.audio.describing import describe_clips, description_names
from mlops_aed.data.clips import TEST
from mlops_aed.data.feature_store import open_features, read_rows, unscored
from mlops_aed.evaluation.multilabel import LABELS_FACT, clip_predictions, compute_metrics
from mlops_aed.evaluation.votes import FLOAT_MODEL
from mlops_aed.models import model_folder, scorers
from mlops_aed.steps.evaluate import model_facts
from mlops_core import Predictions, write_descriptions, write_left_out, write_predictions

if TYPE_CHECKING:
    from mlops_core import Prediction, StepContext


def evaluate(context: StepContext) -> None:
    """Write one prediction per clip and label; log the lines from which a runner may read metrics."""
    _score(context, {"": "model"})


def compare(context: StepContext) -> None:
    """Do the same with both models; rows of the float model have its name."""
    _score(context, {"": "model", FLOAT_MODEL: "float_model"})


def _score(context: StepContext, models: dict[str, str]) -> None:
    """Score with the models in the named inputs, each with its name; the first one is evaluated."""
    features = context.input("features")
    rows = read_rows(features, TEST, split=context.input("split"))
    patches = np.asarray(open_features(features)[[row.index for row in rows]])
    classes = tuple(model_folder.read_metadata(context.input("model"))["classes"])
    predictions: list[Prediction] = []
    for model, name in models.items():
        folder = context.input(name)
        scores = scorers.scores(scorers.open_scorer(folder), patches, model_folder.read_metadata(folder))
        predictions += clip_predictions(rows, scores, model=model)
    labels = sum(not prediction.model for prediction in predictions)
    facts = {
        LABELS_FACT: round(labels / len({row.clip for row in rows}), 4),
        **model_facts(context.input("model"), patches),
    }
    write_predictions(context.output("predictions"), classes, predictions, facts=facts)
    scored = (row.clip for row in rows)
    write_left_out(context.output("predictions"), unscored(context.input("split"), scored, features=features))
    names = description_names(patches.shape[1])
    write_descriptions(context.output("predictions"), names, describe_clips(rows, patches))
    values = compute_metrics(Predictions(classes=classes, rows=tuple(predictions), facts=facts)).values
    for name, value in values.items():
        context.log.info("%s on test set : %.4f", name, value.value)
    context.log.info("Mean average precision on test set : %.4f", values["map"].value)
    context.log.info("d-prime on test set : %.4f", values["d_prime"].value)
