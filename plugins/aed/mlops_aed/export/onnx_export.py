"""Export of a float network to ONNX, and the check that it returns the same scores."""

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
    try:
        model.export(str(path), format="onnx", verbose=False)
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
