"""Step ``analyze``: the needs of the model on a microcontroller, estimated by ST's tool."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlops_aed.config import StEdgeAi
from mlops_aed.export import stedgeai
from mlops_aed.models import model_folder

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core import StepContext

FOOTPRINT_FILE = "footprint.json"


def analyze(context: StepContext) -> None:
    """Write the tool's reports and ``footprint.json``."""
    settings = context.section("stedgeai", StEdgeAi)
    output = context.output("footprint")
    model = _model_file(context.input("model"), context.scratch)
    footprint = stedgeai.analyze(model, settings, output=output, workspace=context.scratch)
    described = {"target": settings.target, "optimization": settings.optimization, **footprint}
    (output / FOOTPRINT_FILE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    context.log.info("on %s: %s", settings.target, ", ".join(f"{name} {value:,}" for name, value in footprint.items()))


def _model_file(folder: Path, scratch: Path) -> Path:
    """Return a file that the tool can read; a Keras network is converted first."""
    for name in (model_folder.QUANTIZED_FILE, model_folder.ONNX_FILE):
        if (folder / name).is_file():
            return folder / name
    from mlops_aed.export import quantization as quantizing
    from mlops_aed.models import network

    path = scratch / "float_model.tflite"
    path.write_bytes(quantizing.to_float_tflite(network.load(folder)[0]))
    return path
