"""The hooks of the use case SYMBOL_DETECTION. Nothing heavy is imported before a step runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core import DATASET, ContentType, Parameter, ParameterType, Resources, Step, StepKind, hookimpl

if TYPE_CHECKING:
    from mlops_core import (
        Dataset,
        EarlierSplit,
        Gate,
        Inspection,
        MarkedSample,
        Metric,
        MetricReport,
        PluginContext,
        PredictionOutput,
        Predictions,
        Predictor,
        Preview,
        SearchSpace,
        UseCaseConfig,
    )
    from mlops_object_detection.config import DetectionConfig

_PACKAGE = "mlops_object_detection"
_IMAGE_PACKAGES = ("numpy", "pillow", "pyyaml")
_MODEL_PACKAGES = (*_IMAGE_PACKAGES, "keras", "tensorflow", "tensorflow-cpu")  # one of the last two is installed
_ARITHMETIC = {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_NUM_INTRAOP_THREADS": "4"}
"""Equal results on processors with and without AVX-512, and with any number of cores: the order in which TensorFlow
adds depends on both. Decision 27 says what that costs and what remains."""


@hookimpl
def mlops_get_config_model(context: PluginContext) -> type[DetectionConfig]:
    """Return the typed model of the default configuration."""
    from mlops_object_detection.config import DetectionConfig

    return DetectionConfig


@hookimpl
def mlops_get_config_file(context: PluginContext) -> Path:
    """Return the default configuration."""
    return Path(__file__).with_name("symbol_detection.yaml")


@hookimpl
def mlops_get_datasets(config: UseCaseConfig, context: PluginContext) -> tuple[Dataset, ...]:
    """Return the catalogue: generated drawings and generated photographs."""
    from mlops_object_detection.data.catalogue import DATASETS

    return DATASETS


@hookimpl
def mlops_get_dataset_source(config: DetectionConfig, context: PluginContext) -> tuple[str, Path | None]:
    """Return the data set's name, and the user's folder: the one, or that which holds those of images and labels."""
    folder = config.dataset.folder
    return config.dataset.name, Path(folder).expanduser() if folder else None


@hookimpl
def mlops_get_earlier_split(config: DetectionConfig, context: PluginContext) -> EarlierSplit | None:
    """Return the data assets of the split that `split.train_dataset` names."""
    return config.split.earlier_split


@hookimpl
def mlops_inspect_dataset(dataset: Path, config: DetectionConfig, context: PluginContext) -> Inspection:
    """Return images, boxes, classes and copies of a data set, and what is wrong with its labels."""
    from mlops_object_detection.data.inspection import inspect_dataset

    return inspect_dataset(dataset, config)


@hookimpl
def mlops_get_parameters(config: DetectionConfig, context: PluginContext) -> tuple[Parameter, ...]:
    """Return the threshold of the gate."""
    from mlops_object_detection.declarations import PRECISION_THRESHOLD

    threshold = Parameter(
        name=PRECISION_THRESHOLD,
        type=ParameterType.FLOAT,
        default=config.gate.mean_average_precision,
        minimum=0,
        maximum=1,
        description="Minimum mean average precision on the test part.",
    )
    return (threshold,)


@hookimpl
def mlops_get_search_space(config: UseCaseConfig, context: PluginContext) -> SearchSpace:
    """Return what a search may vary, under the names of existing search-space files where the meaning is the same."""
    from mlops_object_detection.searching import SPACE

    return SPACE


@hookimpl
def mlops_get_steps(config: DetectionConfig, context: PluginContext) -> tuple[Step, ...]:
    """Return aggregate → split → tile → train → evaluate."""
    return (
        Step(
            name="aggregate",
            run=f"{_PACKAGE}.steps.aggregate:aggregate",
            inputs={"dataset": DATASET},
            outputs=("annotations",),
            config=("dataset",),
            packages=_IMAGE_PACKAGES,
        ),
        Step(
            name="split",
            run=f"{_PACKAGE}.steps.split:split",
            inputs={"dataset": DATASET, "annotations": "aggregate.annotations"},
            outputs=("split", "train", "val", "test"),
            config=("dataset", "split"),
            packages=_IMAGE_PACKAGES,
        ),
        Step(
            name="tile",
            run=f"{_PACKAGE}.steps.tile:tile",
            inputs={"dataset": DATASET, "split": "split.split", "train": "split.train"},
            outputs=("tiles",),
            config=("dataset", "tiling"),
            packages=_IMAGE_PACKAGES,
            resources=Resources(cpus=2, memory_gb=8),
        ),
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run=f"{_PACKAGE}.steps.train:train",
            inputs={"dataset": DATASET, "split": "split.split", "val": "split.val", "tiles": "tile.tiles"},
            outputs=("model", "val_predictions"),
            results=("val_predictions",),
            config=("dataset", "data_augmentation", "training"),
            packages=_MODEL_PACKAGES,
            resources=Resources(cpus=8, memory_gb=32),
            environment=_ARITHMETIC,
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run=f"{_PACKAGE}.steps.evaluate:evaluate",
            inputs={"dataset": DATASET, "split": "split.split", "test": "split.test", "model": "train.model"},
            outputs=("predictions",),
            config=("dataset",),
            packages=_MODEL_PACKAGES,
            environment=_ARITHMETIC,
        ),
    )


@hookimpl
def mlops_get_metrics(config: UseCaseConfig, context: PluginContext) -> tuple[Metric, ...]:
    """Return mean average precision at 0.5 and at 0.5 to 0.95, precision and recall."""
    from mlops_object_detection.declarations import declared_metrics

    return declared_metrics()


@hookimpl
def mlops_compute_metrics(predictions: Predictions, context: PluginContext) -> MetricReport:
    """Return the metrics, computed from the detections on the test pictures."""
    from mlops_object_detection.metrics import compute_metrics

    return compute_metrics(predictions)


@hookimpl
def mlops_get_gate(config: UseCaseConfig, context: PluginContext) -> Gate:
    """Return the gate: the mean average precision must reach its threshold."""
    from mlops_object_detection.declarations import precision_gate

    return precision_gate()


@hookimpl
def mlops_get_prediction_outputs(context: PluginContext) -> tuple[PredictionOutput, ...]:
    """Return the output kind ``objects``."""
    from mlops_object_detection.outputs import OBJECTS

    return (OBJECTS,)


@hookimpl
def mlops_load_predictor(model: Path, context: PluginContext) -> Predictor:
    """Return a predictor with the trained detector."""
    from mlops_object_detection.model.predictor import DetectionPredictor

    return DetectionPredictor(model)


@hookimpl
def mlops_get_content_types(context: PluginContext) -> tuple[ContentType, ...]:
    """Return the image formats that browsers and scanners produce."""
    return (
        ContentType(media_type="image/png", suffix=".png"),
        ContentType(media_type="image/jpeg", suffix=".jpg"),
        ContentType(media_type="image/webp", suffix=".webp"),
        ContentType(media_type="image/tiff", suffix=".tif"),
    )


@hookimpl
def mlops_get_sample_preview(sample: str, dataset: Path, context: PluginContext) -> Preview | None:
    """Return a small copy of the picture."""
    from mlops_object_detection.data.preview import preview_picture

    return preview_picture(dataset, sample)


@hookimpl
def mlops_get_boxes_preview(marked: MarkedSample, dataset: Path, context: PluginContext) -> Preview | None:
    """Return the part of the picture around its errors, with the boxes."""
    from mlops_object_detection.data.preview import preview_boxes

    return preview_boxes(dataset, marked)
