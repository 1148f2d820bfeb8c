"""The hooks of the use cases ROAD_SIGN and SCENE. Nothing heavy is imported before a step runs.

The two use cases differ in their data only: default configuration, catalogue and the section of the result file that
holds the metrics are chosen by the name of the use case.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core import DATASET, ContentType, Parameter, ParameterType, Resources, Step, StepKind, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core import (
        Dataset,
        Gate,
        Inspection,
        Metric,
        MetricReport,
        NearDuplicate,
        PluginContext,
        Predictions,
        Predictor,
        PretrainedModel,
        Preview,
        SearchSpace,
        UseCaseConfig,
        WrittenSplit,
    )
    from mlops_image_classification.config import ImageConfig

_IMAGE_PACKAGES = ("numpy", "pillow")
_MODEL_PACKAGES = (*_IMAGE_PACKAGES, "keras", "tensorflow", "tensorflow-cpu")  # one of the last two is installed
_ARITHMETIC = {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_NUM_INTRAOP_THREADS": "4"}
"""Equal results on processors with and without AVX-512, and with any number of cores: the order in which TensorFlow
adds depends on both. Decision 27 says what that costs and what remains."""


@hookimpl
def mlops_get_config_model(context: PluginContext) -> type[ImageConfig]:
    """Return the typed model of both default configurations."""
    from mlops_image_classification.config import ImageConfig

    return ImageConfig


@hookimpl
def mlops_get_config_file(context: PluginContext) -> Path:
    """Return the default configuration of the use case: ``road_sign.yaml`` or ``scene.yaml``."""
    return Path(__file__).with_name(f"{context.use_case.lower()}.yaml")


@hookimpl
def mlops_get_datasets(config: UseCaseConfig, context: PluginContext) -> tuple[Dataset, ...]:
    """Return the catalogue of the use case."""
    from mlops_image_classification.data.catalogue import DATASETS

    return DATASETS[context.use_case]


@hookimpl
def mlops_inspect_dataset(dataset: Path, config: ImageConfig, context: PluginContext) -> Inspection:
    """Return classes, parts, tracks, unreadable files, copies and conflicting labels of a data set."""
    from mlops_image_classification.data.inspection import inspect_dataset

    return inspect_dataset(dataset, config)


@hookimpl
def mlops_find_near_duplicates(split: WrittenSplit, context: PluginContext) -> Iterator[NearDuplicate]:
    """Yield the pairs of pictures that are copies of each other: equal pixels, scaled, recompressed or brightened."""
    from mlops_image_classification.data.near_copies import find_near_copies

    return find_near_copies(split)


@hookimpl
def mlops_get_parameters(config: ImageConfig, context: PluginContext) -> tuple[Parameter, ...]:
    """Return the threshold of the gate."""
    from mlops_image_classification.metrics import ACCURACY_THRESHOLD

    threshold = Parameter(
        name=ACCURACY_THRESHOLD,
        type=ParameterType.FLOAT,
        default=config.gate.accuracy,
        minimum=0,
        maximum=1,
        description="Minimum accuracy on the test part.",
    )
    return (threshold,)


@hookimpl
def mlops_get_search_space(config: ImageConfig, context: PluginContext) -> SearchSpace:
    """Return what a search may vary: learning rate, regularisation, sizes and augmentation."""
    from mlops_image_classification.searching import SPACE

    return SPACE


@hookimpl
def mlops_get_steps(config: ImageConfig, context: PluginContext) -> tuple[Step, ...]:
    """Return preprocess → split → train → evaluate. Copies are found by pixels, so decoding precedes the split."""
    validation = ("validation",) if config.tuning.trials > 1 else ()
    prepared = {"pictures": "preprocess.pictures", "split": "split.split"}
    return (
        Step(
            name="preprocess",
            run="mlops_image_classification.steps.preprocess:preprocess",
            inputs={"dataset": DATASET},
            outputs=("pictures", "fingerprints"),
            config=("dataset", "preprocessing"),
            packages=_MODEL_PACKAGES,
            resources=Resources(cpus=4, memory_gb=16),
            shards=config.preprocessing.shards,
        ),
        Step(
            name="split",
            run="mlops_image_classification.steps.split:split",
            inputs={"dataset": DATASET, "fingerprints": "preprocess.fingerprints"},
            outputs=("split",),
            config=("dataset", "split"),
            packages=_IMAGE_PACKAGES,
        ),
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_image_classification.steps.train:train",
            inputs=prepared,
            outputs=("model", *validation),
            results=validation,
            config=("preprocessing", "data_augmentation", "training"),
            packages=_MODEL_PACKAGES,
            resources=Resources(cpus=8, memory_gb=32),
            environment=_ARITHMETIC,
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_image_classification.steps.evaluate:evaluate",
            inputs={**prepared, "model": "train.model"},
            outputs=("predictions",),
            packages=_MODEL_PACKAGES,
            environment=_ARITHMETIC,
        ),
    )


@hookimpl
def mlops_get_base_models(config: ImageConfig, context: PluginContext) -> tuple[PretrainedModel, ...]:
    """Return the weights with which the training begins, unless they are random."""
    from mlops_image_classification.model.base_models import base_models

    return base_models(config.training.model)


@hookimpl
def mlops_get_metrics(config: UseCaseConfig, context: PluginContext) -> tuple[Metric, ...]:
    """Return accuracy, macro F1, recalls and calibration error."""
    from mlops_image_classification.metrics import declared_metrics

    return declared_metrics(context.use_case)


@hookimpl
def mlops_compute_metrics(predictions: Predictions, context: PluginContext) -> MetricReport:
    """Return the metrics, computed from the scores of the test pictures."""
    from mlops_image_classification.metrics import compute_metrics

    return compute_metrics(predictions, context.use_case)


@hookimpl
def mlops_get_gate(config: UseCaseConfig, context: PluginContext) -> Gate:
    """Return the gate: the accuracy must reach its threshold."""
    from mlops_image_classification.metrics import accuracy_gate

    return accuracy_gate()


@hookimpl
def mlops_load_predictor(model: Path, context: PluginContext) -> Predictor:
    """Return a predictor with the trained network and its preprocessing settings."""
    from mlops_image_classification.model.predictor import ImagePredictor

    return ImagePredictor(model)


@hookimpl
def mlops_get_content_types(context: PluginContext) -> tuple[ContentType, ...]:
    """Return the image formats that browsers and cameras produce."""
    return (
        ContentType(media_type="image/jpeg", suffix=".jpg"),
        ContentType(media_type="image/png", suffix=".png"),
        ContentType(media_type="image/webp", suffix=".webp"),
    )


@hookimpl
def mlops_get_sample_preview(sample: str, dataset: Path, context: PluginContext) -> Preview | None:
    """Return a small copy of the picture."""
    from mlops_image_classification.data.preview import preview_picture

    return preview_picture(dataset, sample)
