"""What an AED model is measured by: accuracy of clips and of patches; of a quantized one also its cost and its loss."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING

from mlops_core.conditions import AllOf, Comparison, Gate, Operator
from mlops_core.metrics import (
    ConfusionMatrix,
    Direction,
    Metric,
    MetricReport,
    MetricValue,
    Unit,
    bootstrap_by_group,
    proportion,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_aed.config import AedConfig
    from mlops_core.predictions import Prediction, Predictions

_SECTION = "multiclass_classification_metrics"
_COST = "model_cost"
CLIP_THRESHOLD = "q_clip_level_acc_threshold"
PATCH_THRESHOLD = "q_patch_level_acc_threshold"
FLOAT_PREFIX = "float/"
"""Begins the sample of a row that the float model gave, where a quantized one is compared with it."""
FOLD_PREFIX = "fold-"
"""Begins the sample of a row of a cross-validation; the fold's number and ``/`` follow."""


def _accuracy(name: str, title: str, description: str, *, job_name: str = "", log_regex: str = "") -> Metric:
    return Metric(
        name=name,
        section=_SECTION,
        unit=Unit.FRACTION,
        minimum=0.0,
        maximum=1.0,
        direction=Direction.HIGHER,
        title=title,
        job_name=job_name,
        log_regex=log_regex,
        description=description,
    )


METRICS = (
    _accuracy(
        "clip_acc",
        "Clip accuracy",
        "Share of test clips whose summed patch scores are highest for the true class.",
        job_name="clip:accuracy",
        log_regex=r"Clip-level accuracy on test set : ([0-9\\.]+)",
    ),
    _accuracy(
        "patch_acc",
        "Patch accuracy",
        "Share of test patches whose score is highest for the true class.",
        job_name="patch:accuracy",
        log_regex=r"Patch-level accuracy on test set : ([0-9\\.]+)",
    ),
)


def _drop(level: str) -> Metric:
    return Metric(
        name=f"int8_{level}_acc_drop",
        section=_SECTION,
        unit=Unit.FRACTION,
        minimum=-1.0,
        maximum=1.0,
        direction=Direction.LOWER,
        title=f"{level.capitalize()} accuracy lost by quantization",
        description=f"{level.capitalize()} accuracy of the float model less that of the quantized one.",
    )


_COMPARISON = (
    _accuracy("float_clip_acc", "Clip accuracy, float", "Clip accuracy of the model before quantization."),
    _accuracy("float_patch_acc", "Patch accuracy, float", "Patch accuracy of the model before quantization."),
    _drop("clip"),
    _drop("patch"),
    _accuracy("clip_agreement", "Agreement", "Share of test clips to which both models give the same class."),
)


_FOLDS = (
    _accuracy("fold_clip_acc_mean", "Clip accuracy, mean of folds", "Mean of the folds' clip accuracies."),
    Metric(
        name="fold_clip_acc_sd",
        section=_SECTION,
        unit=Unit.FRACTION,
        minimum=0.0,
        maximum=1.0,
        direction=Direction.LOWER,
        title="Clip accuracy, spread of folds",
        description="Standard deviation of the folds' clip accuracies.",
    ),
)


def _cost(name: str, title: str, description: str, *, unit: Unit = Unit.NONE, maximum: float = float("inf")) -> Metric:
    return Metric(
        name=name,
        section=_COST,
        unit=unit,
        minimum=0.0,
        maximum=maximum,
        direction=Direction.LOWER,
        title=title,
        description=description,
    )


COSTS = (
    _cost("model_flash_kib", "Flash, KiB", "Size of the .tflite file."),
    _cost("weights_kib", "Weights, KiB", "Size of the constants in it."),
    _cost("activations_kib", "Activations, KiB", "Largest sum of tensors alive at once, an estimate of RAM."),
    _cost("mega_macs", "Million MACs", "Multiply-accumulates for one patch."),
    _cost(
        "input_clipping_rate",
        "Input clipping",
        "Share of input values of the test patches that the input's type cannot say.",
        unit=Unit.FRACTION,
        maximum=1.0,
    ),
)
_KIB = 1024


