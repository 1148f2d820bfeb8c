"""The typed model of both default configurations, ``road_sign.yaml`` and ``scene.yaml``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from mlops_core import GateSection, Section, TuningSection, UseCaseConfig, placeholder_of

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Strength = Annotated[float, Field(ge=0, le=1)]
IMAGENET = "imagenet"
RESIDUAL = "residual"
_SMALLEST_OF_APPLICATIONS = 32
_HDF5 = b"\x89HDF\r\n\x1a\n"


class DatasetSection(Section):
    """The images to use, and which of them belong together."""

    name: Annotated[str, Field(min_length=1)]
    path: str | None = None
    class_names: tuple[str, ...] | None = None
    group_pattern: str | None = None

    @field_validator("group_pattern")
    @classmethod
    def _names_a_group(cls, value: str | None) -> str | None:
        try:
            if value is not None and re.compile(value).groups != 1:
                raise ValueError("expected a regular expression with one group in brackets, which names the track")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    @field_validator("class_names")
    @classmethod
    def _names_classes(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(set(value)) < 2:
            raise ValueError("class_names needs at least two different classes")
        return value


class SplitSection(Section):
    """Assignment of pictures to training, validation and test."""

    validation_split: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    test_split: Annotated[float, Field(gt=0, lt=0.5)] = 0.2
    near_duplicate_bits: Annotated[int, Field(ge=0, le=7)] = 7
    near_duplicate_similarity: Annotated[float, Field(gt=0.5, le=1)] | None = 0.98
    conflicting_labels: Literal["drop", "fail"] = "drop"


class Preprocessing(Section):
    """Conversion of a file to pixels; sizes are side lengths in pixels.

    Attributes:
        autocontrast: percentage of the darkest and of the brightest pixels that become black and white; 0 leaves the
            contrast unchanged.
    """

    image_size: Annotated[int, Field(ge=16, le=1024)] = 48
    use_roi: bool = True
    autocontrast: Annotated[float, Field(ge=0, lt=50)] = 0.0
    min_side: Positive = 4
    max_megapixels: Annotated[float, Field(gt=0, le=170)] = 128
    max_unreadable: Annotated[int, Field(ge=0)] = 0
    shards: Annotated[int, Field(ge=1, le=64)] = 1


class DataAugmentation(Section):
    """Strength of each augmentation of training images; 0 (or false) disables it."""

    horizontal_flip: bool = False
    rotation_deg: Annotated[float, Field(ge=0, le=180)] = 10
    zoom: Fraction = 0.1
    shift: Fraction = 0.1
    shear: Fraction = 0.1
    brightness: Fraction = 0.3
    contrast: Fraction = 0.3
    saturation: Strength = 0.3
    noise: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    erase: Fraction = 0.0
    mixup_alpha: Annotated[float, Field(ge=0, le=2)] = 0.0
    cutmix_alpha: Annotated[float, Field(ge=0, le=2)] = 0.0


def _fault_of_weights(where: str) -> str:
    """Return what is visibly wrong with a file of weights on this machine; empty for nothing, or for no file."""
    try:
        path = Path(where).expanduser()
        if not path.is_file():
            return ""
        if what := placeholder_of(path):
            return f"is {what}"
        with path.open("rb") as stream:
            start = stream.read(len(_HDF5))
    except (OSError, RuntimeError, ValueError):  # the step that reads it says why
        return ""
    return "" if start == _HDF5 else "is not an HDF5 file; expected weights that Keras saved as .weights.h5 or .h5"


class ModelChoice(Section):
    """The network and its initial weights."""

    name: Literal[
        "residual",
        "MobileNetV3Small",
        "MobileNetV3Large",
        "EfficientNetV2B0",
        "EfficientNetV2B1",
        "EfficientNetV2B2",
        "EfficientNetV2B3",
        "EfficientNetV2S",
    ] = "residual"
    filters: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=6)] = (32, 64, 128, 256)
    blocks: Annotated[int, Field(ge=1, le=6)] = 1
    stem_strides: Annotated[int, Field(ge=1, le=4)] = 2
    dropout: Fraction = 0.2
    weights: Annotated[str, Field(min_length=1)] | None = None
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.name == RESIDUAL and self.weights is not None:
            raise ValueError("'residual' starts from random weights; set weights to null, or name a Keras application")
        is_file = self.weights not in (None, IMAGENET)
        if is_file and self.weights_sha256 is None:
            raise ValueError(
                "weights from a file need weights_sha256, the SHA-256 of that file, so that the run records its weights"
            )
        if self.weights_sha256 is not None and not is_file:
            raise ValueError("weights_sha256 is set, but weights is not a file")
        if is_file and (fault := _fault_of_weights(str(self.weights))):
            raise ValueError(f"weights: {self.weights} {fault}")
        return self


class FineTuning(Section):
    """Fine-tuning of pretrained weights: first a new head on the frozen network, then its upper layers as well.

    Attributes:
        head_epochs: number of epochs in which only the head is trained.
        learning_rate: peak learning rate of the second phase.
        trained_share: share of the network's layers, from the top, that the second phase trains.
    """

    head_epochs: Annotated[int, Field(ge=0)] = 5
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.0001
    trained_share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Training(Section):
    """Training of the network."""

    model: ModelChoice = ModelChoice()
    fine_tuning: FineTuning = FineTuning()
    batch_size: Positive = 64
    epochs: Positive = 60
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    patience: Positive = 20
    perfect_epochs: Positive = 10
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.002
    warmup_epochs: Annotated[float, Field(ge=0)] = 3
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.05
    label_smoothing: Fraction = 0.1
    ema_momentum: Fraction = 0.99
    class_weights: Literal["none", "balanced", "sqrt"] = "none"
    mirrored_scores: bool = False
    centre_scores: Fraction = 0.0
    kernel_share: Fraction = 0.0
    cache_mb: Annotated[int, Field(ge=0)] = 1024


class AccuracyGate(GateSection):
    """Default threshold of the gate, and the condition that replaces it."""

    accuracy: Annotated[float, Field(ge=0, le=1)]


class ImageConfig(UseCaseConfig):
    """The whole configuration."""

    dataset: DatasetSection
    split: SplitSection = SplitSection()
    preprocessing: Preprocessing = Preprocessing()
    data_augmentation: DataAugmentation = DataAugmentation()
    training: Training = Training()
    tuning: TuningSection = TuningSection()
    gate: AccuracyGate

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        size, name = self.preprocessing.image_size, self.training.model.name
        if name != RESIDUAL and size < _SMALLEST_OF_APPLICATIONS:
            raise ValueError(
                f"preprocessing.image_size {size} is below {_SMALLEST_OF_APPLICATIONS}, the minimum of {name}"
            )
        if self.training.mirrored_scores and not self.data_augmentation.horizontal_flip:
            raise ValueError(
                "training.mirrored_scores scores mirrored pictures, but the network is not trained on any; set "
                "data_augmentation.horizontal_flip to true, or mirrored_scores to false"
            )
        return self
