"""The three layouts: detection, and the name of each key in the newest common layout (v2/v3)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_aed.stm32.rules import OPEN_SECTIONS, REFUSED_SECTIONS, RULES, V1_RULES, V4_RULES, sections

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_aed.stm32.values import Rule
    from mlops_core import YamlSource


class Layout(StrEnum):
    """A generation of the model zoo's configuration."""

    V1 = "layout v1 of the STM32 model zoo"
    V2 = "layout v2/v3 of the STM32 model zoo"
    V4 = "layout v4 of the STM32 model zoo"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One value of the file.

    Attributes:
        key: dotted key of the file.
        name: its name in the v2/v3 layout; equal to `key` if it has none.
        value: value as parsed from YAML.
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
    "dataset.test_path": "dataset.test_csv_path",
    "dataset.validation_path": "dataset.validation_csv_path",
    "dataset.use_other_class": "dataset.use_garbage_class",
    "dataset.n_samples_per_other_class": "dataset.n_samples_per_garbage_class",
    "train_parameters.use_other_class": "dataset.use_garbage_class",
    "train_parameters.n_samples_per_other_class": "dataset.n_samples_per_garbage_class",
    "train_parameters.batch_size": "training.batch_size",
    "train_parameters.training_epochs": "training.epochs",
    "train_parameters.dropout": "training.dropout",
}
_V4 = {
    "model.model_name": "training.model.name",
    "model.input_shape": "training.model.input_shape",
    "model.pretrained": "training.model.pretrained_weights",
    "model.model_path": "general.model_path",
    "dataset.dataset_name": "dataset.name",
    "training.resume_training": "training.resume_training_from",
}
RENAMED = {Layout.V1: _V1, Layout.V2: {}, Layout.V4: _V4}
ADDED: dict[Layout, dict[str, Rule]] = {Layout.V1: V1_RULES, Layout.V2: {}, Layout.V4: V4_RULES}
_V2_SECTIONS = {"operation_mode", "hydra", "dataset_specific", "tools", "benchmarking", "deployment", "prediction"}
"""Top-level keys that no configuration of this use case has."""
_RENAMED_SECTIONS = {Layout.V1: {"pre_processing": "preprocessing", "stm32ai": "tools"}}


def detect(data: Mapping[str, Any]) -> Layout | None:
    """Return the layout of a file; None if it is not a file of the model zoo."""
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
    general = data.get("general")
    is_ours = isinstance(general, dict) and "operation_mode" in general
    return Layout.V2 if not is_ours and _V2_SECTIONS & data.keys() else None


@functools.cache
def key_of(name: str, layout: Layout) -> str:
    """Return the name in another layout of the key `name` of the layout v2/v3; `name` if it has none."""
    for key, target in RENAMED[layout].items():
        if target == name:
            return key
    section, dot, rest = name.partition(".")
    renamed = {target: key for key, target in _RENAMED_SECTIONS.get(layout, {}).items()}
    return f"{renamed.get(section, section)}{dot}{rest}"


@functools.cache
def legal_keys(layout: Layout) -> tuple[str, ...]:
    """Return every dotted key of a layout, without those of open sections."""
    return (*(key_of(name, layout) for name in RULES), *RENAMED[layout], *ADDED[layout])


def legal_sections(layout: Layout) -> tuple[str, ...]:
    """Return the names of the sections of the layout."""
    own = {key.partition(".")[0] for key in (*RENAMED[layout], *ADDED[layout])}
    renamed = _RENAMED_SECTIONS.get(layout, {})
    return tuple(
        dict.fromkeys([*(name for name in sections() if name not in renamed.values()), *sorted(own), *renamed])
    )


def walk(source: YamlSource, layout: Layout) -> Iterator[FileEntry]:
    """Yield the values of the file in order, down to keys that have a rule or are unknown."""
    legal_names = set(legal_keys(layout))
    yield from _walk(source, layout, source.data, "", legal_names)


def _walk(
    source: YamlSource, layout: Layout, data: Mapping[str, Any], prefix: str, legal_names: set[str]
) -> Iterator[FileEntry]:
    for part, value in data.items():
        key = f"{prefix}{part}"
        is_inner = any(legal.startswith(f"{key}.") for legal in legal_names)
        name = name_of(key, layout)
        is_open = name.partition(".")[0] in {*OPEN_SECTIONS, *REFUSED_SECTIONS} and key.count(".") < 1
        if isinstance(value, dict) and (is_inner or (is_open and value)):
            yield from _walk(source, layout, value, f"{key}.", legal_names)
        else:
            yield FileEntry(key=key, name=name, value=value, line=source.lines.get(key, 0))


def name_of(key: str, layout: Layout) -> str:
    """Return the name in the layout v2/v3 of a key of another layout; `key` if it has none."""
    if key in RENAMED[layout]:
        return RENAMED[layout][key]
    section, dot, rest = key.partition(".")
    return f"{_RENAMED_SECTIONS.get(layout, {}).get(section, section)}{dot}{rest}"
