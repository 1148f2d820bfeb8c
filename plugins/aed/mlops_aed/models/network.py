"""Keras networks: files that are byte-identical for identical weights, and scores."""

from __future__ import annotations

import json
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np

from mlops_aed.models.keras_checks import require_layers_only
from mlops_aed.models.model_folder import ARCHITECTURE_FILE, WEIGHTS_FILE, read_metadata, write_metadata
from mlops_core import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_BATCH = 256


def save(model: keras.Model, folder: Path, metadata: dict[str, Any]) -> None:
    """Write architecture, weights and `metadata` into `folder`, without time stamps, unlike Keras's own archive."""
    (folder / ARCHITECTURE_FILE).write_text(model.to_json() + "\n", encoding="utf-8")
    names = [f"{position:03d}" for position in range(len(model.weights))]
    np.savez(folder / WEIGHTS_FILE, **dict(zip(names, model.get_weights(), strict=True)))
    write_metadata(folder, metadata)


def load(folder: Path) -> tuple[keras.Model, dict[str, Any]]:
    """Return the network and the metadata that `save` wrote; the folder may come from elsewhere.

    Raises:
        ConfigError: the description names anything but layers of Keras, or the weights are damaged, are not plain
            numbers or do not fit it.
    """
    described = (folder / ARCHITECTURE_FILE).read_text(encoding="utf-8")
    require_layers_only(json.loads(described), folder / ARCHITECTURE_FILE)
    model = keras.models.model_from_json(described)
    path = folder / WEIGHTS_FILE
    try:
        with np.load(path, allow_pickle=False) as weights:
            model.set_weights([weights[name] for name in sorted(weights.files)])
    except (OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(f"{path} does not hold the weights of its model: {error!s:.200}") from error
    return model, read_metadata(folder)


class KerasScorer:
    """A loaded float network."""

    def __init__(self, folder: Path) -> None:
        """Load what `save` wrote."""
        self._model, _ = load(folder)

    def scores(self, patches: Floats) -> Floats:
        """Return the scores of normalised `patches` (patches, n_mels, frames), shape (patches, classes)."""
        shape = (len(patches), *self._model.input_shape[1:])
        if len(patches) <= _BATCH:  # `predict` takes tens of milliseconds to start, too long for a stream
            return cast("Floats", self._model.predict_on_batch(patches.reshape(shape)))
        return cast("Floats", self._model.predict(patches.reshape(shape), batch_size=_BATCH, verbose=0))
