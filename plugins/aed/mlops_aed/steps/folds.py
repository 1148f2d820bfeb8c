"""Cross-validation: the split of each branch, and the evaluation of all of them together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mlops_aed.clips import write_split
from mlops_aed.config import MAX_FOLD, DatasetSection
from mlops_aed.labels import read_labels
from mlops_aed.metrics import FLOAT_PREFIX, FOLD_PREFIX, compute_metrics
from mlops_aed.splitting import assign_parts
from mlops_core.predictions import Predictions, read_predictions, write_predictions

if TYPE_CHECKING:
    from mlops_core.steps import StepContext


def _split(context: StepContext, *, fold: int) -> None:
    """Write the split in which `fold` is the test fold."""
    settings = context.section("dataset", DatasetSection).model_copy(update={"test_fold": fold, "folds": None})
    labelled = read_labels(context.input("dataset"), settings, context.log, seed=context.seed)
    clips = assign_parts(labelled, settings, seed=context.seed)
    write_split(context.output("split"), clips)
    context.log.info("test fold %d; clips: %s", fold, dict(Counter(clip.part for clip in clips)))


# A step names its code and takes no arguments, so each fold has a function of its own.
for _number in range(MAX_FOLD + 1):
    globals()[f"split_{_number}"] = partial(_split, fold=_number)


def evaluate(context: StepContext) -> None:
    """Write the predictions of all folds, each under its fold, and log the accuracy of each."""
    folds = context.section("dataset", DatasetSection).folds or ()
    found = {fold: read_predictions(context.input(f"fold-{fold}")) for fold in folds}
    rows = tuple(
        replace(row, sample=_of_fold(row.sample, fold))
        for fold, predictions in found.items()
        for row in predictions.rows
    )
    last = found[folds[-1]]
    write_predictions(context.output("predictions"), last.classes, rows, facts=last.facts)
    report = compute_metrics(Predictions(classes=last.classes, rows=rows, facts=last.facts))
    for name, value in report.notes.items():
        if "fold" in name:
            context.log.info("%s: %s", name, value)
    context.log.info("Clip-level accuracy on test set : %.4f", report.values["clip_acc"].value)
    context.log.info("Patch-level accuracy on test set : %.4f", report.values["patch_acc"].value)


def _of_fold(sample: str, fold: int) -> str:
    """Return ``float/fold-1/clip`` or ``fold-1/clip``."""
    prefix = FLOAT_PREFIX if sample.startswith(FLOAT_PREFIX) else ""
    return f"{prefix}{FOLD_PREFIX}{fold}/{sample.removeprefix(prefix)}"
