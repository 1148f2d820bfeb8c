"""The residual network, and its file format: byte-identical for identical weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_aed.config import ModelChoice

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "weights.npz"
METADATA_FILE = "metadata.json"


def build(choice: ModelChoice, *, shape: tuple[int, int], classes: int) -> keras.Model:
    """Return an untrained network for patches of `shape` (n_mels, frames); it gives probabilities, (batch, classes)."""
    inputs = keras.Input(shape=(*shape, 1), name="patch")
    x = _convolution(inputs, choice.filters[0], strides=2)
    for filters in choice.filters[1:]:
        x = _residual(x, filters)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(choice.dropout)(x)
    outputs = keras.layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="aed_residual")


def _convolution(x: Any, filters: int, *, strides: int = 1, is_activated: bool = True, size: int = 3) -> Any:
    x = keras.layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return keras.layers.ReLU()(x) if is_activated else x


def _residual(x: Any, filters: int) -> Any:
    shortcut = _convolution(x, filters, strides=2, is_activated=False, size=1)
    x = _convolution(x, filters, strides=2)
    x = _convolution(x, filters, is_activated=False)
    return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))


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
