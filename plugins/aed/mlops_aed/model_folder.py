"""The folder of a model, float or quantized: its files, and something that gives scores from it.

Nothing here imports TensorFlow or Keras unless the model needs it, so a quantized model is asked quickly.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "weights.npz"
METADATA_FILE = "metadata.json"
HISTORY_FILE = "history.csv"
QUANTIZED_FILE = "quantized_model.tflite"
ONNX_FILE = "model.onnx"


class Scorer(Protocol):
    """What gives scores; its input is normalised already."""

    def scores(self, patches: Floats) -> Floats:
        """Return the scores of `patches` (patches, n_mels, frames), shape (patches, classes)."""


def read_metadata(folder: Path) -> dict[str, Any]:
    """Return classes, normalisation and feature settings of the model in `folder`."""
    found: dict[str, Any] = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
    return found


def write_metadata(folder: Path, metadata: dict[str, Any]) -> None:
    """Write what `read_metadata` returns."""
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def open_scorer(folder: Path) -> Scorer:
    """Return the model in `folder`: the quantized one where there is one, else ONNX that was brought, else Keras."""
    if (folder / QUANTIZED_FILE).is_file():
        from mlops_aed.litert import LiteRtModel

        return LiteRtModel(folder / QUANTIZED_FILE)
    if (folder / ONNX_FILE).is_file():
        from mlops_aed.onnx_models import OnnxModel

        return OnnxModel(folder / ONNX_FILE)
    from mlops_aed.network import KerasScorer

    return KerasScorer(folder)


def normalise(patches: Floats, mean: float, deviation: float) -> Floats:
    """Return patches as the model takes them."""
    return np.asarray((patches - mean) / deviation, dtype=np.float32)


def scores(scorer: Scorer, patches: Floats, metadata: dict[str, Any]) -> Floats:
    """Return the scores of `patches` as the features hold them, (patches, classes)."""
    return scorer.scores(normalise(patches, metadata["mean"], metadata["deviation"]))
