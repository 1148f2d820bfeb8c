"""Post-training quantization to 8 bits by LiteRT's converter."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mlops_aed.export.separate_scales import with_separate_scales

if TYPE_CHECKING:
    from collections.abc import Iterator

    import keras
    from numpy.typing import NDArray

    from mlops_aed.config import Quantization

    Floats = NDArray[np.float32]

_TYPES = {"int8": tf.int8, "uint8": tf.uint8, "float": tf.float32}


def to_tflite(model: keras.Model, calibration: Floats, settings: Quantization) -> bytes:
    """Return the network with 8-bit weights and activations.

    Args:
        model: the float network; its input is (batch, n_mels, frames, 1).
        calibration: normalised training patches, (patches, n_mels, frames).
        settings: types of input and output, and whether each channel has its own scale.
    """

    def samples() -> Iterator[list[Floats]]:
        for patch in calibration:
            yield [patch[None, ..., None].astype(np.float32)]

    converter = _converter(with_separate_scales(model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = _TYPES[settings.input_type]
    converter.inference_output_type = _TYPES[settings.output_type]
    converter._experimental_disable_per_channel = settings.granularity == "per_tensor"  # noqa: SLF001  the only way to switch it off
    content: bytes = converter.convert()
    return content


def to_float_tflite(model: keras.Model) -> bytes:
    """Return the float network in the same format, for comparison with the quantized one on a board."""
    content: bytes = _converter(model).convert()
    return content


def _converter(model: keras.Model) -> Any:
    """Return a converter for one patch at a time; a model on a board has no batches.

    The function's variables become constants. If the network were passed as the object that owns them, the converter
    would save and reload it with the variables left in the graph, which the calibration cannot read.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    shape = (1, *model.input_shape[1:])
    infer = tf.function(lambda patch: model(patch, training=False), input_signature=[tf.TensorSpec(shape, tf.float32)])
    return tf.lite.TFLiteConverter.from_concrete_functions([infer.get_concrete_function()])
