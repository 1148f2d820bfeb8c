"""Metrics: accuracy of clips and of patches; for a quantized model also its cost and the accuracy it loses."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_aed.evaluation.side_by_side import agreement, class_table, fold_accuracies, fold_table, spread
from mlops_aed.evaluation.votes import (
    FLOAT_MODEL,
    ONNX_INT8_MODEL,
    ONNX_MODEL,
    best_class,
    clips_of,
    rows_by_model,
    vote,
)
from mlops_core import (
    AllOf,
    Comparison,
    ConfusionMatrix,
    Direction,
    Gate,
    Metric,
    MetricReport,
    MetricValue,
    Operator,
    Unit,
    bootstrap_by_group,
    proportion_by_group,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_aed.config import AedConfig
    from mlops_core import Prediction, Predictions

__all__ = ["CLIP_THRESHOLD", "COSTS", "FLOAT_MODEL", "METRICS", "PATCH_THRESHOLD", "compute_metrics", "cost_values"]
_SECTION = "multiclass_classification_metrics"
_COST = "model_cost"
CLIP_THRESHOLD = "q_clip_level_acc_threshold"
PATCH_THRESHOLD = "q_patch_level_acc_threshold"
_TOLERANCE = 0.025
"""Spread of the default run's clip accuracy over four orders of addition (0.900 to 0.925, decision 27)."""


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
        tolerance=_TOLERANCE,
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
        description=f"{level.capitalize()} accuracy of the float model minus that of the quantized one.",
        tolerance=_TOLERANCE,
    )


_COMPARISON = (
    _accuracy("float_clip_acc", "Clip accuracy, float", "Clip accuracy of the model before quantization."),
    _accuracy("float_patch_acc", "Patch accuracy, float", "Patch accuracy of the model before quantization."),
    _drop("clip"),
    _drop("patch"),
    _accuracy("clip_agreement", "Agreement", "Share of test clips for which both models predict the same class."),
)


def _export(name: str, title: str, what: str) -> tuple[Metric, ...]:
    return (
        _accuracy(f"{name}_clip_acc", f"Clip accuracy, {title}", f"Clip accuracy of {what}."),
        _accuracy(f"{name}_patch_acc", f"Patch accuracy, {title}", f"Patch accuracy of {what}."),
        _accuracy(
            f"{name}_clip_agreement",
            f"Agreement, {title}",
            f"Share of test clips for which {what} and the original predict the same class.",
        ),
    )


_ONNX = _export(ONNX_MODEL, "ONNX", "the exported float model")
_ONNX_INT8 = _export(ONNX_INT8_MODEL, "ONNX int8", "the quantized export")


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
        tolerance=_TOLERANCE,
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
        "Share of input values of the test patches outside the range of the input's type.",
        unit=Unit.FRACTION,
        maximum=1.0,
    ),
)
_ONNX_SIZE = _cost("onnx_kib", "ONNX, KiB", "Size of the exported .onnx file.")
_ONNX_INT8_SIZE = _cost("onnx_int8_kib", "ONNX int8, KiB", "Size of the quantized .onnx file.")
_KIB = 1024


def declared_metrics(config: AedConfig) -> tuple[Metric, ...]:
    """Return the metrics of a run with this configuration."""
    has_costs = config.general.is_quantized or str(config.general.model_path).endswith(".tflite")
    is_compared = config.general.is_quantized
    return (
        *METRICS,
        *(_FOLDS if config.dataset.folds else ()),
        *(_COMPARISON if is_compared else ()),
        *((*_ONNX, _ONNX_SIZE) if is_compared and config.quantization.export_onnx else ()),
        *((*_ONNX_INT8, _ONNX_INT8_SIZE) if is_compared and config.quantization.onnx_int8 else ()),
        *(COSTS if has_costs else ()),
    )


def gate(config: AedConfig) -> Gate:
    """Return the gate: both accuracies reach their thresholds; a quantized model stays within its limits."""
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


