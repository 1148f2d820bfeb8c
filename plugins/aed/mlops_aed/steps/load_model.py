"""Step ``load``: an existing model, in any supported format, as the model of the run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_aed.config import FeatureExtraction, General, Preprocessing
from mlops_aed.data.clips import LABEL_SEPARATOR
from mlops_aed.data.feature_store import iter_rows, open_features, read_classes
from mlops_aed.models import model_folder, scorers
from mlops_aed.models.class_order import ordered_classes, require_order
from mlops_aed.models.pretrained import obtain, require_model
from mlops_core import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core import StepContext

_KEY = "general.model_path"
_ORDER_KEY = "general.model_classes"
_LOOKED_AT = 500
"""Number of patches that check the order of the scores."""


def load_model(context: StepContext) -> None:
    """Write the model at ``general.model_path`` into the output, with the settings of the features.

    Raises:
        ConfigError: it cannot be read, takes other patches, or returns other scores or another order of them.
    """
    general = context.section("general", General)
    path = obtain(str(general.model_path), context.scratch, sha256=general.model_sha256, key=_KEY)
    require_model(path, str(general.model_path), key=_KEY)
    folder = context.output("model")
    try:
        if path.is_dir():
            _take_folder(context, path, folder)
        else:
            _take_file(context, path, folder)
    except ConfigError as error:  # names the copy in the step's folder, which the user has never seen
        copies = (str(path), str(folder / model_folder.QUANTIZED_FILE), str(folder / model_folder.ONNX_FILE))
        message = str(error)
        for copy in copies:
            message = message.replace(copy, str(general.model_path))
        raise ConfigError(message) from error
    metadata = model_folder.read_metadata(folder)
    right = _check_order(context, folder, metadata, name=path.name)
    context.log.info("loaded %s; its scores are, in this order: %s", path.name, metadata["classes"])
    if right is not None:
        context.log.info("%.1f %% of a sample of patches are right", 100 * right)


def _take_file(context: StepContext, path: Path, folder: Path) -> None:
    """Write a model of another program; it has no feature settings, so those of the configuration are used."""
    features = context.section("feature_extraction", FeatureExtraction)
    classes = read_classes(context.input("features"))
    metadata: dict[str, Any] = {
        "classes": ordered_classes(context.section("general", General).model_classes, classes, key=_ORDER_KEY),
        "mean": 0.0,
        "deviation": 1.0,
        "preprocessing": context.section("preprocessing", Preprocessing).model_dump(),
        "feature_extraction": features.model_dump(),
        "origin": path.name,
    }
    input_shape, count = _write(path, folder, metadata)
    require_fit(input_shape, count, name=path.name, shape=(features.n_mels, features.patch_length), classes=classes)


def require_fit(
    found: tuple[int | None, ...], count: int, *, name: str, shape: tuple[int, int], classes: tuple[str, ...]
) -> None:
    """Check that a model takes the patches of the features and returns one score per class.

    Raises:
        ConfigError: it does not.
    """
    if tuple(size for size in found if size != 1) != shape:
        raise ConfigError(
            f"{_KEY}: {name} takes patches of the shape {found}; feature_extraction gives {shape} (n_mels, frames)"
        )
    if count != len(classes):
        raise ConfigError(
            f"{_KEY}: {name} returns {count} scores; the data set has {len(classes)} classes: {', '.join(classes)}"
        )


def _take_folder(context: StepContext, path: Path, folder: Path) -> None:
    """Copy a model that ``mlops models export`` wrote.

    Raises:
        ConfigError: it is not such a model, or was trained with other features.
    """
    if not (path / model_folder.METADATA_FILE).is_file():
        raise ConfigError(
            f"{_KEY}: {path} is not an exported model; expected a file, or a folder written by mlops models export"
        )
    metadata = model_folder.read_metadata(path)
    settings = {
        "preprocessing": context.section("preprocessing", Preprocessing).model_dump(),
        "feature_extraction": context.section("feature_extraction", FeatureExtraction).model_dump(),
    }
    for section, now in settings.items():
        for key, value in metadata[section].items():
            if now.get(key) != value:
                raise ConfigError(f"{section}.{key} is {now.get(key)!r}; {path.name} was trained with {value!r}")
    ordered_classes(metadata["classes"], read_classes(context.input("features")), key=f"{_KEY}: classes of {path.name}")
    for item in path.iterdir():
        if item.is_file():
            shutil.copyfile(item, folder / item.name)


def _check_order(context: StepContext, folder: Path, metadata: dict[str, Any], *, name: str) -> float | None:
    """Return the accuracy on patches of the whole data set; None if patches have several labels or none exist."""
    rows = list(iter_rows(context.input("features")))
    if not rows or any(LABEL_SEPARATOR in row.label for row in rows):
        return None
    places = np.unique(np.linspace(0, len(rows) - 1, min(_LOOKED_AT, len(rows))).astype(int))
    patches = np.asarray(open_features(context.input("features"))[places])
    scores = scorers.scores(scorers.open_scorer(folder), patches, metadata)
    labels = [rows[place].label for place in places]
    return require_order(scores, labels, metadata["classes"], key=_ORDER_KEY, name=f"{_KEY}: {name}")


def _write(path: Path, folder: Path, metadata: dict[str, Any]) -> tuple[tuple[int | None, ...], int]:
    """Return the shape of a patch and the number of scores."""
    suffix = path.suffix.lower()
    if suffix in {".tflite", ".onnx"}:
        name = model_folder.QUANTIZED_FILE if suffix == ".tflite" else model_folder.ONNX_FILE
        shutil.copyfile(path, folder / name)
        model_folder.write_metadata(folder, metadata)
        scorer: Any = scorers.open_scorer(folder)
        return scorer.input_shape, scorer.classes
    if suffix in {".h5", ".keras"}:
        from mlops_aed.models import foreign, network

        model = foreign.load_keras(path)
        network.save(model, folder, {**metadata, "weights": int(model.count_params())})
        return tuple(model.input_shape[1:]), int(model.output_shape[-1])
    raise ConfigError(f"{_KEY}: {path.name} has an unknown format; expected .h5, .keras, .tflite or .onnx")
