"""Export of a float network to ONNX, the check that it returns the same scores, and its quantization to int8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_aed.models.onnx_models import OnnxModel
from mlops_core import StepError

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_TOLERANCE = 1e-4


def export(model: keras.Model, path: Path) -> None:
    """Write `model` to `path`.

    Raises:
        StepError: the exporter is not installed, or does not support a layer.
    """
    import keras

    try:
        # Without a signature, Keras refuses a model that was loaded and never called.
        signature = [keras.InputSpec(shape=model.input_shape, dtype="float32")]
        model.export(str(path), format="onnx", verbose=False, input_signature=signature)
    except ModuleNotFoundError as error:
        raise StepError(f"quantization.export_onnx needs {error.name}: pip install 'mlops-aed[onnx]'") from error


def require_equal(model: keras.Model, path: Path, patches: Floats) -> None:
    """Compare the scores of both for normalised `patches` (patches, n_mels, frames).

    Raises:
        StepError: they differ.
    """
    expected = model.predict(patches[..., None], verbose=0)
    difference = float(np.abs(OnnxModel(path).scores(patches) - expected).max())
    if difference > _TOLERANCE:
        raise StepError(f"{path.name} returns other scores than the network: they differ by up to {difference:.2g}")


def quantize(source: Path, target: Path, calibration: Floats, *, is_per_channel: bool, scratch: Path) -> None:
    """Write the network in `source` with 8-bit weights and activations to `target`, in the QDQ form.

    Input and scores stay floats; a pair of nodes quantizes and restores each tensor.

    Args:
        source: an exported float network.
        target: receives the quantized one.
        calibration: normalised training patches, (patches, n_mels, frames).
        is_per_channel: whether each channel of a weight has its own scale.
        scratch: folder for the network with the shapes of its tensors.

    Raises:
        StepError: ONNX Runtime cannot quantize it.
    """
    import onnxruntime.quantization as ort
    from onnxruntime.quantization.shape_inference import quant_pre_process

    shape = OnnxModel(source).input_shape
    name = OnnxModel(source).input_name

    class Patches(ort.CalibrationDataReader):  # type: ignore[misc]  # a class without types
        """Gives one patch after the other."""

        def __init__(self) -> None:
            self._rest = iter(calibration)

        def get_next(self) -> dict[str, Floats] | None:
            patch = next(self._rest, None)
            return None if patch is None else {name: patch.reshape(1, *shape).astype(np.float32)}

    prepared = scratch / "prepared.onnx"
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        ort.quantize_static(
            str(prepared),
            str(target),
            Patches(),
            quant_format=ort.QuantFormat.QDQ,
            per_channel=is_per_channel,
            activation_type=ort.QuantType.QInt8,
            weight_type=ort.QuantType.QInt8,
        )
    except Exception as error:  # raises anything for a network that it does not support
        raise StepError(f"{source.name} cannot be quantized: {' '.join(str(error).split())[:200]}") from error
