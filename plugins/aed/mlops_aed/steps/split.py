"""Step ``split``: the part of each clip: training, validation or test."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from mlops_aed.config import DatasetSection
from mlops_aed.data.clips import with_digests, write_split
from mlops_aed.data.labels import read_labels
from mlops_aed.data.splitting import assign_parts, explain_test_part, left_out_copies

if TYPE_CHECKING:
    from mlops_core import StepContext


def split(context: StepContext) -> None:
    """Read the labels, split by fold and source recording, write ``split.csv``."""
    settings = context.section("dataset", DatasetSection)
    labelled = read_labels(context.input("dataset"), settings, context.log, seed=context.seed)
    labelled = with_digests(labelled, context.input("dataset"))
    clips = assign_parts(labelled, settings, seed=context.seed)
    if left_out := left_out_copies(labelled, clips):
        context.log.warning("%s", left_out)
    if settings.strategy == "random":
        context.log.warning("strategy 'random': clips of one recording may be in several parts; scores may be too high")
    is_default = settings.test_split == DatasetSection().test_split
    explanation = explain_test_part(labelled, settings)
    context.log.log(
        logging.WARNING if "no effect" in explanation and not is_default else logging.INFO, "%s", explanation
    )
    write_split(context.output("split"), clips)
    context.log.info("clips: %s", dict(Counter(clip.part for clip in clips)))
