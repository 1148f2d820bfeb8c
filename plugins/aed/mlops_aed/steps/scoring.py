"""Scores of the patches of one part of the split, by a model: what training and evaluation share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_aed.data.clips import VALIDATION
from mlops_aed.data.feature_store import open_features, read_rows
from mlops_aed.models import model_folder, scorers
from mlops_core import Prediction, write_predictions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_aed.data.feature_store import PatchRow
    from mlops_aed.models.scorers import Scorer
    from mlops_core import StepContext


def write_validation(context: StepContext, model: Path) -> None:
    """Write one prediction per patch of the validation part, by which the trials of a search are compared."""
    rows, patches = read_part(context, VALIDATION)
    predictions = predictions_of(scorers.open_scorer(model), model, rows, patches)
    write_predictions(context.output(VALIDATION), classes_of(model), predictions)


def read_part(context: StepContext, part: str) -> tuple[list[PatchRow], np.ndarray]:
    """Return the rows of a part and their patches, shape (patches, mels, frames)."""
    features = context.input("features")
    rows = read_rows(features, part, split=context.input("split"))
    return rows, np.asarray(open_features(features)[[row.index for row in rows]])


def classes_of(folder: Path) -> tuple[str, ...]:
    """Return the class names of a model in the order of its scores."""
    return tuple(model_folder.read_metadata(folder)["classes"])


def predictions_of(
    scorer: Scorer, folder: Path, rows: Sequence[PatchRow], patches: np.ndarray, *, model: str = ""
) -> Iterator[Prediction]:
    """Yield one prediction per patch."""
    all_scores = scorers.scores(scorer, patches, model_folder.read_metadata(folder))
    for row, scores in zip(rows, all_scores, strict=True):
        yield Prediction(
            sample=row.clip,
            part=row.patch,
            group=row.group,
            label=row.label,
            scores=tuple(round(float(score), 6) for score in scores),
            model=model,
        )
