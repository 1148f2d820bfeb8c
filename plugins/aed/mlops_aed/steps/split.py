"""Assign each clip to training, validation or test."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mlops_aed.clips import assign_parts, read_labels, write_split
from mlops_aed.config import DatasetSection

if TYPE_CHECKING:
    from mlops_core.steps import StepContext


def split(context: StepContext) -> None:
    """Read the labels, split by fold and source recording, write ``split.csv``."""
    settings = context.section("dataset", DatasetSection)
    clips = assign_parts(read_labels(context.input("dataset"), settings, context.log), settings, seed=context.seed)
    write_split(context.output("split"), clips)
    context.log.info("clips: %s", dict(Counter(clip.part for clip in clips)))
