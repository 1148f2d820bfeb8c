"""Models written by other programs: ``.h5`` of Keras 2 and 3, ``.keras``, ``.tflite``, ``.onnx``.

Code in a file is never run, and no other file is read: what a file may hold is in `mlops_aed.models.keras_checks` and
`mlops_core.require_plain_hdf5`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from mlops_aed.models.keras_checks import require_layers_only, require_plain_archive
from mlops_aed.models.keras_nodes import renumbered
from mlops_core import ConfigError, require_plain_hdf5


def load_keras(path: Path) -> keras.Model:
    """Return the network in a ``.keras`` or ``.h5`` file.

    Raises:
        ConfigError: the file is damaged, or holds code.
    """
    try:
        if path.suffix == ".keras":
            require_plain_archive(path)
            return keras.models.load_model(path, compile=False, safe_mode=True)
        return _load_h5(path)
    except ConfigError:
        raise
    except Exception as error:  # a decoder of a foreign file: it raises anything for a damaged one
        raise ConfigError(f"{path} is not a readable Keras model: {' '.join(str(error).split())[:300]}") from error


def load_for_training(path: Path, *, shape: tuple[int, int], classes: int) -> keras.Model:
    """Return the network in a file, to be trained further.

    Args:
        path: a ``.keras`` or ``.h5`` file.
        shape: shape of the patches, (n_mels, frames).
        classes: number of scores.

    Raises:
        ConfigError: the file is damaged, holds code, or has another input or output.
    """
    model = load_keras(path)
    shapes = (tuple(model.input_shape[1:]), tuple(model.output_shape[1:]))
    if shapes != ((*shape, 1), (classes,)):
        raise ConfigError(f"{path} maps {shapes[0]} to {shapes[1]}; expected {(*shape, 1)} to {(classes,)}")
    model.trainable = True
    return model


def _load_h5(path: Path) -> keras.Model:
    """Load a copy without ``/`` in names, which Keras 2 allowed and Keras 3 refuses."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.h5"
        with h5py.File(path) as source, h5py.File(copy, "w") as target:
            require_plain_hdf5(source, name=str(path), size=path.stat().st_size)
            described = source.attrs.get("model_config")
            if described is None:
                raise ConfigError(f"{path} holds weights without a network; expected a whole model")
            config = json.loads(described)
            require_layers_only(config, path)
            for name in ("keras_version", "backend"):
                target.attrs[name] = _text(source.attrs.get(name, ""))
            target.attrs["model_config"] = json.dumps(renumbered(_modern(config)))
            _copy_weights(source["model_weights"], target.create_group("model_weights"))
        return keras.models.load_model(copy, compile=False, safe_mode=True)


def _copy_weights(source: Any, target: Any) -> None:
    for name in ("keras_version", "backend"):
        target.attrs[name] = _text(source.attrs.get(name, ""))
    layers = [_text(layer) for layer in source.attrs["layer_names"]]
    target.attrs["layer_names"] = [_flat(layer).encode() for layer in layers]
    if "top_level_model_weights" in source:
        target.create_group("top_level_model_weights").attrs["weight_names"] = np.array([], dtype="S1")
    for layer in layers:
        names = [_text(name) for name in source[layer].attrs["weight_names"]]
        group = target.create_group(_flat(layer))
        group.attrs["weight_names"] = [_flat(name).encode() for name in names] or np.array([], dtype="S1")
        for name in names:
            group[_flat(name)] = source[layer][name][()]


def _flat(name: str) -> str:
    return name.replace("/", "__")


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _modern(config: Any) -> Any:
    """Return the description in the form that Keras 3 accepts.

    ``/`` in names and in references to them is replaced (no path occurs, so every text with a slash is a name);
    ``groups`` of a depthwise convolution, always 1, is removed; an axis of a normalization is a number.
    """
    if isinstance(config, dict):
        converted = {key: _modern(value) for key, value in config.items()}
        settings = converted.get("config")
        if converted.get("class_name") == "DepthwiseConv2D" and isinstance(settings, dict):
            settings.pop("groups", None)
        if converted.get("class_name") == "BatchNormalization" and isinstance(settings, dict):
            axis = settings.get("axis")
            settings["axis"] = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
        return converted
    if isinstance(config, list):
        return [_modern(value) for value in config]
    return _flat(config) if isinstance(config, str) else config
