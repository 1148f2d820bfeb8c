"""Stored predictions: one row per sample or part of a sample, from which every metric is computed and re-checked.

`records` holds what a prediction is, `rows` keeps a million of them in little memory, `files` reads and writes
``predictions.jsonl``, `boxes` checks and compares
those of detections, `merging` puts the parts of several shards in order.
"""

from mlops_core.predictions.files import (
    PREDICTIONS_FILE,
    iter_predictions,
    read_classes,
    read_predictions,
    write_predictions,
)
from mlops_core.predictions.merging import digest_test_set, merge_predictions
from mlops_core.predictions.records import FoundBox, Prediction, Predictions, TrueBox
from mlops_core.predictions.rows import PredictionRows

__all__ = [
    "PREDICTIONS_FILE",
    "FoundBox",
    "Prediction",
    "PredictionRows",
    "Predictions",
    "TrueBox",
    "digest_test_set",
    "iter_predictions",
    "merge_predictions",
    "read_classes",
    "read_predictions",
    "write_predictions",
]
