"""What a file of the model zoo means here: each key checked, then every section of our configuration set."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mlops_aed.stm32 import layouts
from mlops_aed.stm32.augmentation import SECTION, strengths
from mlops_aed.stm32.layouts import Layout
from mlops_aed.stm32.rules import OPEN_SECTIONS, REFUSED_SECTIONS, RULES
from mlops_aed.stm32.training import convert_callbacks, convert_optimizer, convert_v1_training
from mlops_aed.stm32.values import Kind, Rule, read_value
from mlops_core.config_import import ImportedConfig, ImportedKey, ImportFate
from mlops_core.errors import did_you_mean
from mlops_core.yaml_source import YamlSource

if TYPE_CHECKING:
    from mlops_aed.stm32.layouts import Found

LAYOUT = "stm32"
_DIRECT = {
    **{
        f"preprocessing.{key}": f"preprocessing.{key}"
        for key in (
            "min_length",
            "max_length",
            "target_rate",
            "top_db",
            "frame_length",
            "hop_length",
            "trim_last_second",
        )
    },
    **{name: name for name in RULES if name.startswith("feature_extraction.")},
    "dataset.class_names": "dataset.class_names",
    "dataset.multi_label": "dataset.multi_label",
    "dataset.use_garbage_class": "dataset.use_garbage_class",
    "dataset.validation_split": "dataset.validation_split",
    "dataset.test_split": "dataset.test_split",
    "training.model.embedding_size": "training.model.embedding_size",
    "training.model.n_stacks": "training.model.n_stacks",
    "training.model.pooling": "training.model.pooling",
    "training.model.pretrained_weights": "training.model.pretrained",
    "training.fine_tune": "training.fine_tune",
    "training.dropout": "training.model.dropout",
    "training.batch_size": "training.batch_size",
    "training.epochs": "training.epochs",
    "quantization.granularity": "quantization.granularity",
    "quantization.quantization_input_type": "quantization.input_type",
    "quantization.quantization_output_type": "quantization.output_type",
}
_MODES = {
    "training": "training",
    "evaluation": "evaluation",
    "quantization": "quantization",
    "chain_tqe": "chain_tqe",
    "chain_tbqeb": "chain_tqe",
    "chain_tqeb": "chain_tqe",
    "chain_eqe": "chain_eqe",
    "chain_eqeb": "chain_eqe",
    "chain_qb": "quantization",
    "chain_qd": "quantization",
}
_ELSEWHERE = {
    "prediction": "a run trains or evaluates; to classify files: mlops predict --usecase AED FILES",
    "benchmarking": "measures on a board, which needs ST's tools; set one of the other modes",
    "deployment": "writes to a board, which needs ST's tools; set one of the other modes",
}
_DATASETS = {"esc10": "ESC-10", "fsd50k": "FSD50K", "custom": "custom"}


def convert(source: YamlSource, layout: Layout) -> ImportedConfig:
    """Return what `source` means; keys that are wrong are there as refused ones."""
    return _Conversion(source, layout).result()


class _Conversion:
    """One file on its way; each ``_section`` method sets one of our sections."""

    def __init__(self, source: YamlSource, layout: Layout) -> None:
        self._source = source
        self._layout = layout
        self._keys: list[ImportedKey] = []
        self._found: dict[str, Found] = {}
        self._values: dict[str, Any] = {}
        self._data: dict[str, Any] = {}
        self._lines: dict[str, int] = {}

    def result(self) -> ImportedConfig:
        for found in layouts.walk(self._source, self._layout):
            self._read(found)
        self._require_keys()
        self._general()
        self._dataset()
        self._copy("preprocessing.", "feature_extraction.")
        self._set("feature_extraction.norm", self._values.get("feature_extraction.norm"), "feature_extraction.norm")
        self._augmentation()
        self._training()
        self._quantization()
        self._sort_out_rest()
        order = {key: position for position, key in enumerate(self._source.lines)}
        keys = sorted(self._keys, key=lambda item: order.get(item.key, len(order)))
        source = YamlSource(
            name=self._source.name, data=self._data, lines=self._lines, secrets=set(self._source.secrets)
        )
        return ImportedConfig(layout=str(self._layout), source=source, keys=tuple(keys))

    # --- Reading ----------------------------------------------------------------------------------------

    def _read(self, found: Found) -> None:
        section = found.name.partition(".")[0]
        if section in REFUSED_SECTIONS:
            self._note(found, ImportFate.REFUSED, note=REFUSED_SECTIONS[section])
        elif found.name in RULES or found.key in layouts.ADDED[self._layout]:
            self._read_known(found, RULES.get(found.name, Rule(kind=Kind.ANY)))
        elif section in OPEN_SECTIONS:
            self._note(found, ImportFate.IGNORED, note=OPEN_SECTIONS[section])
        elif "." not in found.key and found.value is None and found.key in layouts.legal_sections(self._layout):
            self._note(found, ImportFate.IGNORED, note="empty")
        else:
            self._refuse_unknown(found)

    def _read_known(self, found: Found, rule: Rule) -> None:
        try:
            self._values[found.name] = read_value(found.value, rule)
        except ValueError as error:
            self._note(found, ImportFate.REFUSED, note=str(error))
            return
        self._found[found.name] = found

    def _refuse_unknown(self, found: Found) -> None:
        section = found.key.rpartition(".")[0]
        legal = layouts.legal_keys(self._layout) if section else layouts.legal_sections(self._layout)
        near = [key.rpartition(".")[2] for key in legal if key.rpartition(".")[0] == section]
        part = found.key.rpartition(".")[2]
        what = f"is no key of '{section}'" if section else "is no section"
        self._note(found, ImportFate.REFUSED, note=f"{what}{did_you_mean(part, near)} legal: {', '.join(near)}")

    def _require_keys(self) -> None:
        """Refuse a section that is there without a key that the model zoo requires."""
        present = {name.rpartition(".")[0] for name in self._found}
        backwards = {name: key for key, name in layouts.RENAMED[self._layout].items()}
        told = {item.key for item in self._keys}
        for name, rule in RULES.items():
            section = name.rpartition(".")[0]
            is_optional = not rule.is_required or rule.ignored or rule.dead or self._layout is Layout.V1
            key = backwards.get(name, name)
            if section in present and not is_optional and name not in self._values and key not in told:
                line = self._source.lines.get(section, 0)
                note = f"is required and not set; legal: {rule.legal}"
                self._keys.append(ImportedKey(key=key, line=line, fate=ImportFate.REFUSED, note=note))

    # --- Writing ----------------------------------------------------------------------------------------

    def _note(self, found: Found, fate: ImportFate, *, target: str = "", note: str = "") -> None:
        self._keys.append(ImportedKey(key=found.key, line=found.line, fate=fate, target=target, note=note))

    def _set(self, target: str, value: object, *names: str, note: str = "") -> None:
        """Set our key `target`, and note that the keys `names` of the file did it."""
        place = self._data
        *path, last = target.split(".")
        for part in path:
            place = place.setdefault(part, {})
        place[last] = list(value) if isinstance(value, tuple) else value
        for name in names:
            found = self._found.pop(name, None)
            if found is not None:
                self._lines.setdefault(target, found.line)
                self._note(found, ImportFate.MAPPED, target=target, note=note)

    def _refuse(self, name: str, note: str) -> None:
        found = self._found.pop(name, None)
        if found is not None:
            self._note(found, ImportFate.REFUSED, note=note)

    def _copy(self, *prefixes: str) -> None:
        for name, target in _DIRECT.items():
            if name.startswith(prefixes) and self._values.get(name) is not None:
                self._set(target, self._values[name], name)

    # --- Sections ---------------------------------------------------------------------------------------

    def _general(self) -> None:
        mode = self._values.get("operation_mode") or self._mode_without_key()
        if mode in _ELSEWHERE:
            self._refuse("operation_mode", f"is '{mode}': {_ELSEWHERE[mode]}. Legal: {', '.join(_MODES)}")
            return
        target = _MODES[mode]
        note = "" if target == mode else "benchmarks need ST's tools" if mode.endswith("b") else "with an evaluation"
        self._set("general.operation_mode", target, "operation_mode", note=note)
        path = self._values.get("general.model_path")
        is_trained = target in {"training", "chain_tqe"}
        if path and is_trained:
            self._refuse(
                "general.model_path", f"excludes operation_mode {mode}, which trains training.model; leave it empty"
            )
        elif path:
            self._set("general.model_path", path, "general.model_path")
        elif not is_trained:
            self._require(
                "general.model_path", f"is required by operation_mode {mode}: a .h5, .keras, .tflite or .onnx file"
            )

    def _mode_without_key(self) -> str:
        return "chain_tqe" if self._values.get("quantization.quantize") is True else "training"

    def _require(self, name: str, note: str) -> None:
        found = self._found.pop(name, None)
        line = found.line if found else self._source.lines.get(name.partition(".")[0], 0)
        self._keys.append(ImportedKey(key=found.key if found else name, line=line, fate=ImportFate.REFUSED, note=note))

    def _dataset(self) -> None:
        name = self._values.get("dataset.name")
        if name is not None:
            self._set("dataset.name", _DATASETS[name], "dataset.name")
        for table in ("validation_audio_path", "validation_csv_path", "test_audio_path", "test_csv_path"):
            if self._values.get(f"dataset.{table}"):
                self._refuse(
                    f"dataset.{table}",
                    "is set; one table of clips is split here: put all clips into it, with a column 'fold'",
                )
        if name == "fsd50k":
            self._fsd50k()
        else:
            self._set_folder("dataset.training_csv_path", "dataset.training_audio_path")
        extension = self._values.get("dataset.file_extension")
        if extension:
            text = extension if extension.startswith(".") else f".{extension}"
            self._set("dataset.file_extension", text, "dataset.file_extension")
        if self._values.get("dataset.use_garbage_class"):
            self._set(
                "dataset.n_samples_per_garbage_class",
                self._values.get("dataset.n_samples_per_garbage_class"),
                "dataset.n_samples_per_garbage_class",
            )
            if (self._values.get("deployment.unknown_class_threshold") or 0) > 0:
                self._refuse("deployment.unknown_class_threshold", "excludes dataset.use_garbage_class; set it to 0")
        self._copy("dataset.")

    def _fsd50k(self) -> None:
        section = "dataset_specific.fsd50k"
        folders = [f"{section}.{key}" for key in ("csv_folder", "dev_audio_folder", "eval_audio_folder")]
        paths = [self._values[name] for name in folders if self._values.get(name)]
        if paths:
            self._set(
                "dataset.path", os.path.commonpath([str(PurePosixPath(path).parent) for path in paths]) or ".", *folders
            )
        ontology = f"{section}.audioset_ontology_path"
        self._set("dataset.ontology", self._values.get(ontology), ontology)
        only = self._values.get(f"{section}.only_keep_monolabel")
        if only is not None:
            self._set("dataset.only_keep_monolabel", only, f"{section}.only_keep_monolabel")

    def _set_folder(self, csv_name: str, audio_name: str) -> None:
        csv, audio = self._values.get(csv_name), self._values.get(audio_name)
        if not csv or not audio:
            return
        if PurePosixPath(csv).is_absolute() != PurePosixPath(audio).is_absolute():
            self._refuse(csv_name, "and the audio folder must both be absolute paths, or both relative ones")
            return
        root = os.path.commonpath([csv, audio]) or "."
        self._set("dataset.path", root, note="the folder above both")
        self._set("dataset.csv", os.path.relpath(csv, root).replace("\\", "/"), csv_name, note=f"below {root}")
        self._set("dataset.audio", os.path.relpath(audio, root).replace("\\", "/"), audio_name, note=f"below {root}")

    def _augmentation(self) -> None:
        for strength in strengths(self._values):
            target = f"{SECTION}.{strength.target}"
            self._set(target, strength.value, *strength.names, note=strength.note)

    def _set_note(self, *names: str, target: str) -> None:
        for name in names:
            found = self._found.pop(name, None)
            if found is not None:
                self._note(found, ImportFate.MAPPED, target=target)

    def _training(self) -> None:
        self._model()
        self._copy("training.")
        if self._values.get("training.resume_training_from"):
            self._refuse(
                "training.resume_training_from", "is set; a stopped run goes on by itself when its command is repeated"
            )
        self._optimizer()

    def _model(self) -> None:
        name, version = self._values.get("training.model.name"), self._values.get("training.model.version")
        if name is None:
            return
        if name == "custom":
            self._refuse("training.model.name", "is 'custom': set training.model.code: package.module:function here")
            return
        if name == "miniresnet" and version == "v2":
            name = "miniresnetv2"
        self._set("training.model.name", name, "training.model.name", "training.model.version")
        self._check_shape()

    def _check_shape(self) -> None:
        shape = self._values.get("training.model.input_shape")
        expected = (self._values.get("feature_extraction.n_mels"), self._values.get("feature_extraction.patch_length"))
        if shape is None or None in expected:
            return
        if shape not in {expected, (*expected, 1)}:
            self._refuse("training.model.input_shape", f"is {shape}; legal with these features: {(*expected, 1)}")
            return
        self._set_note("training.model.input_shape", target="feature_extraction")

    def _optimizer(self) -> None:
        if self._layout is Layout.V1:
            values = {name: self._values.get(name) for name in layouts.ADDED[Layout.V1]}
            optimizer, callbacks, problem = convert_v1_training(values)
            if problem:
                self._refuse(problem[0], problem[1])
                return
            if any(name in self._found for name in layouts.ADDED[Layout.V1] if name.startswith("train_")):
                names = [name for name in self._found if name.startswith("train_parameters.")]
                self._set("training.optimizer", optimizer, *names)
                self._set("training.callbacks", callbacks)
            return
        for name, reader in (("training.optimizer", convert_optimizer), ("training.callbacks", convert_callbacks)):
            if name in self._found and self._values.get(name) is not None:
                try:
                    self._set(name, reader(self._values[name]), name)
                except ValueError as error:
                    self._refuse(name, str(error))

    def _quantization(self) -> None:
        share = self._values.get("dataset.quantization_split")
        self._set("quantization.calibration_split", share or 1.0, "dataset.quantization_split")
        self._copy("quantization.")
        quantizer = self._values.get("quantization.quantizer")
        if quantizer is not None:
            self._set(
                "quantization.export_onnx",
                quantizer == "onnx_quantizer",
                "quantization.quantizer",
                note="quantized by LiteRT's converter; exported to ONNX" if quantizer == "onnx_quantizer" else "",
            )
        self._set_note("quantization.quantization_type", "quantization.quantize", target="general.operation_mode")

    def _sort_out_rest(self) -> None:
        for name, found in self._found.items():
            rule = RULES.get(name)
            if rule is not None and rule.dead:
                self._note(found, ImportFate.DEAD, note=rule.dead)
            elif rule is not None and rule.ignored:
                self._note(found, ImportFate.IGNORED, note=rule.ignored)
            elif self._values.get(name) is None:
                self._note(found, ImportFate.IGNORED, note="no value")
            else:
                self._note(found, ImportFate.IGNORED, note="not needed with these settings")
