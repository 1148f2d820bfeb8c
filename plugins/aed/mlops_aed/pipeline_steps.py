"""The steps of a run, chosen by the operation mode; for cross-validation a branch for each fold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_core.pipeline import DATASET, Resources, Step, StepKind

if TYPE_CHECKING:
    from mlops_aed.config import AedConfig

_FEATURES = ("preprocessing", "feature_extraction")
_AUDIO_PACKAGES = ("numpy", "soundfile", "soxr")
_MODEL_PACKAGES = ("numpy", "keras")
_TENSORFLOW = ("tensorflow", "tensorflow-cpu")


def steps(config: AedConfig) -> tuple[Step, ...]:
    """Return split → preprocess → train (or load) → quantize, if asked → evaluate."""
    if config.dataset.folds:
        return _folds(config, config.dataset.folds)
    source = _train() if config.general.is_trained else _load(config)
    if not config.general.is_quantized:
        return (*_data(config), source, _evaluate({"model": f"{source.name}.model"}, "evaluate"))
    inputs = {"model": "quantize.model", "float_model": f"{source.name}.model"}
    return (*_data(config), source, _quantize(config, source.name), _evaluate(inputs, "compare"))


def model_reference(config: AedConfig) -> str:
    """Return the output that is registered; of a cross-validation, the model of the last fold."""
    if config.dataset.folds:
        return f"{'quantize' if config.general.is_quantized else 'train'}-{config.dataset.folds[-1]}.model"
    if config.general.is_quantized:
        return "quantize.model"
    return "train.model" if config.general.is_trained else "load.model"


def _data(config: AedConfig) -> tuple[Step, Step]:
    split = Step(
        name="split",
        run="mlops_aed.steps.split:split",
        inputs={"dataset": DATASET},
        outputs=("split",),
        config=("dataset",),
    )
    preprocess = Step(
        name="preprocess",
        run="mlops_aed.steps.preprocess:preprocess",
        merge="mlops_aed.steps.preprocess:merge",
        inputs={"dataset": DATASET, "split": "split.split"},
        outputs=("features",),
        config=("dataset", *_FEATURES),
        shards=config.dataset.shards,
        packages=_AUDIO_PACKAGES,
        resources=Resources(instance_type="ml.m5.xlarge"),
    )
    return split, preprocess


def _train() -> Step:
    return Step(
        name="train",
        kind=StepKind.TRAINING,
        run="mlops_aed.steps.train:train",
        inputs={"features": "preprocess.features"},
        outputs=("model",),
        config=("data_augmentation", "training", *_FEATURES),
        packages=(*_MODEL_PACKAGES, *_TENSORFLOW, "h5py", "scipy"),
        resources=Resources(instance_type="ml.m5.2xlarge"),
    )


def _load(config: AedConfig) -> Step:
    suffix = PurePosixPath(str(config.general.model_path)).suffix
    packages = {".tflite": ("ai-edge-litert",), ".onnx": ("onnxruntime",)}.get(suffix, _TENSORFLOW)
    return Step(
        name="load",
        run="mlops_aed.steps.load_model:load_model",
        inputs={"features": "preprocess.features"},
        outputs=("model",),
        config=("general", *_FEATURES),
        packages=(*_MODEL_PACKAGES, "h5py", *packages),
    )


def _quantize(config: AedConfig, source: str) -> Step:
    packages = ("onnx", "onnxruntime") if config.quantization.export_onnx else ()
    return Step(
        name="quantize",
        run="mlops_aed.steps.quantize:quantize",
        inputs={"features": "preprocess.features", "model": f"{source}.model"},
        outputs=("model",),
        config=("quantization", *_FEATURES),
        packages=(*_MODEL_PACKAGES, *_AUDIO_PACKAGES[1:], *_TENSORFLOW, "ai-edge-litert", *packages),
        resources=Resources(instance_type="ml.m5.xlarge"),
    )


def _evaluate(inputs: dict[str, str], function: str) -> Step:
    return Step(
        name="evaluate",
        kind=StepKind.EVALUATION,
        run=f"mlops_aed.steps.evaluate:{function}",
        inputs={"features": "preprocess.features", **inputs},
        outputs=("predictions",),
        packages=_MODEL_PACKAGES,
    )


def _folds(config: AedConfig, folds: tuple[int, ...]) -> tuple[Step, ...]:
    """Return a branch for each fold, in which it is the test fold, and one evaluation of all of them."""
    single = config.model_copy(update={"dataset": config.dataset.model_copy(update={"folds": None})})
    found: list[Step] = []
    for fold in folds:
        for step in steps(single):
            is_last = step.kind is StepKind.EVALUATION
            name = "score" if is_last else step.name
            found.append(
                replace(
                    step,
                    name=f"{name}-{fold}",
                    kind=StepKind.PROCESSING if is_last else step.kind,
                    run=f"mlops_aed.steps.folds:split_{fold}" if step.name == "split" else step.run,
                    inputs={key: _of_fold(reference, fold) for key, reference in step.inputs.items()},
                )
            )
    evaluate = Step(
        name="evaluate",
        kind=StepKind.EVALUATION,
        run="mlops_aed.steps.folds:evaluate",
        inputs={f"fold-{fold}": f"score-{fold}.predictions" for fold in folds},
        outputs=("predictions",),
        config=("dataset",),
        packages=_MODEL_PACKAGES,
    )
    return (*found, evaluate)


def _of_fold(reference: str, fold: int) -> str:
    if reference == DATASET:
        return reference
    step, _, output = reference.partition(".")
    return f"{step}-{fold}.{output}"
