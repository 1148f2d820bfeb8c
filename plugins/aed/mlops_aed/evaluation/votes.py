"""Rows of predictions: the model and the fold that a row belongs to, and the vote of the patches of a clip.

One file of predictions may hold the rows of several models, which have their names, and of several test folds, whose
samples are called ``fold-3//clip``: a clip's own name never has an empty part.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlops_core import Prediction

FLOAT_MODEL = "float"
"""Name of the float model, if a quantized model is compared with it."""
ONNX_MODEL = "onnx"
"""Name of the exported float model."""
ONNX_INT8_MODEL = "onnx_int8"
"""Name of the exported model with 8-bit weights and activations."""
_MODELS = ("", FLOAT_MODEL, ONNX_MODEL, ONNX_INT8_MODEL)
_FOLD = re.compile(r"fold-(?P<fold>\d+)//(?P<clip>.+)", re.DOTALL)
"""Name of a sample of a cross-validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleName:
    """The parts of a sample's name.

    Attributes:
        fold: the number of the test fold; empty without cross-validation.
        clip: name of the clip.
    """

    fold: str
    clip: str


def sample_name(sample: str) -> SampleName:
    """Return the parts of a sample's name."""
    match = _FOLD.fullmatch(sample)
    return SampleName(fold=match["fold"], clip=match["clip"]) if match else SampleName(fold="", clip=sample)


def in_fold(clip: str, fold: int) -> str:
    """Return the name of a clip as a sample of a test fold."""
    return f"fold-{fold}//{clip}"


def rows_by_model(rows: Iterable[Prediction]) -> dict[str, list[Prediction]]:
    """Return the rows of each model by its name, the evaluated model, whose name is empty, first."""
    rows_of: defaultdict[str, list[Prediction]] = defaultdict(list)
    for row in rows:
        rows_of[row.model].append(row)
    return {model: rows_of[model] for model in _MODELS if model in rows_of}


def rows_by_fold(rows: Iterable[Prediction]) -> dict[str, list[Prediction]]:
    """Return the rows of each test fold, in the order of their numbers; empty without cross-validation."""
    rows_of: defaultdict[str, list[Prediction]] = defaultdict(list)
    for row in rows:
        fold = sample_name(row.sample).fold
        if fold:
            rows_of[fold].append(row)
    return {fold: rows_of[fold] for fold in sorted(rows_of, key=int)}


def clips_of(rows: Iterable[Prediction]) -> dict[str, list[Prediction]]:
    """Return the patches of each sample, for the rows of one model."""
    rows_of: defaultdict[str, list[Prediction]] = defaultdict(list)
    for row in rows:
        rows_of[row.sample].append(row)
    return dict(rows_of)


def best_class(scores: Sequence[float]) -> int:
    """Return the index of the highest score; the first of equal scores, so that ties are deterministic."""
    return max(range(len(scores)), key=lambda index: (scores[index], -index))


def vote(patches: Sequence[Prediction]) -> int:
    """Return the index of the class with the highest sum of scores over the patches of a clip (a soft vote)."""
    return best_class([sum(column) for column in zip(*(patch.scores for patch in patches), strict=True)])


def votes_of(rows: Iterable[Prediction]) -> Mapping[str, int]:
    """Return the class of each sample, for the rows of one model."""
    return {clip: vote(patches) for clip, patches in clips_of(rows).items()}
