"""Cross-validation: the splits of all branches, and their joint evaluation."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_aed.config import DatasetSection
from mlops_aed.data.clips import with_digests, write_split
from mlops_aed.data.feature_store import unscored
from mlops_aed.data.labels import read_labels
from mlops_aed.data.splitting import assign_parts, left_out_copies
from mlops_aed.evaluation import files as evaluation_files
from mlops_aed.evaluation.votes import in_fold
from mlops_core import Predictions, StepError, read_predictions, write_left_out

if TYPE_CHECKING:
    from mlops_core import StepContext


def split(context: StepContext) -> None:
    """Write for each fold the split in which it is the test fold, and the clips without parts.

    The clips held out for early stopping differ from fold to fold and are never from the test fold.
    """
    settings = context.section("dataset", DatasetSection)
    labelled = read_labels(context.input("dataset"), settings, context.log, seed=context.seed)
    labelled = with_digests(labelled, context.input("dataset"))
    for fold in settings.folds or ():
        single = settings.model_copy(update={"test_fold": fold, "folds": None})
        clips = assign_parts(labelled, single, seed=context.seed)
        if left_out := left_out_copies(labelled, clips):
            context.log.warning("test fold %d: %s", fold, left_out)
        write_split(context.output(f"fold-{fold}"), clips)
        context.log.info("test fold %d; clips: %s", fold, dict(Counter(clip.part for clip in clips)))
    write_split(context.output("clips"), [replace(clip, part="") for clip in labelled])


def evaluate(context: StepContext) -> None:
    """Write the predictions of all folds, with the prefix of the fold, and log the accuracy of each."""
    folds = context.section("dataset", DatasetSection).folds or ()
    predictions_of = {fold: read_predictions(context.input(f"fold-{fold}")) for fold in folds}
    if len({predictions.classes for predictions in predictions_of.values()}) > 1:
        raise StepError("the folds have different classes")
    rows = tuple(
        replace(row, sample=in_fold(row.sample, fold))
        for fold, predictions in predictions_of.items()
        for row in predictions.rows
    )
    facts = {
        name: max(predictions.facts[name] for predictions in predictions_of.values())
        for name in predictions_of[folds[-1]].facts
    }
    evaluation_files.write(
        context,
        Predictions(classes=predictions_of[folds[-1]].classes, rows=rows, facts=facts),
        splits={str(fold): context.input(f"split-{fold}") for fold in folds},
    )
    left_out = {
        in_fold(clip, fold): reason
        for fold, predictions in predictions_of.items()
        for clip, reason in unscored(context.input(f"split-{fold}"), (row.sample for row in predictions.rows)).items()
    }
    write_left_out(context.output("predictions"), left_out)
