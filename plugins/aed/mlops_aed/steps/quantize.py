"""Step ``quantize``: the quantized model, its cost, and its tables for a microcontroller."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from mlops_aed.config import FeatureExtraction, Preprocessing, Quantization
from mlops_aed.data.clips import TRAIN
from mlops_aed.data.feature_store import open_features, read_rows
from mlops_aed.export import c_header, onnx_export
from mlops_aed.export import quantization as quantizing
from mlops_aed.models import model_folder, network, scorers
from mlops_aed.models.litert import LiteRtModel
from mlops_core import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_core import StepContext

    Floats = NDArray[np.float32]


def quantize(context: StepContext) -> None:
    """Write ``quantized_model.tflite``, its metadata, ``C_header`` and, if set, ``model.onnx`` and its int8 form."""
    settings = context.section("quantization", Quantization)
    source = context.input("model")
    if not (source / model_folder.ARCHITECTURE_FILE).is_file():
        raise ConfigError(
            f"general.model_path: {model_folder.read_metadata(source)['origin']} cannot be quantized; expected a "
            "Keras network (.h5, .keras); use operation_mode evaluation to measure it as it is"
        )
    model, metadata = network.load(source)
    calibration = _calibration(context, settings, metadata["mean"], metadata["deviation"])
    folder = context.output("model")
    path = folder / model_folder.QUANTIZED_FILE
    path.write_bytes(quantizing.to_tflite(model, calibration, settings))
    quantized = LiteRtModel(path)
    cost = quantized.cost()
    context.log.info(
        "calibrated with %d training patches; %.1f KiB of flash, about %.1f KiB of activations, %.2f million MACs",
        len(calibration),
        cost.flash_bytes / 1024,
        cost.activations_bytes / 1024,
        cost.multiplications / 1e6,
    )
    quantity = quantized.input_quantity
    described = {
        **metadata,
        "cost": asdict(cost),
        "input": {"type": quantity.dtype.name, "scale": quantity.scale, "zero_point": quantity.zero_point},
        "quantization": settings.model_dump(),
    }
    model_folder.write_metadata(folder, described)
    c_header.write(
        folder / "C_header",
        classes=metadata["classes"],
        preprocessing=context.section("preprocessing", Preprocessing),
        features=context.section("feature_extraction", FeatureExtraction),
    )
    if settings.export_onnx:
        onnx_export.export(model, folder / model_folder.ONNX_FILE)
        onnx_export.require_equal(model, folder / model_folder.ONNX_FILE, calibration[:16])
    if settings.onnx_int8:
        onnx_export.quantize(
            folder / model_folder.ONNX_FILE,
            folder / model_folder.QUANTIZED_ONNX_FILE,
            calibration,
            is_per_channel=settings.granularity == "per_channel",
            scratch=context.scratch,
        )


def _calibration(context: StepContext, settings: Quantization, mean: float, deviation: float) -> Floats:
    """Return some normalised patches, spread evenly over the training part."""
    rows = read_rows(context.input("features"), TRAIN, split=context.input("split"))
    count = max(1, min(settings.calibration_patches, round(len(rows) * settings.calibration_split)))
    chosen = [rows[place].index for place in np.linspace(0, len(rows) - 1, count).astype(int)]
    return scorers.normalise(np.asarray(open_features(context.input("features"))[chosen]), mean, deviation)
