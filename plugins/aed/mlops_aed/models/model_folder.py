"""The files in the folder of a model, float or quantized, and its metadata; `mlops_aed.models.scorers` runs a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "weights.npz"
METADATA_FILE = "metadata.json"
QUANTIZED_FILE = "quantized_model.tflite"
ONNX_FILE = "model.onnx"
QUANTIZED_ONNX_FILE = "quantized_model.onnx"


def read_metadata(folder: Path) -> dict[str, Any]:
    """Return classes, normalisation and feature settings of the model in `folder`."""
    metadata: dict[str, Any] = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
    return metadata


def write_metadata(folder: Path, metadata: dict[str, Any]) -> None:
    """Write the file that `read_metadata` reads."""
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2, sort_keys=True) + "\n", encoding="utf-8")
