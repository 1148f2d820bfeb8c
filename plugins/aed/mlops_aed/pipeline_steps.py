"""The steps of a run, by operation mode; for cross-validation one branch per fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_core import DATASET, Resources, Step, StepKind

if TYPE_CHECKING:
    from mlops_aed.config import AedConfig

_FEATURES = ("preprocessing", "feature_extraction")
_AUDIO_PACKAGES = ("numpy", "soundfile", "soxr")
_MODEL_PACKAGES = ("numpy", "keras")
_TENSORFLOW = ("tensorflow", "tensorflow-cpu")
_ONNX_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")
_FIGURES = "figures"
_ARITHMETIC = {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_NUM_INTRAOP_THREADS": "4"}
"""Equal results on processors with and without AVX-512, and with any number of cores: the order in which TensorFlow
adds depends on both. Decision 27 says what that costs and what remains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Branch:
    """The split that training and later steps read, and the names of these steps.

    Attributes:
        split: reference of the split.
        fold: number of the test fold of a cross-validation; None for a run with one split.
    """

    split: str
    fold: int | None = None

    @property
    def data(self) -> dict[str, str]:
        """The inputs that hold the patches and their parts."""
        return {"features": "preprocess.features", "split": self.split}

    def named(self, name: str) -> str:
        """Return the name of a step in this branch."""
        return name if self.fold is None else f"{name}-{self.fold}"


def steps(config: AedConfig) -> tuple[Step, ...]:
    """Return split → preprocess → train (or load) → quantize, if set → evaluate."""
    if config.dataset.folds:
        return (*_folds(config, config.dataset.folds), *_analyses(config))
    split = _split("mlops_aed.steps.split:split", ("split",))
    branch = _Branch(split="split.split")
    data = (split, _preprocess(config, split="split.split"))
    return (*data, *_branch_steps(config, branch), *_analyses(config), _evaluate(config, branch))


def model_reference(config: AedConfig) -> str:
    """Return the registered output; for a cross-validation the model of the last fold."""
    source = "train" if config.general.is_trained else "load"
    name = "quantize" if config.general.is_quantized else source
    branch = _Branch(split="", fold=config.dataset.folds[-1] if config.dataset.folds else None)
    return f"{branch.named(name)}.model"


def _folds(config: AedConfig, folds: tuple[int, ...]) -> tuple[Step, ...]:
    """Return one branch per test fold, and one joint evaluation.

    The features are computed once: they depend on the clip alone, and their split has no parts.
    """
    split = _split("mlops_aed.steps.folds:split", ("clips", *(f"fold-{fold}" for fold in folds)))
    steps = [split, _preprocess(config, split="split.clips")]
    for fold in folds:
        branch = _Branch(split=f"split.fold-{fold}", fold=fold)
        steps += (*_branch_steps(config, branch), _score(config, branch))
    evaluate = Step(
        name="evaluate",
        kind=StepKind.EVALUATION,
        run="mlops_aed.steps.folds:evaluate",
        inputs={
            **{f"fold-{fold}": f"score-{fold}.predictions" for fold in folds},
            **{f"split-{fold}": f"split.fold-{fold}" for fold in folds},
        },
        outputs=("predictions", _FIGURES),
        results=(_FIGURES,),
        config=("dataset",),
        packages=("numpy",),
    )
    return (*steps, evaluate)


def _split(function: str, outputs: tuple[str, ...]) -> Step:
    return Step(name="split", run=function, inputs={"dataset": DATASET}, outputs=outputs, config=("dataset",))


def _preprocess(config: AedConfig, *, split: str) -> Step:
    return Step(
        name="preprocess",
        run="mlops_aed.steps.preprocess:preprocess",
        merge="mlops_aed.steps.preprocess:merge",
        inputs={"dataset": DATASET, "split": split},
        outputs=("features",),
        config=("dataset", *_FEATURES),
        shards=config.dataset.shards,
        packages=_AUDIO_PACKAGES,
        resources=Resources(cpus=4, memory_gb=16),
    )


def _branch_steps(config: AedConfig, branch: _Branch) -> tuple[Step, ...]:
    """Return train (or load) → quantize, if set."""
    source = _train(config, branch) if config.general.is_trained else _load(config, branch)
    return (source, _quantize(config, branch, source.name)) if config.general.is_quantized else (source,)


