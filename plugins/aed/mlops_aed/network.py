"""A network in a folder: its file format, byte-identical for identical weights, and its scores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "weights.npz"
METADATA_FILE = "metadata.json"


def save(model: keras.Model, folder: Path, metadata: dict[str, Any]) -> None:
    """Write architecture, weights and `metadata` into `folder`; no time stamps, unlike Keras's own archive."""
    (folder / ARCHITECTURE_FILE).write_text(model.to_json() + "\n", encoding="utf-8")
    names = [f"{position:03d}" for position in range(len(model.weights))]
    np.savez(folder / WEIGHTS_FILE, **dict(zip(names, model.get_weights(), strict=True)))
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[keras.Model, dict[str, Any]]:
    """Return the network and the metadata that `save` wrote."""
    model = keras.models.model_from_json((folder / ARCHITECTURE_FILE).read_text(encoding="utf-8"))
    with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as weights:
        model.set_weights([weights[name] for name in sorted(weights.files)])
    return model, json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))


def scores(model: keras.Model, patches: np.ndarray, metadata: dict[str, Any], *, batch_size: int = 256) -> np.ndarray:
    """Return the scores of `patches` (patches, n_mels, frames), shape (patches, classes)."""
    normalised = normalise(patches, metadata["mean"], metadata["deviation"])
    found: np.ndarray = model.predict(normalised[..., None], batch_size=batch_size, verbose=0)
    return found


def normalise(patches: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    """Return patches with the training patches' mean 0 and standard deviation 1."""
    return np.asarray((patches - mean) / deviation, dtype=np.float32)
