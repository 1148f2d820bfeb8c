"""The typed model of the plugin's ``user_config.yaml``."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mlops_aed.data.folder_labels import known_folds
from mlops_aed.models.pretrained import LocalPath, with_digest
from mlops_aed.training.config import DataAugmentation, ModelChoice, Training
from mlops_core import KeyFaultError, ObserverSection, Section, TuningSection, UseCaseConfig, normalise_path

__all__ = [
    "AedConfig",
    "Classify",
    "DataAugmentation",
    "DatasetSection",
    "FeatureExtraction",
    "General",
    "Mlflow",
    "ModelChoice",
    "Preprocessing",
    "Quantization",
    "StEdgeAi",
    "Training",
]

Positive = Annotated[int, Field(gt=0)]
MAX_FOLD = 99
Mode = Literal["training", "evaluation", "quantization", "chain_tqe", "chain_eqe"]
_FLOAT_FILES = (".h5", ".keras")


def _one_form(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return class names in one normal form of their letters, whichever the editor wrote."""
    return tuple(unicodedata.normalize("NFC", name) for name in names)


ClassNames = Annotated[tuple[str, ...], AfterValidator(_one_form)]
LOG_OFFSET = 1e-4
"""Added before the logarithm when ``to_db`` is false."""


class General(Section):
    """The operation mode: train or load the model at ``model_path``, and quantize it or not.

    ``training`` and ``evaluation`` end with the float model; ``chain_tqe`` (train) and ``chain_eqe`` (an existing
    model) also quantize it and compare the two; ``quantization`` is another name of ``chain_eqe``.
    ``model_path`` is a file of another program, or a folder written by ``mlops models export``; ``model_classes`` is
    the order of the scores of such a file, if it is not alphabetical.
    """

    operation_mode: Mode = "training"
    model_path: LocalPath | None = None
    model_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    model_classes: Annotated[ClassNames, Field(min_length=2)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _digest_is_noted(cls, data: object) -> object:
        return with_digest(data, path_key="model_path", digest_key="model_sha256")

    @property
    def is_trained(self) -> bool:
        """Whether the run trains a model."""
        return self.operation_mode in {"training", "chain_tqe"}

    @property
    def is_quantized(self) -> bool:
        """Whether the run ends in a quantized model."""
        return self.operation_mode in {"quantization", "chain_tqe", "chain_eqe"}

    @model_validator(mode="after")
    def _model_fits_mode(self) -> Self:
        legal = _FLOAT_FILES if self.is_trained or self.is_quantized else (*_FLOAT_FILES, ".tflite", ".onnx")
        if not self.is_trained and self.model_path is None:
            note = (
                f"is required by operation_mode {self.operation_mode}; legal: a file of the format {', '.join(legal)}"
            )
            raise KeyFaultError("model_path", note)
        if self.model_path is not None and self._suffix not in {*legal, "", ".gz"}:
            note = f"{self.model_path}: operation_mode {self.operation_mode} takes {', '.join(legal)}"
            raise KeyFaultError("model_path", note)
        return self

    @property
    def _suffix(self) -> str:
        return PurePosixPath(normalise_path(str(self.model_path))).suffix.lower()


class DatasetSection(Section):
    """The clips of a run, their labels, and their split.

    ``csv`` and ``audio`` name a table of labels and the folder of its files below ``path``; without them the layout is
    detected. If ``test_csv``, and perhaps ``validation_csv``, name further tables, ``csv`` is that of the training
    clips; a run that only evaluates a model needs no ``csv``. ``calibration_csv`` is the table of the clips that
    calibrate the quantization of an existing model; without ``test_csv`` a part of them is scored instead.
    ``strategy`` splits by the folds of the data set, by whole recordings, or by clips at random, which can put clips
    of one recording into several parts. ``folds`` asks for a cross-validation: each of them (``all``: every fold of
    the data set) is the test fold of one branch. ``shards`` is the number of processes or machines that share the
    extraction of features; it does not change the result.
    """

    name: Annotated[str, Field(min_length=1)] = "AED_Dataset"
    path: str | None = None
    csv: str | None = None
    audio: str | None = None
    validation_csv: str | None = None
    validation_audio: str | None = None
    test_csv: str | None = None
    test_audio: str | None = None
    calibration_csv: str | None = None
    calibration_audio: str | None = None
    file_extension: Annotated[str, Field(pattern=r"^\.\w+$")] = ".wav"
    ontology: LocalPath | None = None
    class_names: ClassNames | None = None
    multi_label: bool = False
    only_keep_monolabel: bool = True
    use_garbage_class: bool = False
    n_samples_per_garbage_class: Positive | None = None
    strategy: Literal["fold", "group", "random"] = "fold"
    test_fold: int | None = None
    folds: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_FOLD)], ...], Field(min_length=2)] | None = None
    validation_fold: int | None = None
    validation_split: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    test_split: Annotated[float, Field(gt=0, lt=1)] = 0.2
    max_unreadable: Annotated[int, Field(ge=0)] = 0
    shards: Positive = 1

    @model_validator(mode="before")
    @classmethod
    def _all_folds_are_counted(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("folds") == "all":
            return {**data, "folds": known_folds(data.get("path"), data.get("csv"))}
        return data

    @model_validator(mode="after")
    def _cross_validation_chooses_folds(self) -> Self:
        if self.folds is not None and (self.test_fold is not None or self.strategy != "fold"):
            raise KeyFaultError(
                "folds", "makes each fold the test fold once; leave test_fold empty and set strategy to fold"
            )
        if self.folds is not None and len(set(self.folds)) < len(self.folds):
            raise KeyFaultError("folds", f"{list(self.folds)} holds a fold twice; expected different folds")
        return self

    @model_validator(mode="after")
    def _tables_are_complete(self) -> Self:
        if self.csv is not None and self.calibration_csv is not None:
            raise KeyFaultError("calibration_csv", "and csv exclude each other; keep one of them")
        for part in ("validation", "test", "calibration"):
            if getattr(self, f"{part}_audio") is not None and getattr(self, f"{part}_csv") is None:
                raise KeyFaultError(f"{part}_audio", f"needs {part}_csv, the table of its files")
        if self.validation_csv is not None and self.test_csv is None:
            raise KeyFaultError("validation_csv", "needs test_csv, because validation clips cannot be the test clips")
        if self.test_csv is not None and self.folds is not None:
            raise KeyFaultError("folds", "and test_csv exclude each other; keep one of them to choose the test clips")
        return self

    @model_validator(mode="after")
    def _folds_differ(self) -> Self:
        if self.test_fold is not None and self.test_fold == self.validation_fold:
            raise KeyFaultError("validation_fold", "is also the test_fold; expected another fold")
        if self.class_names is not None and len(set(self.class_names)) < 2:
            raise KeyFaultError("class_names", "expected at least two different classes")
        return self

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        if self.use_garbage_class and self.class_names is None:
            raise KeyFaultError("use_garbage_class", "needs class_names: the other classes become 'other'")
        if self.use_garbage_class and self.multi_label:
            raise KeyFaultError(
                "use_garbage_class", "and multi_label exclude each other: a clip without a chosen class has no label"
            )
        if self.multi_label and self.folds is not None:
            raise ValueError("folds and multi_label exclude each other; choose one fold with test_fold")
        if not self.multi_label and not self.only_keep_monolabel:
            raise KeyFaultError("only_keep_monolabel", "false needs multi_label: true; otherwise a clip has one label")
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
            raise KeyFaultError(
                "min_length", f"{self.min_length:g} is above max_length; legal: at most {self.max_length:g}"
            )
        return self


class FeatureExtraction(Section):
    """From a waveform to log-mel patches; names and meaning are those of librosa."""

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
            raise KeyFaultError("n_fft", f"{self.n_fft} is not a power of two; legal: 256, 512, 1024, ...")
        if self.window_length > self.n_fft:
            raise KeyFaultError("window_length", f"{self.window_length} is above n_fft; legal: at most {self.n_fft}")
        if self.fmin >= self.fmax:
            raise KeyFaultError("fmin", f"{self.fmin:g} is not below fmax; legal: less than {self.fmax:g} Hz")
        return self


class Quantization(Section):
    """Post-training quantization to 8 bits; calibrated on training patches."""

    granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    input_type: Literal["int8", "uint8", "float"] = "int8"
    output_type: Literal["int8", "uint8", "float"] = "float"
    calibration_split: Annotated[float, Field(gt=0, le=1)] = 1.0
    calibration_patches: Positive = 500
    export_onnx: bool = False
    onnx_int8: bool = False
    max_accuracy_drop: Annotated[float, Field(ge=0, le=1)] | None = None
    max_flash_kib: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _export_is_quantized(self) -> Self:
        if self.onnx_int8 and not self.export_onnx:
            raise KeyFaultError("onnx_int8", "needs export_onnx: true, the export that it quantizes")
        return self


class Classify(Section):
    """Files without labels in the folder ``path``, which the finished model of a run classifies."""

    path: LocalPath | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _digest_is_noted(cls, data: object) -> object:
        return with_digest(data, path_key="path", digest_key="sha256", is_model=False)


class StEdgeAi(Section):
    """ST Edge AI Core, with ``path`` as its executable: a run then includes its estimate of the model's needs."""

    path: LocalPath | None = None
    target: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = "stm32u5"
    optimization: Literal["balanced", "time", "ram"] = "balanced"


class Mlflow(ObserverSection):
    """MLflow server or folder to which the observer ``mlflow`` of mlops-mlflow sends runs; none without ``uri``."""

    uri: str | None = None
    experiment: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _folder_is_found_from_elsewhere(cls, data: object) -> object:
        """Make the path of a folder absolute, because a step runs in another folder than the command."""
        uri = data.get("uri") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(uri, str) or not uri or "://" in uri or ":" in uri[2:]:
            return data
        return {**data, "uri": str(Path(normalise_path(uri)).expanduser().absolute())}


class AedConfig(UseCaseConfig):
    """The whole configuration."""

    general: General = General()
    dataset: DatasetSection = DatasetSection()
    preprocessing: Preprocessing = Preprocessing()
    feature_extraction: FeatureExtraction = FeatureExtraction()
    data_augmentation: DataAugmentation = DataAugmentation()
    training: Training = Training()
    tuning: TuningSection = TuningSection()
    quantization: Quantization = Quantization()
    mlflow: Mlflow = Mlflow()
    stedgeai: StEdgeAi = StEdgeAi()
    classify: Classify = Classify()

    @model_validator(mode="after")
    def _search_fits(self) -> Self:
        mode, dataset = self.general.operation_mode, self.dataset
        if self.tuning.trials == 1:
            return self
        if mode != "training":
            raise KeyFaultError("tuning.trials", f"needs operation_mode training, not {mode}; set it, or trials to 1")
        if dataset.folds is not None or dataset.multi_label:
            key = "multi_label" if dataset.multi_label else "folds"
            raise KeyFaultError("tuning.trials", f"and dataset.{key} exclude each other; set trials to 1")
        return self

    @model_validator(mode="after")
    def _rates_fit(self) -> Self:
        half = self.preprocessing.target_rate / 2
        if self.feature_extraction.fmax > half:
            note = "is above half of preprocessing.target_rate; legal: at most"
            raise KeyFaultError("feature_extraction.fmax", f"{self.feature_extraction.fmax:g} {note} {half:g} Hz")
        return self

    @model_validator(mode="after")
    def _gain_has_an_effect(self) -> Self:
        if self.data_augmentation.gain_db and self.feature_extraction.to_db:
            note = "needs feature_extraction.to_db: false; decibels below the maximum of a clip do not depend on a gain"
            raise KeyFaultError("data_augmentation.gain_db", note)
        return self

    @model_validator(mode="after")
    def _backbone_fits(self) -> Self:
        shape = (self.feature_extraction.n_mels, self.feature_extraction.patch_length)
        model = self.training.model
        if self.general.is_trained and model.name == "yamnet" and shape != (64, 96):
            note = f"yamnet takes patches of 64 mels and 96 frames; feature_extraction produces {shape}"
            raise KeyFaultError("training.model.name", note)
        return self

    @model_validator(mode="after")
    def _tables_fit_mode(self) -> Self:
        """Require the tables that the operation mode reads, and none that it would not."""
        dataset, mode = self.dataset, self.general.operation_mode
        if dataset.calibration_csv is not None and (self.general.is_trained or not self.general.is_quantized):
            note = f"is not used by operation_mode {mode}; it calibrates an existing model: set chain_eqe, or remove it"
            raise KeyFaultError("dataset.calibration_csv", note)
        if dataset.test_csv is None or dataset.csv is not None or dataset.calibration_csv is not None:
            return self
        if self.general.is_trained:
            raise KeyFaultError("dataset.csv", "is not set; test_csv needs csv, the table of the training clips")
        if self.general.is_quantized:
            note = f"is not set; operation_mode {mode} needs the table of clips that calibrate, besides test_csv"
            raise KeyFaultError("dataset.calibration_csv", note)
        return self

    @model_validator(mode="after")
    def _one_network(self) -> Self:
        name, path = self.training.model.name, self.general.model_path
        if self.general.is_trained and (name == "file") != (path is not None):
            note = f"is {'not set' if path is None else 'set'}, and training.model.name is {name}; "
            raise KeyFaultError("general.model_path", note + "to train an existing model further, set model.name: file")
        return self
