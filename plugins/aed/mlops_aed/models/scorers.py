"""Open the model in a folder, whatever its format, and compute its scores.

Nothing here imports TensorFlow or Keras unless the model needs it, so that a quantized model opens fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mlops_aed.models.model_folder import ONNX_FILE, QUANTIZED_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class Scorer(Protocol):
    """A loaded model; its input is already normalised."""

    def scores(self, patches: Floats) -> Floats:
        """Return the scores of `patches` (patches, n_mels, frames), shape (patches, classes)."""


def open_scorer(folder: Path) -> Scorer:
    """Return the model in `folder`: the quantized one if it exists, else an imported ONNX model, else Keras."""
    if (folder / QUANTIZED_FILE).is_file():
        from mlops_aed.models.litert import LiteRtModel

        return LiteRtModel(folder / QUANTIZED_FILE)
    if (folder / ONNX_FILE).is_file():
        from mlops_aed.models.onnx_models import OnnxModel

        return OnnxModel(folder / ONNX_FILE)
    from mlops_aed.models.network import KerasScorer

    return KerasScorer(folder)


def normalise(patches: Floats, mean: float, deviation: float) -> Floats:
    """Return `patches` with the model's mean and deviation removed."""
    return np.asarray((patches - mean) / deviation, dtype=np.float32)


def scores(scorer: Scorer, patches: Floats, metadata: dict[str, Any]) -> Floats:
    """Return the scores of `patches` as the features hold them, shape (patches, classes)."""
    return scorer.scores(normalise(patches, metadata["mean"], metadata["deviation"]))
