"""A network whose 8-bit form loses less: a dense layer on a concatenation becomes a sum of dense layers.

A concatenation has a single scale in LiteRT's 8-bit format, so the values of a pooling with a small range, such as
means beside maxima, are left with few of the 256 steps. The sum has the same weights, and each summand its own scale.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def with_separate_scales(model: keras.Model) -> keras.Model:
    """Return an equal network without the concatenation below its last layer; other networks are returned as they are.

    Args:
        model: a network with one input; its last layer may be dense, on vectors that are concatenated, with dropout
            between.
    """
    head = model.layers[-1]
    if not isinstance(head, keras.layers.Dense):
        return model
    source = _source(head)
    if isinstance(source, keras.layers.Dropout):
        source = _source(source)
    if not isinstance(source, keras.layers.Concatenate):
        return model
    vectors: Sequence[Any] = source.input
    if any(len(vector.shape) != 2 for vector in vectors):
        return model
    return _summed(model, head, vectors)


def _summed(model: keras.Model, head: keras.layers.Dense, vectors: Sequence[Any]) -> keras.Model:
    layers = [keras.layers.Dense(head.units, use_bias=place == 0) for place in range(len(vectors))]
    total = keras.layers.Add()([layer(vector) for layer, vector in zip(layers, vectors, strict=True)])
    separate = keras.Model(model.input, keras.layers.Activation(head.activation)(total), name=model.name)
    weights = head.get_weights()[0]
    biases = head.get_weights()[1] if head.use_bias else np.zeros(head.units)
    ends = np.cumsum([0, *(vector.shape[1] for vector in vectors)])
    for layer, (start, end) in zip(layers, pairwise(ends), strict=True):
        own = weights[start:end]
        layer.set_weights([own, biases] if layer.use_bias else [own])
    return separate


def _source(layer: keras.Layer) -> Any:
    """Return the layer whose output `layer` reads."""
    return layer.input._keras_history.operation  # noqa: SLF001  the only way from a tensor to its layer
