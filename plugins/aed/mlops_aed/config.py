"""The typed model of the plugin's ``user_config.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mlops_core.config import Section, UseCaseConfig

Positive = Annotated[int, Field(gt=0)]


class DatasetSection(Section):
    """Which clips are used, and how they are split."""

    name: Annotated[str, Field(min_length=1)] = "AED_Dataset"
    path: str | None = None
    class_names: tuple[str, ...] | None = None
    test_fold: int | None = None
    validation_fold: int | None = None
    validation_split: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    max_unreadable: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _folds_differ(self) -> Self:
        if self.test_fold is not None and self.test_fold == self.validation_fold:
            raise ValueError("test_fold and validation_fold are the same; the test fold must stay unseen")
        if self.class_names is not None and len(set(self.class_names)) < 2:
            raise ValueError("class_names needs at least two different classes")
        return self


class Preprocessing(Section):
    """From a file to a waveform: lengths in seconds, rate in Hz, silence in dB and samples."""

    min_length: Annotated[float, Field(gt=0)] = 1
    max_length: Annotated[float, Field(gt=0)] = 10
    target_rate: Positive = 16000
    top_db: Annotated[float, Field(gt=0)] = 60
    frame_length: Positive = 3200
    hop_length: Positive = 3200
    trim_last_second: bool = False

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} is above max_length {self.max_length}")
        return self


class FeatureExtraction(Section):
    """From a waveform to log-mel patches; the names and their meaning are librosa's."""

    patch_length: Positive = 96
    n_mels: Positive = 64
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25
    n_fft: Positive = 512
    hop_length: Positive = 160
    window_length: Positive = 400
    window: Literal["hann"] = "hann"
    center: bool = False
    pad_mode: Literal["constant", "reflect", "edge"] = "constant"
    power: Annotated[float, Field(ge=1, le=2, multiple_of=1)] = 1.0
    fmin: Annotated[float, Field(ge=0)] = 125
    fmax: Annotated[float, Field(gt=0)] = 7500
    norm: Literal["slaney"] | None = None
    htk: bool = True
    to_db: bool = False
    include_last_patch: bool = False

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.n_fft & (self.n_fft - 1):
            raise ValueError(f"n_fft {self.n_fft} is not a power of two")
        if self.window_length > self.n_fft:
            raise ValueError(f"window_length {self.window_length} is above n_fft {self.n_fft}")
        if self.fmin >= self.fmax:
            raise ValueError(f"fmin {self.fmin} is not below fmax {self.fmax}")
        return self


class DataAugmentation(Section):
    """What is done to training patches: strengths; 0 switches each off."""

    mixup_alpha: Annotated[float, Field(ge=0, le=2)] = 0.3
    time_mask: Annotated[int, Field(ge=0)] = 16
    frequency_mask: Annotated[int, Field(ge=0)] = 8
    time_shift: Annotated[int, Field(ge=0)] = 24


class ModelChoice(Section):
    """The network."""

    name: Literal["residual"] = "residual"
    filters: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=5)] = (16, 32, 64)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2


class Training(Section):
    """How it is trained; a step is one weight update on one batch."""

    model: ModelChoice = ModelChoice()
    batch_size: Positive = 32
    steps: Positive = 2000
    patience: Positive = 500
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.003
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0005
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1


class AedConfig(UseCaseConfig):
    """The whole configuration."""

    dataset: DatasetSection = DatasetSection()
    preprocessing: Preprocessing = Preprocessing()
    feature_extraction: FeatureExtraction = FeatureExtraction()
    data_augmentation: DataAugmentation = DataAugmentation()
    training: Training = Training()

    @model_validator(mode="after")
    def _rates_fit(self) -> Self:
        half = self.preprocessing.target_rate / 2
        if self.feature_extraction.fmax > half:
            raise ValueError(
                f"feature_extraction.fmax {self.feature_extraction.fmax} is above half of "
                f"preprocessing.target_rate ({half:g} Hz)"
            )
        return self