def _train(config: AedConfig, branch: _Branch) -> Step:
    validation = ("validation",) if config.tuning.trials > 1 else ()
    existing = ("general",) if config.training.model.name == "file" else ()
    return Step(
        name=branch.named("train"),
        kind=StepKind.TRAINING,
        run="mlops_aed.steps.train:train",
        inputs=branch.data,
        outputs=("model", *validation),
        results=validation,
        config=(*existing, "data_augmentation", "training", *_FEATURES),
        packages=(*_MODEL_PACKAGES, *_TENSORFLOW, "h5py", "scipy"),
        resources=Resources(cpus=8, memory_gb=32),
        environment=_ARITHMETIC,
    )


def _load(config: AedConfig, branch: _Branch) -> Step:
    suffix = PurePosixPath(str(config.general.model_path)).suffix
    packages = {".tflite": ("ai-edge-litert",), ".onnx": ("onnxruntime",)}.get(suffix, _TENSORFLOW)
    return Step(
        name=branch.named("load"),
        run="mlops_aed.steps.load_model:load_model",
        inputs={"features": "preprocess.features"},
        outputs=("model",),
        config=("general", *_FEATURES),
        packages=(*_MODEL_PACKAGES, "h5py", "scipy", *packages),
    )


def _quantize(config: AedConfig, branch: _Branch, source: str) -> Step:
    packages = _ONNX_PACKAGES if config.quantization.export_onnx else ()
    return Step(
        name=branch.named("quantize"),
        run="mlops_aed.steps.quantize:quantize",
        inputs={**branch.data, "model": f"{source}.model"},
        outputs=("model",),
        config=("quantization", *_FEATURES),
        packages=(*_MODEL_PACKAGES, *_AUDIO_PACKAGES[1:], *_TENSORFLOW, "ai-edge-litert", *packages),
        resources=Resources(cpus=4, memory_gb=16),
        environment=_ARITHMETIC,
    )


def _analyses(config: AedConfig) -> tuple[Step, ...]:
    """Return the configured steps on the finished model: analysis by ST's tool, classification of files."""
    analyses = []
    if config.stedgeai.path is not None:
        analyses.append(("analyze", "mlops_aed.steps.analyze:analyze", "footprint", "stedgeai"))
    if config.classify.path is not None:
        analyses.append(("classify", "mlops_aed.steps.classify:classify", "classes", "classify"))
    return tuple(
        Step(
            name=name,
            run=run,
            inputs={"model": model_reference(config)},
            outputs=(output,),
            results=(output,),
            config=(section,),
            packages=(*_MODEL_PACKAGES, *_AUDIO_PACKAGES[1:], *_TENSORFLOW, "ai-edge-litert"),
        )
        for name, run, output, section in analyses
    )


def _evaluate(config: AedConfig, branch: _Branch) -> Step:
    has_figures = not config.dataset.multi_label
    return Step(
        name="evaluate",
        kind=StepKind.EVALUATION,
        run=f"mlops_aed.steps.evaluate:{'compare' if config.general.is_quantized else 'evaluate'}",
        inputs=_evaluated(config, branch),
        outputs=("predictions", _FIGURES) if has_figures else ("predictions",),
        results=(_FIGURES,) if has_figures else (),
        packages=_MODEL_PACKAGES,
        environment=_ARITHMETIC,
    )


def _score(config: AedConfig, branch: _Branch) -> Step:
    return Step(
        name=branch.named("score"),
        run=f"mlops_aed.steps.evaluate:{'score_both' if config.general.is_quantized else 'score'}",
        inputs=_evaluated(config, branch),
        outputs=("predictions",),
        packages=_MODEL_PACKAGES,
        environment=_ARITHMETIC,
    )


def _evaluated(config: AedConfig, branch: _Branch) -> dict[str, str]:
    """Return the inputs of an evaluation: the test part and the model; for a quantized one also its float model."""
    source = f"{branch.named('train' if config.general.is_trained else 'load')}.model"
    if not config.general.is_quantized:
        return {**branch.data, "model": source}
    return {**branch.data, "model": f"{branch.named('quantize')}.model", "float_model": source}
