"""Conversion of a file of the model zoo: each key is checked, then every section of the configuration is set."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_aed.stm32.augmentation import SECTION, strengths
from mlops_aed.stm32.data import set_dataset
from mlops_aed.stm32.draft import Draft
from mlops_aed.stm32.layouts import Layout
from mlops_aed.stm32.models import set_model
from mlops_aed.stm32.rules import MODES, RULES
from mlops_aed.stm32.training import set_fitting

if TYPE_CHECKING:
    from mlops_core import ImportedConfig, YamlSource

_TARGETS = {
    "training": "training",
    "evaluation": "evaluation",
    "prediction": "evaluation",
    "quantization": "quantization",
    "chain_tqe": "chain_tqe",
    "chain_tbqeb": "chain_tqe",
    "chain_tqeb": "chain_tqe",
    "chain_eqe": "chain_eqe",
    "chain_eqeb": "chain_eqe",
    "chain_qb": "quantization",
    "chain_qd": "quantization",
}
"""Operation mode of the model zoo -> that of this use case."""
_ELSEWHERE = {
    "benchmarking": "it measures on a board, which needs ST's tools",
    "deployment": "it writes to a board, which needs ST's tools",
}
_NOTES = {
    "prediction": "a model is evaluated before it predicts",
    "chain_qd": "without deployment",
    **dict.fromkeys(("chain_tbqeb", "chain_tqeb", "chain_eqeb", "chain_qb"), "without benchmarks"),
}
_TRAINED = {"training", "chain_tqe"}
_QUANTIZED = {"quantization", "chain_tqe", "chain_eqe"}
_BOARDS = {"B-U585I-IOT02A": "stm32u5", "STM32N6570-DK": "stm32n6"}
"""Board -> target of ST's tool."""
_FILES = ("prediction.test_files_path", "dataset.prediction_audio_path")
_WAVEFORM = ("min_length", "max_length", "target_rate", "top_db", "frame_length", "hop_length", "trim_last_second")
_QUANTIZATION = {
    "granularity": "granularity",
    "quantization_input_type": "input_type",
    "quantization_output_type": "output_type",
}


def convert(source: YamlSource, layout: Layout) -> ImportedConfig:
    """Return the converted configuration; wrong keys are listed as refused."""
    draft = Draft(source, layout)
    mode = _mode(draft)
    if mode in _TARGETS:
        _convert(draft, _TARGETS[mode])
    return draft.result()


def _convert(draft: Draft, target: str) -> None:
    """Set every section for an operation mode of this use case."""
    _require_sections(draft, is_trained=target in _TRAINED, is_quantized=target in _QUANTIZED)
    named = str(draft.value("operation_mode") or target)  # as the author knows it
    set_dataset(draft, mode=named, is_trained=target in _TRAINED, is_quantized=target in _QUANTIZED)
    _set_features(draft)
    set_model(draft, mode=named, is_trained=target in _TRAINED)
    if target in _TRAINED:
        set_fitting(draft)
        for strength in strengths(draft):
            draft.set(f"{SECTION}.{strength.target}", strength.value, *strength.names, note=strength.note)
    else:
        unused = (*draft.names("training."), *draft.names("train_parameters."), *draft.names(f"{SECTION}."))
        draft.ignore(*unused, note=f"operation_mode {target} trains nothing")
    if target in _QUANTIZED:
        _set_quantization(draft)
    else:
        draft.ignore(*draft.names("quantization."), note=f"operation_mode {target} quantizes nothing")
    _set_mlflow(draft)
    _set_tool(draft)
    draft.ignore(*_FILES, note="is used by operation_mode prediction only; or run: mlops predict --usecase AED FILES")


def _mode(draft: Draft) -> str:
    """Return the operation mode of the file, and set it; that of v1 follows from other keys."""
    mode = str(draft.value("operation_mode") or "")
    if draft.layout is Layout.V1 and not mode:
        return _mode_of_v1(draft)
    if mode in _ELSEWHERE:
        draft.refuse("operation_mode", f"is '{mode}': {_ELSEWHERE[mode]}. Legal here: {', '.join(_TARGETS)}")
    elif mode in _TARGETS:
        target = _TARGETS[mode]
        draft.set("general.operation_mode", target, "operation_mode", note=_NOTES.get(mode, ""))
        if mode == "prediction":
            _set_files(draft)
    else:
        draft.refuse("operation_mode", f"is required and not set; legal: {', '.join(MODES)}")
    return mode