def declared_metrics(config: AedConfig) -> tuple[Metric, ...]:
    """Return the metrics of a run with this configuration."""
    has_costs = config.general.is_quantized or str(config.general.model_path).endswith(".tflite")
    is_compared = config.general.is_quantized
    return (
        *METRICS,
        *(_FOLDS if config.dataset.folds else ()),
        *(_COMPARISON if is_compared else ()),
        *(COSTS if has_costs else ()),
    )


def gate(config: AedConfig) -> Gate:
    """Return: both accuracies reach their thresholds; a quantized model keeps to its limits, where they are set."""
    limits = config.quantization
    clauses = [
        Comparison(
            metric="clip_acc",
            operator=Operator.AT_LEAST,
            threshold=CLIP_THRESHOLD,
            message="Execution failed due to clip level acc <",
        ),
        Comparison(
            metric="patch_acc",
            operator=Operator.AT_LEAST,
            threshold=PATCH_THRESHOLD,
            message="Execution failed due to patch level acc <",
        ),
    ]
    if config.general.is_quantized:
        for metric, threshold in (
            ("int8_clip_acc_drop", limits.max_accuracy_drop),
            ("model_flash_kib", limits.max_flash_kib),
        ):
            if threshold is not None:
                clauses.append(Comparison(metric=metric, operator=Operator.AT_MOST, threshold=threshold))
    return Gate(AllOf(tuple(clauses)))


def best_class(scores: Sequence[float]) -> int:
    """Return the index of the highest score; of equal ones the first, so that ties do not depend on chance."""
    return max(range(len(scores)), key=lambda index: (scores[index], -index))


def compute_metrics(predictions: Predictions) -> MetricReport:
    """Return clip and patch accuracy with their confusion matrices, and the comparison with a float model.

    A clip's class is the highest sum of its patches' scores (a soft vote). The interval of the clip accuracy is
    Wilson's; that of the patch accuracy resamples source recordings, for patches of one are not independent.
    """
    rows = [row for row in predictions.rows if not row.sample.startswith(FLOAT_PREFIX)]
    report = _of_one_model(rows, predictions.classes)
    values = {**report.values, **cost_values(predictions)}
    matrices, notes = dict(report.confusion_matrices), dict(report.notes)
    fold_values, fold_notes = _of_folds(rows, predictions.classes)
    values |= fold_values
    notes |= fold_notes
    float_rows = [row for row in predictions.rows if row.sample.startswith(FLOAT_PREFIX)]
    if float_rows:
        other = _of_one_model(float_rows, predictions.classes)
        for level in ("clip", "patch"):
            values[f"float_{level}_acc"] = other.values[f"{level}_acc"]
            drop = other.values[f"{level}_acc"].value - values[f"{level}_acc"].value
            values[f"int8_{level}_acc_drop"] = _exact(drop, count=values[f"{level}_acc"].count)
            matrices[f"float_{level}"] = other.confusion_matrices[level]
        agreement, by_class = _agreement(rows, float_rows)
        values["clip_agreement"] = agreement
        notes |= {f"agreement_{name}": share for name, share in by_class.items()}
        _, other_notes = _of_folds(float_rows, predictions.classes)
        notes |= {f"float_{name}": value for name, value in other_notes.items()}
    return MetricReport(values=values, confusion_matrices=matrices, notes=notes)


