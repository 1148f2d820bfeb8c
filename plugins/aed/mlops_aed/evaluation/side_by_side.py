"""Tables of an evaluation: models compared class by class, and the test folds of a cross-validation."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING

from mlops_aed.evaluation.votes import (
    FLOAT_MODEL,
    ONNX_INT8_MODEL,
    ONNX_MODEL,
    best_class,
    clips_of,
    rows_by_fold,
    votes_of,
)
from mlops_core import FactTable, MetricValue, proportion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core import Prediction

_TITLES = {"": "", FLOAT_MODEL: ", float", ONNX_MODEL: ", ONNX", ONNX_INT8_MODEL: ", ONNX int8"}
_DIGITS = 4


def agreement(rows: Sequence[Prediction], others: Sequence[Prediction]) -> MetricValue:
    """Return the share of clips for which two models predict the same class."""
    first, second = votes_of(rows), votes_of(others)
    return proportion(sum(second.get(clip) == answer for clip, answer in first.items()), len(first))


def class_table(rows: Sequence[Prediction], others: Sequence[Prediction], classes: Sequence[str]) -> FactTable:
    """Return for each class how many of its clips each model gets right, and on how many the two agree."""
    labels = {clip: str(patches[0].label) for clip, patches in clips_of(rows).items()}
    quantized, original = votes_of(rows), votes_of(others)
    by_class: defaultdict[str, list[str]] = defaultdict(list)
    for clip, label in labels.items():
        by_class[label].append(clip)
    return FactTable(
        title="Quantized and float model, class by class",
        columns=("class", "clips", "right, quantized", "right, float", "same class", "agreement"),
        rows=tuple(
            _class_row(name, by_class[name], index, (quantized, original))
            for index, name in enumerate(classes)
            if by_class[name]
        ),
    )


def _class_row(
    name: str, clips: Sequence[str], index: int, votes: tuple[Mapping[str, int], Mapping[str, int]]
) -> tuple[str | int | float, ...]:
    quantized, original = votes
    same = sum(quantized[clip] == original.get(clip) for clip in clips)
    right = (sum(answers.get(clip) == index for clip in clips) for answers in (quantized, original))
    return (name, len(clips), *right, same, round(same / len(clips), _DIGITS))


def fold_accuracies(rows: Sequence[Prediction], classes: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return clip and patch accuracy of each test fold; empty without cross-validation."""
    return {fold: _accuracies(members, classes) for fold, members in rows_by_fold(rows).items()}


def _accuracies(rows: Sequence[Prediction], classes: Sequence[str]) -> tuple[float, float]:
    index = {name: position for position, name in enumerate(classes)}
    clips = clips_of(rows)
    votes = votes_of(rows)
    right = sum(votes[clip] == index[str(patches[0].label)] for clip, patches in clips.items())
    hits = sum(best_class(row.scores) == index[str(row.label)] for row in rows)
    return right / len(clips), hits / len(rows)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (of a sample; 0 for a single value)."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def fold_table(models: Mapping[str, Sequence[Prediction]], classes: Sequence[str]) -> FactTable | None:
    """Return clip and patch accuracy of each test fold and model, with mean and deviation; None without folds."""
    accuracies = {model: fold_accuracies(rows, classes) for model, rows in models.items()}
    folds = rows_by_fold(models[""])
    if not folds:
        return None
    columns = [[accuracies[model][fold][level] for fold in folds] for model in models for level in (0, 1)]
    titles = [f"{level} accuracy{_TITLES[model]}" for model in models for level in ("clip", "patch")]
    rows: list[tuple[str | int | float, ...]] = [
        (fold, len(clips_of(fold_values)), len(fold_values), *(round(column[place], _DIGITS) for column in columns))
        for place, (fold, fold_values) in enumerate(folds.items())
    ]
    for place, name in enumerate(("mean", "standard deviation")):
        rows.append((name, "", "", *(round(spread(column)[place], _DIGITS) for column in columns)))
    return FactTable(title="Test folds", columns=("fold", "clips", "patches", *titles), rows=tuple(rows))
