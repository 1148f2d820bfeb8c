"""The three layouts: which one a file has, and the name of each of its keys in the newest common one (v2/v3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_aed.stm32.rules import OPEN_SECTIONS, REFUSED_SECTIONS, RULES, sections

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.yaml_source import YamlSource


class Layout(StrEnum):
    """A generation of the model zoo's configuration."""

    V1 = "layout v1 of the STM32 model zoo"
    V2 = "layout v2/v3 of the STM32 model zoo"
    V4 = "layout v4 of the STM32 model zoo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One value of the file.

    Attributes:
        key: dotted, as it stands there.
        name: its name in the v2/v3 layout; equal to `key` where there is none.
        value: as YAML gives it.
        line: counted from 1.
    """

    key: str
    name: str
    value: Any
    line: int


_V1 = {
    "model.model_type.name": "training.model.name",
    "model.model_type.embedding_size": "training.model.embedding_size",
    "model.model_type.n_stacks": "training.model.n_stacks",
    "model.model_type.version": "training.model.version",
    "model.model_type.pooling": "training.model.pooling",
    "model.input_shape": "training.model.input_shape",
    "model.expand_last_dim": "dataset.expand_last_dim",
    "model.model_path": "general.model_path",
    "model.transfer_learning": "training.model.pretrained_weights",
    "model.fine_tune": "training.fine_tune",
    "model.dropout": "training.dropout",
    "model.multi_label": "dataset.multi_label",
    "model.unknown_class_threshold": "deployment.unknown_class_threshold",
    "dataset.audio_path": "dataset.training_audio_path",
    "dataset.csv_path": "dataset.training_csv_path",
    "dataset.test_path": "dataset.test_audio_path",
    "dataset.use_other_class": "dataset.use_garbage_class",
    "dataset.n_samples_per_other_class": "dataset.n_samples_per_garbage_class",
    "dataset.collapse_to_monolabel": "dataset_specific.fsd50k.only_keep_monolabel",
    "train_parameters.batch_size": "training.batch_size",
    "train_parameters.training_epochs": "training.epochs",
    "train_parameters.dropout": "training.dropout",
}
_V1_ONLY = (
    "train_parameters.optimizer",
    "train_parameters.initial_learning",
    "train_parameters.patience",
    "train_parameters.learning_rate_scheduler",
    "train_parameters.restore_best_weights",
    "data_augmentation.GaussianNoise",
    "data_augmentation.VolumeAugment",
    "data_augmentation.min_scale",
    "data_augmentation.max_scale",
    "data_augmentation.SpecAug",
    "data_augmentation.freq_mask_param",
    "data_augmentation.time_mask_param",
    "data_augmentation.n_freq_mask",
    "data_augmentation.n_time_mask",
    "data_augmentation.mask_value",
    "quantization.quantize",
    "quantization.evaluate",
)
_V4 = {
    "model.model_name": "training.model.name",
    "model.input_shape": "training.model.input_shape",
    "model.pretrained": "training.model.pretrained_weights",
    "model.model_path": "general.model_path",
    "dataset.dataset_name": "dataset.name",
    "training.resume_training": "training.resume_training_from",
}
_V4_ONLY = ("model.framework", "model.model_type", "dataset.classes_file_path", "dataset.prediction_audio_path")
RENAMED = {Layout.V1: _V1, Layout.V2: {}, Layout.V4: _V4}
ADDED = {Layout.V1: _V1_ONLY, Layout.V2: (), Layout.V4: _V4_ONLY}
_RENAMED_SECTIONS = {Layout.V1: {"pre_processing": "preprocessing", "stm32ai": "tools"}}


def detect(data: Mapping[str, Any]) -> Layout | None:
    """Return the layout of a file; None for one that is not the model zoo's."""
    model = data.get("model")
    model_keys = set(model) if isinstance(model, dict) else set()
    dataset = data.get("dataset")
    is_old = {"pre_processing", "train_parameters", "stm32ai"} & data.keys() or "model_type" in model_keys
    if is_old and "model_name" not in model_keys:
        return Layout.V1
    if {"model_name", "framework", "pretrained"} & model_keys or (
        isinstance(dataset, dict) and "dataset_name" in dataset
    ):
        return Layout.V4
    if {"operation_mode", "mlflow", "hydra", "dataset_specific", "tools"} & data.keys():
        return Layout.V2
    return None


def legal_keys(layout: Layout) -> tuple[str, ...]:
    """Return every dotted key that a file of the layout may hold, without those of open sections."""
    backwards = {name: key for key, name in RENAMED[layout].items()}
    by_section = {name: key for key, name in _RENAMED_SECTIONS.get(layout, {}).items()}
    found = []
    for name in RULES:
        section, _, rest = name.partition(".")
        found.append(backwards.get(name) or (f"{by_section[section]}.{rest}" if section in by_section else name))
    return (*found, *RENAMED[layout], *ADDED[layout])


def legal_sections(layout: Layout) -> tuple[str, ...]:
    """Return the names of the sections of the layout."""
    own = {key.partition(".")[0] for key in (*RENAMED[layout], *ADDED[layout])}
    renamed = _RENAMED_SECTIONS.get(layout, {})
    return tuple(
        dict.fromkeys([*(name for name in sections() if name not in renamed.values()), *sorted(own), *renamed])
    )


def walk(source: YamlSource, layout: Layout) -> Iterator[Found]:
    """Yield the values of the file in their order, down to keys that have a rule or that nobody knows."""
    known = set(legal_keys(layout))
    yield from _walk(source, layout, source.data, "", known)


def _walk(source: YamlSource, layout: Layout, data: Mapping[str, Any], prefix: str, known: set[str]) -> Iterator[Found]:
    for part, value in data.items():
        key = f"{prefix}{part}"
        is_inner = any(legal.startswith(f"{key}.") for legal in known)
        name = _name(key, layout)
        is_open = name.partition(".")[0] in {*OPEN_SECTIONS, *REFUSED_SECTIONS} and key.count(".") < 1
        if isinstance(value, dict) and (is_inner or (is_open and value)):
            yield from _walk(source, layout, value, f"{key}.", known)
        else:
            yield Found(key=key, name=name, value=value, line=source.lines.get(key, 0))


def _name(key: str, layout: Layout) -> str:
    if key in RENAMED[layout]:
        return RENAMED[layout][key]
    section, dot, rest = key.partition(".")
    return f"{_RENAMED_SECTIONS.get(layout, {}).get(section, section)}{dot}{rest}"