def _of_one_model(rows: Sequence[Prediction], classes: tuple[str, ...]) -> MetricReport:
    index = {name: position for position, name in enumerate(classes)}
    clips: defaultdict[str, list[Prediction]] = defaultdict(list)
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    size = len(index)
    patch_counts = [[0] * size for _ in range(size)]
    clip_counts = [[0] * size for _ in range(size)]
    for row in rows:
        clips[row.sample].append(row)
        found = best_class(row.scores)
        hits[row.group].append(found == index[str(row.label)])
        patch_counts[index[str(row.label)]][found] += 1
    for members in clips.values():
        clip_counts[index[str(members[0].label)]][_vote(members)] += 1
    right = sum(clip_counts[position][position] for position in range(size))
    return MetricReport(
        values={
            "clip_acc": proportion(right, len(clips)),
            "patch_acc": bootstrap_by_group(hits, lambda items: sum(items) / len(items)),
        },
        confusion_matrices={
            "clip": ConfusionMatrix(classes=classes, counts=tuple(map(tuple, clip_counts))),
            "patch": ConfusionMatrix(classes=classes, counts=tuple(map(tuple, patch_counts))),
        },
        notes={"clips": len(clips), "patches": len(rows), "source_recordings": len(hits)},
    )


def _of_folds(rows: Sequence[Prediction], classes: tuple[str, ...]) -> tuple[dict[str, MetricValue], dict[str, float]]:
    """Return mean and spread of the folds' clip accuracies, and both accuracies of each; nothing without folds."""
    by_fold: defaultdict[str, list[Prediction]] = defaultdict(list)
    for row in rows:
        name = row.sample.removeprefix(FLOAT_PREFIX)
        if name.startswith(FOLD_PREFIX):
            by_fold[name.partition("/")[0].removeprefix(FOLD_PREFIX)].append(row)
    if not by_fold:
        return {}, {}
    reports = {fold: _of_one_model(members, classes) for fold, members in sorted(by_fold.items())}
    found = [report.values["clip_acc"].value for report in reports.values()]
    notes = {
        f"{level}_acc_fold_{fold}": round(report.values[f"{level}_acc"].value, 4)
        for fold, report in reports.items()
        for level in ("clip", "patch")
    }
    values = {
        "fold_clip_acc_mean": _exact(statistics.fmean(found), count=len(found)),
        "fold_clip_acc_sd": _exact(statistics.stdev(found) if len(found) > 1 else 0.0, count=len(found)),
    }
    return values, notes


def _vote(rows: Sequence[Prediction]) -> int:
    return best_class([sum(column) for column in zip(*(row.scores for row in rows), strict=True)])


def _agreement(rows: Sequence[Prediction], others: Sequence[Prediction]) -> tuple[MetricValue, dict[str, float]]:
    """Return the share of clips to which both models give the same class, and that share for each true class."""
    votes: list[dict[str, int]] = []
    labels: dict[str, str] = {}
    for members in (rows, others):
        clips: defaultdict[str, list[Prediction]] = defaultdict(list)
        for row in members:
            clips[row.sample.removeprefix(FLOAT_PREFIX)].append(row)
            labels[row.sample.removeprefix(FLOAT_PREFIX)] = str(row.label)
        votes.append({name: _vote(found) for name, found in clips.items()})
    same = {name: votes[0][name] == votes[1].get(name) for name in votes[0]}
    by_class: defaultdict[str, list[bool]] = defaultdict(list)
    for name, is_same in same.items():
        by_class[labels[name]].append(is_same)
    shares = {name: round(sum(found) / len(found), 4) for name, found in sorted(by_class.items())}
    return proportion(sum(same.values()), len(same)), shares


def cost_values(predictions: Predictions) -> dict[str, MetricValue]:
    """Return what a quantized model costs, out of the facts beside its predictions; nothing without them."""
    facts = predictions.facts
    if "flash_bytes" not in facts:
        return {}
    return {
        "model_flash_kib": _exact(facts["flash_bytes"] / _KIB),
        "weights_kib": _exact(facts["weights_bytes"] / _KIB),
        "activations_kib": _exact(facts["activations_bytes"] / _KIB),
        "mega_macs": _exact(facts["multiplications"] / 1e6),
        "input_clipping_rate": _exact(facts["input_clipping_rate"]),
    }


def _exact(value: float, *, count: int = 1) -> MetricValue:
    return MetricValue(value=value, low=value, high=value, count=count)
