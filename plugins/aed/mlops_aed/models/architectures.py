"""The available networks: each maps patches (batch, n_mels, frames, 1) to probabilities.

`build` dispatches on ``training.model.name``; training and files are the subject of other modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from mlops_aed.models import yamnet
from mlops_core import ConfigError, load_function

if TYPE_CHECKING:
    from mlops_aed.config import ModelChoice

EMBEDDING_LAYER = "embedding"
"""Name of the layer whose output is the input of the head on a frozen backbone."""
_RESNET_EPSILON = 1.001e-5


def build(choice: ModelChoice, *, shape: tuple[int, int], classes: int) -> keras.Model:
    """Return an untrained network for patches of `shape` (n_mels, frames), with `classes` probabilities.

    Raises:
        ConfigError: custom code returned something else.
    """
    match choice.name:
        case "yamnet":
            return _yamnet(choice, shape, classes)
        case "miniresnet" | "miniresnetv2":
            return _miniresnet(choice, shape, classes, is_preactivated=choice.name == "miniresnetv2")
        case "custom":
            return _custom(choice, shape, classes)
    return _residual_network(choice, shape, classes)


def _yamnet(choice: ModelChoice, shape: tuple[int, int], classes: int) -> keras.Model:
    inputs, maps = yamnet.build_backbone(shape=shape)
    if choice.pooling in {None, "multi"}:
        mean = keras.layers.GlobalAveragePooling2D
        values = [mean()(maps[-1]), keras.layers.GlobalMaxPooling2D()(maps[-1]), mean()(maps[-2])]
        embedding = keras.layers.Concatenate(name=EMBEDDING_LAYER)(values)
    else:
        embedding = _pooled(maps[-1], str(choice.pooling))
    return keras.Model(inputs, _classified(embedding, choice, classes), name="aed_yamnet_256")


def _pooled(x: Any, pooling: str) -> Any:
    layer = keras.layers.GlobalAveragePooling2D if pooling == "avg" else keras.layers.GlobalMaxPooling2D
    return layer(name=EMBEDDING_LAYER)(x)


def _classified(embedding: Any, choice: ModelChoice, classes: int) -> Any:
    x = keras.layers.Dropout(choice.dropout)(embedding) if choice.dropout else embedding
    return keras.layers.Dense(classes, activation="softmax", name="scores")(x)


def _custom(choice: ModelChoice, shape: tuple[int, int], classes: int) -> keras.Model:
    model = load_function(str(choice.code), what="training.model.code")((*shape, 1), classes)
    if not isinstance(model, keras.Model):
        raise ConfigError(f"training.model.code {choice.code} returned {type(model).__name__}; expected a keras.Model")
    shapes = (model.input_shape[1:], model.output_shape[1:])
    if shapes != ((*shape, 1), (classes,)):
        raise ConfigError(
            f"training.model.code {choice.code} returned a model from {shapes[0]} to {shapes[1]}; expected "
            f"{(*shape, 1)} to {(classes,)}"
        )
    return model


def _residual_network(choice: ModelChoice, shape: tuple[int, int], classes: int) -> keras.Model:
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


def _miniresnet(choice: ModelChoice, shape: tuple[int, int], classes: int, *, is_preactivated: bool) -> keras.Model:
    """Return the model zoo's small residual networks: a stem, one or two stacks of two blocks, 64 filters doubled.

    Without pooling the last map is flattened, as in the published models (64 x 50 patches).
    """
    inputs = keras.Input(shape=(*shape, 1), name="patch")
    x = keras.layers.ZeroPadding2D(3)(inputs)
    x = keras.layers.Conv2D(64, 7, strides=2)(x)
    if not is_preactivated:
        x = _activated(x)
    x = keras.layers.MaxPooling2D(3, strides=2)(keras.layers.ZeroPadding2D(1)(x))
    block = _preactivated_block if is_preactivated else _plain_block
    for stack in range(choice.n_stacks):
        x = block(x, 64 << stack, has_convolution=True, strides=1)
        x = block(x, 64 << stack, has_convolution=False, strides=2)
    if is_preactivated:
        x = _activated(x)
    x = _pooled(x, choice.pooling) if choice.pooling else keras.layers.Flatten(name=EMBEDDING_LAYER)(x)
    version = "v2" if is_preactivated else "v1"
    return keras.Model(inputs, _classified(x, choice, classes), name=f"aed_miniresnet{version}_s{choice.n_stacks}")


def _activated(x: Any, *, has_activation: bool = True) -> Any:
    x = keras.layers.BatchNormalization(epsilon=_RESNET_EPSILON)(x)
    return keras.layers.ReLU()(x) if has_activation else x


def _plain_block(x: Any, filters: int, *, has_convolution: bool, strides: int) -> Any:
    """Return the block of He et al., Deep residual learning (2016): addition, then activation."""
    if has_convolution:
        shortcut = _activated(keras.layers.Conv2D(filters, 1, strides=strides)(x), has_activation=False)
    else:
        shortcut = keras.layers.MaxPooling2D(1, strides=strides)(x)
    x = _activated(keras.layers.Conv2D(filters, 1)(x))
    x = keras.layers.ZeroPadding2D(1)(x)
    x = _activated(keras.layers.Conv2D(filters, 3, strides=strides)(x), has_activation=False)
    return keras.layers.ReLU()(keras.layers.Add()([shortcut, x]))


def _preactivated_block(x: Any, filters: int, *, has_convolution: bool, strides: int) -> Any:
    """Return the block of He et al., Identity mappings (2016): activation, then addition."""
    before = _activated(x)
    if has_convolution:
        shortcut = keras.layers.Conv2D(filters, 1, strides=strides)(before)
    else:
        shortcut = keras.layers.MaxPooling2D(1, strides=strides)(x)
    x = _activated(keras.layers.Conv2D(filters, 1, use_bias=False)(before))
    x = keras.layers.ZeroPadding2D(1)(x)
    return keras.layers.Add()([shortcut, keras.layers.Conv2D(filters, 3, strides=strides)(x)])
