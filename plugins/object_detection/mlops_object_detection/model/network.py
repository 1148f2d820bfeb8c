"""The network: anchor-free, convolutional, about 0.6 million weights; and the file format of a model.

It maps images (batch, height, width, channels), float32, 0 to 255, whose sides are multiples of 32, to three maps: the
logit of "the centre of an object" and the logarithms of the distances to the four sides, both per cell of 4 pixels,
and the logits of the classes per cell of 8 pixels. One map of objects and a softmax over the classes, in place of one
map per class, lets few examples of a class suffice: where objects are is learned from all of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from mlops_core import StepError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Tensor = Any

WEIGHTS_FILE = "weights.npz"
METADATA_FILE = "metadata.json"
_PRIOR = 0.01
"""Share of cells that hold a centre, to which the initial bias corresponds; the loss then starts small."""


def build(
    *, channels: int, classes: int, width: float, is_deep: bool, mean: Sequence[float], deviation: Sequence[float]
) -> Any:
    """Return a network with random weights.

    Args:
        channels: 1 for grey, 3 for colour.
        classes: number of classes.
        width: factor of the number of filters.
        is_deep: add a level with a stride of 32.
        mean: of the training pictures per channel, 0 to 255.
        deviation: standard deviation per channel.
    """

    def filters(count: int) -> int:
        return max(8, round(count * width / 8) * 8)

    inputs = keras.Input(shape=(None, None, channels), name="image")
    x = keras.layers.Normalization(mean=list(mean), variance=[value**2 for value in deviation])(inputs)
    x = _convolution(x, filters(24), strides=2)
    fine = x = _convolution(_convolution(x, filters(32), strides=2), filters(32))
    middle = x = _residual(_convolution(x, filters(64), strides=2))
    x = _residual(_residual(_convolution(x, filters(96), strides=2)))
    if is_deep:
        deep = _residual(_convolution(x, filters(64), strides=2))
        x = keras.layers.Add()([_enlarged(_convolution(deep, filters(96), size=1)), x])
    merged = keras.layers.Add()([_enlarged(_convolution(x, filters(64), size=1)), middle])
    merged = _convolution(merged, filters(64))
    classes_map = keras.layers.Conv2D(classes, 1, name="classes")(_convolution(merged, filters(96)))
    lateral = _convolution(fine, filters(48), size=1)
    x = keras.layers.Add()([_enlarged(_convolution(merged, filters(48), size=1)), lateral])
    x = _convolution(_convolution(x, filters(48)), filters(48))
    bias = keras.initializers.Constant(float(np.log(_PRIOR / (1 - _PRIOR))))
    objects = keras.layers.Conv2D(1, 1, bias_initializer=bias, name="objects")(x)
    sides = keras.layers.Conv2D(4, 1, bias_initializer=keras.initializers.Constant(1.0), name="sides")(x)
    return keras.Model(inputs, [objects, sides, classes_map], name="detector")


def _convolution(x: Tensor, filters: int, *, size: int = 3, strides: int = 1) -> Tensor:
    x = keras.layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.95, epsilon=1e-3)(x))


def _residual(x: Tensor) -> Tensor:
    filters = x.shape[-1]
    y = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(_convolution(x, filters))
    y = keras.layers.BatchNormalization(momentum=0.95, epsilon=1e-3)(y)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))


def _enlarged(x: Tensor) -> Tensor:
    """Return a map at twice the size, by repetition: unlike interpolation, it needs no known size."""
    return keras.layers.UpSampling2D(2, interpolation="nearest")(x)


def save(model: Any, folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write weights and metadata into `folder`; equal weights give equal bytes.

    Raises:
        StepError: a weight is not finite.
    """
    weights = model.get_weights()
    if not all(np.isfinite(array).all() for array in weights):
        raise StepError("the trained network has weights that are not finite; lower training.learning_rate")
    with (folder / WEIGHTS_FILE).open("wb") as stream:
        np.savez(stream, **{f"{number:04d}": array for number, array in enumerate(weights)})
    text = json.dumps(dict(metadata), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / METADATA_FILE).write_text(text, encoding="utf-8")


def load(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return network and metadata from `folder`.

    Raises:
        StepError: the folder does not hold a model of this format.
    """
    try:
        metadata = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
        model = build(**metadata["network"])
        with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as arrays:
            model.set_weights([arrays[name] for name in sorted(arrays.files)])
    except (OSError, ValueError, KeyError, TypeError) as error:
        cause = " ".join(str(error).split())
        raise StepError(f"{folder} does not hold a detector ({type(error).__name__}: {cause})") from error
    return model, metadata
