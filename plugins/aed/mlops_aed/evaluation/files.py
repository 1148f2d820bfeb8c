"""Results of an evaluation besides its predictions: log lines, pictures, all values as JSON.

Core writes ``evaluation.json`` from the predictions; values that are not metrics are in ``evaluation_full.json``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from mlops_aed.data.clips import iter_split
from mlops_aed.evaluation.figures import draw_matrix, matrix_name
from mlops_aed.evaluation.metrics import compute_metrics
from mlops_aed.evaluation.votes import FLOAT_MODEL, ONNX_INT8_MODEL, ONNX_MODEL, rows_by_model
from mlops_aed.models.pretrained import digest
from mlops_core import Predictions, write_predictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_core import ConfusionMatrix, MetricReport, MetricValue, Prediction, StepContext

FULL_FILE = "evaluation_full.json"
_FIGURES = "figures"
_PICTURES = {"float": "float_model", "quant": "quant_model", "onnx": "float", "onnx_int8": "quantized"}
"""Model -> prefix of the names of its pictures; those of the zoo's ONNX models lack ``model``."""
_DIGITS = 6


def write(context: StepContext, predictions: Predictions, *, splits: Mapping[str, Path]) -> None:
    """Write the predictions and the output ``figures``, and log the accuracies.

    Args:
        context: context of a step with the outputs ``predictions`` and ``figures``.
        predictions: predictions of all models and test folds.
        splits: number of the test fold -> folder of its split; without cross-validation one, named "".
    """
    write_predictions(context.output("predictions"), predictions.classes, predictions.rows, facts=predictions.facts)
    reports = model_reports(predictions)
    together = compute_metrics(predictions)
    _log(context, together, reports)
    folder = context.output(_FIGURES)
    for model, (report, _) in reports.items():
        for level, matrix in _levels(report).items():
            title = f"{_PICTURES[model]}, {level}s"
            draw_matrix(matrix, folder / matrix_name(_PICTURES[model], level), title=title)
    account = {
        "format": "mlops-aed-evaluation/1",
        "seed": context.seed,
        "splits": {fold or "all": _split_facts(path) for fold, path in splits.items()},
        "models": {model: _account(report, loss) for model, (report, loss) in reports.items()},
        "comparison": {name: _value(value) for name, value in together.values.items()},
        "tables": [asdict(table) for table in together.tables],
        "cost": dict(predictions.facts),
    }
    (folder / FULL_FILE).write_text(json.dumps(account, indent=2) + "\n", encoding="utf-8")


def model_reports(predictions: Predictions) -> dict[str, tuple[MetricReport, float]]:
    """Return accuracies with matrices, and the mean loss, for each of the models."""
    models = rows_by_model(predictions.rows)
    own = "quant" if "flash_bytes" in predictions.facts else "float"
    names = {"": own, FLOAT_MODEL: "float", ONNX_MODEL: "onnx", ONNX_INT8_MODEL: "onnx_int8"}
    reports = {}
    for model, rows in models.items():
        alone = Predictions(classes=predictions.classes, rows=tuple(replace(row, model="") for row in rows))
        reports[names[model]] = (compute_metrics(alone), _loss(rows, predictions.classes))
    return reports


def _loss(rows: Sequence[Prediction], classes: Sequence[str]) -> float:
    """Return the mean cross-entropy of the patches; a score of 0 counts as the smallest score in the file."""
    index = {name: position for position, name in enumerate(classes)}
    return -sum(math.log(max(row.scores[index[str(row.label)]], 1e-7)) for row in rows) / len(rows)


def _levels(report: MetricReport) -> dict[str, ConfusionMatrix]:
    return {level: report.confusion_matrices[level] for level in ("clip", "patch")}


def _account(report: MetricReport, loss: float) -> dict[str, Any]:
    return {
        "loss": round(loss, _DIGITS),
        **{
            level: {
                "accuracy": _value(report.values[f"{level}_acc"]),
                "classes": _by_class(matrix),
                "confusion_matrix": matrix.by_name(),
            }
            for level, matrix in _levels(report).items()
        },
    }


def _by_class(matrix: ConfusionMatrix) -> dict[str, dict[str, float | int | None]]:
    """Return precision, recall and F1 of each class with its size; None if a denominator is 0."""
    table: dict[str, dict[str, float | int | None]] = {}
    for position, name in enumerate(matrix.classes):
        right = matrix.counts[position][position]
        size = sum(matrix.counts[position])
        answers = sum(row[position] for row in matrix.counts)
        table[name] = {
            "count": size,
            "precision": _share(right, answers),
            "recall": _share(right, size),
            "f1": _share(2 * right, size + answers),
        }
    return table


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, _DIGITS) if whole else None


def _value(value: MetricValue) -> dict[str, float | int | str]:
    return {
        "value": round(value.value, _DIGITS),
        "low": round(value.low, _DIGITS),
        "high": round(value.high, _DIGITS),
        "method": value.method,
        "count": value.count,
    }


def _split_facts(split: Path) -> dict[str, str | int]:
    """Return the digest of a split's file and the number of clips of each part."""
    counts = Counter(clip.part for clip in iter_split(split))
    return {"sha256": digest(split / "split.csv"), **dict(sorted(counts.items()))}


def _log(context: StepContext, together: MetricReport, reports: Mapping[str, tuple[MetricReport, float]]) -> None:
    context.log.info("Clip-level accuracy on test set : %.4f", together.values["clip_acc"].value)
    context.log.info("Patch-level accuracy on test set : %.4f", together.values["patch_acc"].value)
    for model, words in (("float", "float"), ("quant", "quantized")):
        if model in reports:
            for level in ("patch", "clip"):
                value = 100 * reports[model][0].values[f"{level}_acc"].value
                context.log.info("%s-level Accuracy of %s model = %.2f%%", level.capitalize(), words, value)
    for table in together.tables:
        for row in table.rows:
            context.log.info("%s: %s", table.title, dict(zip(table.columns, row, strict=True)))