def _set_files(draft: Draft) -> None:
    """Set the folder of the files to classify; v4 has it in the section of the data set."""
    path = next(filter(None, map(draft.value, _FILES)), None)
    if path is None:
        draft.refuse(_FILES[0], "is required by operation_mode prediction; legal: the path of a folder")
    else:
        draft.set("classify.path", path, *_FILES)


def _mode_of_v1(draft: Draft) -> str:
    is_quantized = draft.value("quantization.quantize") is True
    path = str(draft.value("general.model_path") or "")
    if path.lower().endswith((".tflite", ".onnx")):  # already in the form that quantization would give it
        mode = "evaluation"
    elif path:
        mode = "chain_eqe" if is_quantized else "evaluation"
    else:
        mode = "chain_tqe" if is_quantized else "training"
    draft.set("general.operation_mode", mode, "quantization.quantize")
    return mode


def _require_sections(draft: Draft, *, is_trained: bool, is_quantized: bool) -> None:
    sections = ["dataset", "preprocessing", "feature_extraction"]
    if is_trained:
        sections.append("training")
    if is_quantized and draft.layout is not Layout.V1:
        sections.append("quantization")
    for section in sections:
        if not draft.has_section(section):
            keys = [name.removeprefix(f"{section}.") for name in RULES if name.startswith(f"{section}.")]
            draft.refuse(section, f"is required by this operation mode and not set; legal: {', '.join(keys)}")


def _set_features(draft: Draft) -> None:
    power = draft.value("feature_extraction.power")
    if power is not None and power not in {1, 2}:
        draft.refuse("feature_extraction.power", f"is {power}; legal: 1 or 2")
    for name in (*(f"preprocessing.{key}" for key in _WAVEFORM), *_feature_keys()):
        value = draft.value(name)
        if value is not None or name == "feature_extraction.norm":
            draft.set(name, value, name)


def _feature_keys() -> tuple[str, ...]:
    return tuple(name for name in RULES if name.startswith("feature_extraction."))


def _set_quantization(draft: Draft) -> None:
    share = draft.value("dataset.quantization_split")
    draft.set("quantization.calibration_split", share or 1.0, "dataset.quantization_split")
    for theirs, ours in _QUANTIZATION.items():
        name = f"quantization.{theirs}"
        if draft.value(name) is not None:
            draft.set(f"quantization.{ours}", draft.value(name), name)
    quantizer = draft.value("quantization.quantizer")
    if quantizer is not None:
        is_onnx = quantizer == "onnx_quantizer"
        note = "model.onnx and its int8 form are written beside LiteRT's model, which is registered" if is_onnx else ""
        draft.set("quantization.onnx_int8", is_onnx)
        draft.set("quantization.export_onnx", is_onnx, "quantization.quantizer", note=note)
    draft.map("quantization.quantization_type", "quantization.quantize", target="general.operation_mode")
    draft.ignore("quantization.evaluate", note="a quantized model is always evaluated")


def _set_mlflow(draft: Draft) -> None:
    """Set the MLflow server; a folder, which every file of the zoo names, is ignored."""
    keys = ("mlflow.uri", "general.project_name")
    uri, experiment = map(draft.value, keys)
    note = ""
    if uri is None or not uri.startswith(("http://", "https://")):
        note = "is not the address of a server; a step writes into its own run only, which has the metrics and a report"
    elif importlib.util.find_spec("mlops_mlflow") is None:
        note = "the observer for MLflow is not installed: pip install mlops-mlflow"
    if note:
        draft.ignore(*keys, note=note)
        return
    draft.set("mlflow.uri", uri, "mlflow.uri")
    if experiment:
        draft.set("mlflow.experiment", experiment, "general.project_name")


def _set_tool(draft: Draft) -> None:
    """Set ST's tool, if it is on this machine; the board determines the target."""
    path, speed = "tools.stedgeai.path_to_stedgeai", "tools.stedgeai.optimization"
    boards = ("benchmarking.board", "deployment.hardware_setup.board")
    value = draft.value(path)
    if value is None or not Path(value).expanduser().is_file():
        draft.ignore(path, speed, *boards, note="needs ST's tools; tools.stedgeai.path_to_stedgeai is not a file here")
        return
    draft.set("stedgeai.path", value, path)
    if draft.value(speed):
        draft.set("stedgeai.optimization", draft.value(speed), speed)
    board = next(filter(None, map(draft.value, boards)), None)
    if board in _BOARDS:
        draft.set("stedgeai.target", _BOARDS[board], *boards)
    else:
        draft.ignore(*boards, note=f"is not a known board; legal: {', '.join(_BOARDS)}")