def compute_metrics(predictions: Predictions) -> MetricReport:
    """Return clip and patch accuracy with their confusion matrices, and the comparison with a float model.

    A clip's class is the highest sum of its patches' scores (a soft vote). The interval of the clip accuracy is
    Wilson's; that of the patch accuracy resamples source recordings, because patches of one are not independent.
    """
    models = rows_by_model(predictions.rows)
    rows, classes = models[""], predictions.classes
    report = _of_one_model(rows, classes)
    values = {**report.values, **_fold_values(rows, classes), **cost_values(predictions)}
    matrices = dict(report.confusion_matrices)
    tables = [fold_table(models, classes)]
    if FLOAT_MODEL in models:
        other = _of_one_model(models[FLOAT_MODEL], classes)
        values |= _comparison_values(values, other)
        values["clip_agreement"] = agreement(rows, models[FLOAT_MODEL])
        matrices |= {f"float_{level}": matrix for level, matrix in other.confusion_matrices.items()}
        tables.append(class_table(rows, models[FLOAT_MODEL], classes))
    for model in (ONNX_MODEL, ONNX_INT8_MODEL):
        if model in models:
            other = _of_one_model(models[model], classes)
            values |= {f"{model}_{name}": value for name, value in other.values.items()}
            values[f"{model}_clip_agreement"] = agreement(models[model], models[FLOAT_MODEL])
    return MetricReport(
        values=values,
        confusion_matrices=matrices,
        notes=report.notes,
        tables=tuple(table for table in tables if table),
    )


def _comparison_values(values: Mapping[str, MetricValue], original: MetricReport) -> dict[str, MetricValue]:
    """Return the float model's accuracies, and the loss of the quantized model, which has the metrics `values`."""
    compared: dict[str, MetricValue] = {}
    for level in ("clip", "patch"):
        own, other = values[f"{level}_acc"], original.values[f"{level}_acc"]
        compared[f"float_{level}_acc"] = other
        compared[f"int8_{level}_acc_drop"] = _exact(other.value - own.value, count=own.count)
    return compared


def _of_one_model(rows: Sequence[Prediction], classes: tuple[str, ...]) -> MetricReport:
    index = {name: position for position, name in enumerate(classes)}
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    patch_counts = [[0] * len(classes) for _ in classes]
    clip_counts = [[0] * len(classes) for _ in classes]
    for row in rows:
        answer = best_class(row.scores)
        hits[row.group].append(answer == index[str(row.label)])
        patch_counts[index[str(row.label)]][answer] += 1
    clips = clips_of(rows)
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for members in clips.values():
        label, answer = index[str(members[0].label)], vote(members)
        clip_counts[label][answer] += 1
        right[members[0].group].append(label == answer)
    return MetricReport(
        values={
            "clip_acc": proportion_by_group(right),
            "patch_acc": bootstrap_by_group(hits, lambda items: sum(items) / len(items)),
        },
        confusion_matrices={
            "clip": ConfusionMatrix(classes=classes, counts=tuple(map(tuple, clip_counts))),
            "patch": ConfusionMatrix(classes=classes, counts=tuple(map(tuple, patch_counts))),
        },
        notes={"clips": len(clips), "patches": len(rows), "source_recordings": len(hits)},
    )


def _fold_values(rows: Sequence[Prediction], classes: tuple[str, ...]) -> dict[str, MetricValue]:
    """Return mean and spread of the folds' clip accuracies; empty without cross-validation."""
    accuracies = [clip for clip, _ in fold_accuracies(rows, classes).values()]
    if not accuracies:
        return {}
    mean, deviation = spread(accuracies)
    return {
        "fold_clip_acc_mean": replace(_exact(mean, count=len(accuracies)), standard_deviation=deviation),
        "fold_clip_acc_sd": _exact(deviation, count=len(accuracies)),
    }


def cost_values(predictions: Predictions) -> dict[str, MetricValue]:
    """Return the cost of a quantized model from the facts stored with its predictions; empty without them."""
    facts = predictions.facts
    if "flash_bytes" not in facts:
        return {}
    exported = {
        f"{model}_kib": _exact(facts[f"{model}_bytes"] / _KIB)
        for model in (ONNX_MODEL, ONNX_INT8_MODEL)
        if f"{model}_bytes" in facts
    }
    return exported | {
        "model_flash_kib": _exact(facts["flash_bytes"] / _KIB),
        "weights_kib": _exact(facts["weights_bytes"] / _KIB),
        "activations_kib": _exact(facts["activations_bytes"] / _KIB),
        "mega_macs": _exact(facts["multiplications"] / 1e6),
        "input_clipping_rate": _exact(facts["input_clipping_rate"]),
    }


def _exact(value: float, *, count: int = 1) -> MetricValue:
    return MetricValue(value=value, low=value, high=value, count=count)
