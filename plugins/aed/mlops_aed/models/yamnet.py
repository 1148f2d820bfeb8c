"""YAMNet-256: a MobileNet-v1 stack on log-mel patches, with weights from the model zoo's HDF5 file.

The file was written by Keras 2 and has ``/`` in its layer names, which Keras 3 refuses. Therefore the network is built
here and the arrays are read from the file's groups; nothing in the file is executed.

The published network takes (96 frames, 64 mels); this one takes patches (64 mels, 96 frames) and transposes them
first, so that the features and the exported model have one layout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np

from mlops_core import ConfigError, did_you_mean, require_plain_hdf5

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

BLOCKS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256))
"""Stride and filters of each separable block after the first convolution (32 filters, stride 2)."""
PATCH_SHAPE = (64, 96)
_EPSILON = 1e-4


def build_backbone(*, shape: tuple[int, int] = PATCH_SHAPE) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
    """Return the input (batch, n_mels, frames, 1) and the activated output of each of the eleven convolutions.

    The weights are random.
    """
    inputs = keras.Input(shape=(*shape, 1), name="patch")
    x = keras.layers.Permute((2, 1, 3), name="frames_first")(inputs)
    outputs = [
        _normalised(keras.layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="layer1_conv")(x))
    ]
    for number, (stride, filters) in enumerate(BLOCKS, 2):
        outputs += _separable(outputs[-1], f"layer{number}", stride=stride, filters=filters)
    return inputs, outputs


def _separable(x: Any, name: str, *, stride: int, filters: int) -> tuple[Any, Any]:
    depthwise = keras.layers.DepthwiseConv2D(
        3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )
    pointwise = keras.layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{name}_pointwise_conv")
    between = _normalised(depthwise(x))
    return between, _normalised(pointwise(between))


def _normalised(x: Any) -> Any:
    name = x._keras_history.operation.name  # noqa: SLF001  the only way from a tensor to its layer
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, scale=False, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def load_pretrained(model: keras.Model, path: Path) -> None:
    """Set the backbone's weights in `model` to those of the HDF5 file `path`.

    Raises:
        ConfigError: the file is damaged, or holds another network; the message names the first weight that differs.
    """
    arrays = read_arrays(path)
    for layer in model.layers:
        suffixes = _stored_names(layer)
        if suffixes:
            layer.set_weights(
                [
                    _fitting(arrays, _stored_layer(layer.name), suffix, weight.shape, path)
                    for suffix, weight in zip(suffixes, layer.weights, strict=True)
                ]
            )


def _stored_names(layer: keras.Layer) -> tuple[str, ...]:
    if not layer.name.startswith("layer"):
        return ()
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return ("depthwise_kernel",)
    if isinstance(layer, keras.layers.Conv2D):
        return ("kernel",)
    if isinstance(layer, keras.layers.BatchNormalization):
        return ("beta", "moving_mean", "moving_variance")
    return ()


def _stored_layer(name: str) -> str:
    """Return the name in the file: ``layer2/depthwise_conv/bn`` for ``layer2_depthwise_conv_bn``."""
    head, _, tail = name.partition("_")
    return f"{head}/{tail.removesuffix('_bn')}/bn" if tail.endswith("_bn") else f"{head}/{tail}"


def _fitting(
    arrays: Mapping[str, NDArray[np.float32]], layer: str, suffix: str, shape: tuple[int, ...], path: Path
) -> NDArray[np.float32]:
    name = f"{layer}/{suffix}"
    if name not in arrays:
        raise ConfigError(
            f"{path.name} has no weight '{name}'{did_you_mean(name, arrays) or ';'} expected YAMNet-256 as the model "
            "zoo publishes it (yamnet_256_f32.h5)"
        )
    if arrays[name].shape != tuple(shape):
        raise ConfigError(f"{path.name}: weight '{name}' has the shape {arrays[name].shape}; expected {tuple(shape)}")
    if not np.isfinite(arrays[name]).all():
        raise ConfigError(f"{path.name}: weight '{name}' holds numbers that are not finite")
    return arrays[name]


def read_arrays(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return every array below ``model_weights`` by its name within the model, such as ``layer1/conv/kernel``.

    Raises:
        ConfigError: the file does not exist, is not HDF5, is cut off, or holds no weights.
    """
    arrays: dict[str, NDArray[np.float32]] = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            inner = name[name.index("layer") :] if "layer" in name else name
            arrays[inner.rsplit(":", 1)[0]] = np.asarray(item, dtype=np.float32)

    try:
        with h5py.File(path) as file:
            require_plain_hdf5(file, name=path.name, size=path.stat().st_size)
            file.get("model_weights", file).visititems(note)
    except FileNotFoundError:
        raise ConfigError(f"no file {path}; expected pretrained weights (.h5)") from None
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise ConfigError(f"{path} is not a readable HDF5 file: {' '.join(str(error).split())}") from error
    if not arrays:
        raise ConfigError(f"{path} holds no weights")
    return arrays
