"""The networks and their file format, which is byte-identical for identical weights.

Every network maps images (batch, size, size, 3), float32, 0 to 1, to probabilities (batch, classes).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from mlops_core import ConfigError, StepError, require_plain_hdf5
from mlops_image_classification.config import IMAGENET, RESIDUAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_image_classification.config import ModelChoice

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "weights.npz"
METADATA_FILE = "metadata.json"
BACKBONE = "backbone"


def build(
    choice: ModelChoice, *, size: int, classes: int, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> Any:
    """Return a network with random weights, or with the weights of `choice`.

    Args:
        choice: network and initial weights.
        size: side of the images in pixels.
        classes: number of classes.
        mean: mean of the training images per channel, 0 to 1; used by the residual network.
        deviation: standard deviation of the training images per channel; used by the residual network.

    Raises:
        ConfigError: the weights file is missing, has another checksum, or does not fit the network.
        StepError: the weights cannot be fetched.
    """
    if choice.name == RESIDUAL:
        return _residual_network(choice, size=size, classes=classes, mean=mean, deviation=deviation)
    inputs = keras.Input(shape=(size, size, 3), name="image")
    backbone = _application(choice, size=size)
    backbone.name = BACKBONE
    x = backbone(keras.layers.Rescaling(255.0)(inputs), training=False if choice.weights else None)
    return keras.Model(inputs, _head(x, choice, classes), name=choice.name.lower())


def _application(choice: ModelChoice, *, size: int) -> keras.Model:
    """Return the Keras application without its head; it expects pixels 0 to 255 and normalises them itself."""
    constructor = getattr(keras.applications, choice.name)
    options = {"include_top": False, "input_shape": (size, size, 3), "pooling": "avg", "include_preprocessing": True}
    if choice.weights == IMAGENET:
        try:
            return constructor(weights=IMAGENET, **options)
        except Exception as error:  # Keras raises a bare Exception for a failed download
            cause = " ".join(str(error).split())
            raise StepError(
                f"training.model.weights: the imagenet weights of {choice.name} cannot be fetched: {cause}; "
                "set it to a file with the weights, or to null"
            ) from error
    backbone = constructor(weights=None, **options)
    if choice.weights is not None:
        _load_weights(backbone, Path(choice.weights).expanduser(), sha256=str(choice.weights_sha256))
    return backbone


def _load_weights(model: keras.Model, path: Path, *, sha256: str) -> None:
    import h5py  # with Keras; only here

    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"training.model.weights: {path} is not a regular file")
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"training.model.weights: {path} cannot be read: {error.strerror}") from error
    if actual != sha256:
        raise ConfigError(f"training.model.weights_sha256: {path} has the SHA-256 {actual}; expected {sha256}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras warns about layers that keep random weights
            with h5py.File(path) as file:
                require_plain_hdf5(file, name=f"training.model.weights: {path}", size=path.stat().st_size)
            model.load_weights(path)
    except (ValueError, OSError, LookupError, RuntimeError, TypeError, MemoryError, UserWarning) as error:
        cause = " ".join(str(error).split())[:200]
        raise ConfigError(f"training.model.weights: {path} does not fit {model.name}: {cause}") from error


def _residual_network(
    choice: ModelChoice, *, size: int, classes: int, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> keras.Model:
    inputs = keras.Input(shape=(size, size, 3), name="image")
    variance = [value * value for value in deviation]
    x = keras.layers.Normalization(mean=list(mean), variance=variance)(inputs)
    x = _convolution(x, choice.filters[0], strides=choice.stem_strides, size=2 * choice.stem_strides + 1)
    for position, filters in enumerate(choice.filters):
        for block in range(choice.blocks):
            x = _residual(x, filters, strides=2 if block == 0 and position > 0 else 1)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, _head(x, choice, classes), name=RESIDUAL)


def _head(x: Any, choice: ModelChoice, classes: int) -> Any:
    x = keras.layers.Dropout(choice.dropout)(x)
    return keras.layers.Dense(classes, activation="softmax", name="scores")(x)


def _convolution(x: Any, filters: int, *, strides: int = 1, is_activated: bool = True, size: int = 3) -> Any:
    x = keras.layers.Conv2D(
        filters, size, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return keras.layers.ReLU()(x) if is_activated else x


def _residual(x: Any, filters: int, *, strides: int) -> Any:
    """Return two convolutions with a shortcut; a shortcut with strides averages first, so that no pixel is ignored."""
    shortcut = x
    if strides > 1:
        shortcut = keras.layers.AveragePooling2D(strides, padding="same")(shortcut)
    if x.shape[-1] != filters:
        shortcut = _convolution(shortcut, filters, is_activated=False, size=1)
    x = _convolution(x, filters, strides=strides)
    x = _convolution(x, filters, is_activated=False)
    return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))


def save(model: keras.Model, folder: Path, metadata: dict[str, Any]) -> None:
    """Write architecture, weights and `metadata` into `folder`, without the time stamps of Keras's own archive."""
    (folder / ARCHITECTURE_FILE).write_text(model.to_json() + "\n", encoding="utf-8")
    names = [f"{position:04d}" for position in range(len(model.weights))]
    np.savez(folder / WEIGHTS_FILE, **dict(zip(names, model.get_weights(), strict=True)))
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[keras.Model, dict[str, Any]]:
    """Return the network and the metadata that `save` wrote."""
    model = keras.models.model_from_json((folder / ARCHITECTURE_FILE).read_text(encoding="utf-8"))
    with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as weights:
        model.set_weights([weights[name] for name in sorted(weights.files)])
    return model, json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))


def probabilities(model: keras.Model, images: Any, *, is_mirrored: bool, centre: float) -> NDArray[np.float64]:
    """Return the uncalibrated scores of `images` (batch, size, size, 3), float32, 0 to 1: (batch, classes).

    They are the mean over the views of each picture.

    Args:
        model: the network.
        images: the batch.
        is_mirrored: whether the mirror image of each view is a view.
        centre: share of the side that a second view shows, enlarged; 0 for no second view.
    """
    views = [images, _enlarged_centre(images, centre)] if centre else [images]
    if is_mirrored:
        views += [view[:, :, ::-1] for view in views]
    return np.asarray(np.mean([np.asarray(model(view, training=False), np.float64) for view in views], axis=0))


def _enlarged_centre(images: Any, share: float) -> Any:
    """Return the middle of each image, `share` of its side in whole pixels, scaled to the size of the image."""
    size = images.shape[1]
    margin = min(round(size * (1 - share) / 2), (size - 1) // 2)
    middle = images[:, margin : size - margin, margin : size - margin]
    return keras.ops.image.resize(middle, (size, size), interpolation="bilinear", data_format="channels_last")
