"""Rows of predictions: the model and the fold that a row belongs to, and the vote of the patches of a clip.

One file of predictions may hold the rows of several models and of several test folds; the sample's name tells which:
``clip``, ``float/clip``, ``onnx/clip``, ``fold-3/clip``, ``float/fold-3/clip``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlops_core import Prediction

FLOAT_PREFIX = "float/"
"""Prefix of the samples of the float model, if a quantized model is compared with it."""
ONNX_PREFIX = "onnx/"
"""Prefix of the samples of the exported float model."""
FOLD_PREFIX = "fold-"
"""Prefix of the samples of a cross-validation; the fold's number and ``/`` follow."""
_MODEL_PREFIXES = (FLOAT_PREFIX, ONNX_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleName:
    """The parts of a sample's name.

    Attributes:
        model: prefix of the model; empty for the evaluated one.
        fold: the number of the test fold; empty without cross-validation.
        clip: name of the clip.
    """

    model: str
    fold: str
    clip: str

    @property
    def tested(self) -> str:
        """The name without the model, by which the rows of two models are matched."""
        return f"{FOLD_PREFIX}{self.fold}/{self.clip}" if self.fold else self.clip


def sample_name(sample: str) -> SampleName:
    """Return the parts of a sample's name."""
    model = next((prefix for prefix in _MODEL_PREFIXES if sample.startswith(prefix)), "")
    rest = sample.removeprefix(model)
    head, separator, clip = rest.partition("/")
    fold = head.removeprefix(FOLD_PREFIX)
    if separator and head.startswith(FOLD_PREFIX) and fold.isdigit():
        return SampleName(model=model, fold=fold, clip=clip)
    return SampleName(model=model, fold="", clip=rest)


def in_fold(sample: str, fold: int) -> str:
    """Return the name of a sample with the prefix of a test fold."""
    name = sample_name(sample)
    return f"{name.model}{FOLD_PREFIX}{fold}/{name.clip}"


def rows_by_model(rows: Iterable[Prediction]) -> dict[str, list[Prediction]]:
    """Return the rows of each model by its prefix, the evaluated model first."""
    rows_of: defaultdict[str, list[Prediction]] = defaultdict(list)
    for row in rows:
        rows_of[sample_name(row.sample).model].append(row)
    return {model: rows_of[model] for model in ("", *_MODEL_PREFIXES) if model in rows_of}


def rows_by_fold(rows: Iterable[Prediction]) -> dict[str, list[Prediction]]:
    """Return the rows of each test fold, in the order of their numbers; empty without cross-validation."""
    rows_of: defaultdict[str, list[Prediction]] = defaultdict(list)
    for row in rows:
        fold = sample_name(row.sample).fold
        if fold:
            rows_of[fold].append(row)
    return {fold: rows_of[fold] for fold in sorted(rows_of, key=int)}


def clips_of(rows: Iterable[Prediction]) -> dict[str, list[Prediction]]:
    """Return the patches of each clip by the clip's name without the model."""
    rows_of: defaultdict[str, list[Prediction]] = defaultdict(list)
    for row in rows:
        rows_of[sample_name(row.sample).tested].append(row)
    return dict(rows_of)


def best_class(scores: Sequence[float]) -> int:
    """Return the index of the highest score; the first of equal scores, so that ties are deterministic."""
    return max(range(len(scores)), key=lambda index: (scores[index], -index))


def vote(patches: Sequence[Prediction]) -> int:
    """Return the index of the class with the highest sum of scores over the patches of a clip (a soft vote)."""
    return best_class([sum(column) for column in zip(*(patch.scores for patch in patches), strict=True)])


def votes_of(rows: Iterable[Prediction]) -> Mapping[str, int]:
    """Return the class of each clip by the clip's name without the model."""
    return {clip: vote(patches) for clip, patches in clips_of(rows).items()}
