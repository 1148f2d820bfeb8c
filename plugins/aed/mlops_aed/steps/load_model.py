"""Take a model that exists, in whatever format, as the model of this run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from mlops_aed import model_folder
from mlops_aed.config import FeatureExtraction, General, Preprocessing
from mlops_aed.feature_store import read_classes
from mlops_aed.pretrained import obtain
from mlops_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.steps import StepContext

_KEY = "general.model_path"


def load_model(context: StepContext) -> None:
    """Write the model at ``general.model_path`` into the output, with the settings of the features.

    Raises:
        ConfigError: it cannot be read, or it takes other patches or gives another number of classes.
    """
    general = context.section("general", General)
    path = obtain(str(general.model_path), context.scratch, sha256=general.model_sha256, key=_KEY)
    features = context.section("feature_extraction", FeatureExtraction)
    classes = read_classes(context.input("features"))
    metadata: dict[str, Any] = {
        "classes": classes,
        "mean": 0.0,
        "deviation": 1.0,
        "preprocessing": context.section("preprocessing", Preprocessing).model_dump(),
        "feature_extraction": features.model_dump(),
        "origin": path.name,
    }
    found, count = _write(path, context.output("model"), metadata)
    shape = (features.n_mels, features.patch_length)
    if tuple(size for size in found if size != 1) != shape:
        raise ConfigError(
            f"{_KEY}: {path.name} takes patches of the shape {found}; feature_extraction gives {shape} (n_mels, frames)"
        )
    if count != len(classes):
        raise ConfigError(
            f"{_KEY}: {path.name} gives {count} scores; the data set has {len(classes)} classes: {classes}"
        )
    context.log.info("took %s as the model; its scores are taken to be in the order of %s", path.name, list(classes))


def _write(path: Path, folder: Path, metadata: dict[str, Any]) -> tuple[tuple[int, ...], int]:
    """Return the shape of a patch and the number of scores."""
    if path.suffix in {".tflite", ".onnx"}:
        name = model_folder.QUANTIZED_FILE if path.suffix == ".tflite" else model_folder.ONNX_FILE
        shutil.copyfile(path, folder / name)
        model_folder.write_metadata(folder, metadata)
        scorer: Any = model_folder.open_scorer(folder)
        return scorer.input_shape, scorer.classes
    if path.suffix in {".h5", ".keras"}:
        from mlops_aed import foreign, network

        model = foreign.load_keras(path)
        network.save(model, folder, {**metadata, "weights": int(model.count_params())})
        return tuple(model.input_shape[1:]), int(model.output_shape[-1])
    raise ConfigError(f"{_KEY}: {path.name} is of no known format; expected .h5, .keras, .tflite or .onnx")
