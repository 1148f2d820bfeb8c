"""The hooks of the use case AED; nothing heavy is imported before a step runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import Parameter, ParameterType, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_aed.config import AedConfig
    from mlops_core import (
        ContentType,
        Dataset,
        Gate,
        ImportedConfig,
        Inspection,
        Metric,
        MetricReport,
        PluginContext,
        PredictionOutput,
        Predictions,
        Predictor,
        PretrainedModel,
        Preview,
        SearchSpace,
        Step,
        UseCaseConfig,
        YamlSource,
    )


@hookimpl
def mlops_get_config_model(context: PluginContext) -> type[AedConfig]:
    """Return the typed model of ``user_config.yaml``."""
    from mlops_aed.config import AedConfig

    return AedConfig


@hookimpl
def mlops_import_config(source: YamlSource, layout: str | None, context: PluginContext) -> ImportedConfig | None:
    """Convert a configuration of the STM32 model zoo, in any of its three layouts."""
    from mlops_aed.stm32.layouts import Layout, detect

    detected = detect(source.data)
    if layout not in {None, "stm32"} or (detected is None and layout is None):
        return None
    from mlops_aed.stm32.conversion import convert

    return convert(source, detected or Layout.V2)


@hookimpl
def mlops_get_datasets(config: UseCaseConfig, context: PluginContext) -> tuple[Dataset, ...]:
    """Return the catalogue."""
    from mlops_aed.data.catalogue import DATASETS

    return DATASETS


@hookimpl
def mlops_inspect_dataset(dataset: Path, config: AedConfig, context: PluginContext) -> Inspection:
    """Measure every clip; find faults and duplicates across folds."""
    from mlops_aed.data.inspection import inspect_dataset

    return inspect_dataset(dataset, config)


def get_pipeline_parameters(default_threshold: float = 0.5, dataset_name: str = "AED_Dataset") -> tuple[Parameter, ...]:
    """Return the parameters of the pipeline.

    Args:
        default_threshold: default threshold of clip and patch accuracy.
        dataset_name: suffix of the name of the processing step.
    """
    from mlops_aed.evaluation.metrics import CLIP_THRESHOLD, PATCH_THRESHOLD

    thresholds = tuple(
        Parameter(
            name=name,
            type=ParameterType.FLOAT,
            default=default_threshold,
            minimum=0,
            maximum=1,
            description=f"The {level} accuracy that a model must reach.",
        )
        for name, level in ((CLIP_THRESHOLD, "clip"), (PATCH_THRESHOLD, "patch"))
    )
    texts = {
        "processing_step_name": (f"Preprocess_{dataset_name}", "Name of the processing job."),
        "AED_FOLDER_NAME": ("audio_event_detection", "Folder of the use case in the bucket."),
        "modelzoo_version": ("v1", "Layout of the model zoo's configuration."),
    }
    return thresholds + tuple(
        Parameter(name=name, type=ParameterType.STRING, default=default, description=description)
        for name, (default, description) in texts.items()
    )


@hookimpl
def mlops_get_parameters(config: AedConfig, context: PluginContext) -> tuple[Parameter, ...]:
    """Return the thresholds of the gate and the names that existing systems set."""
    parameters = get_pipeline_parameters(dataset_name=config.dataset.name)
    if not config.dataset.multi_label:
        return parameters
    from mlops_aed.multilabel_steps import parameter

    return (*(item for item in parameters if item.type is not ParameterType.FLOAT), parameter())


@hookimpl
def mlops_get_search_space(config: AedConfig, context: PluginContext) -> SearchSpace:
    """Return what a search may vary in the configured way of training."""
    from mlops_aed.training.searching import search_space

    return search_space(config.training)


@hookimpl
def mlops_get_steps(config: AedConfig, context: PluginContext) -> tuple[Step, ...]:
    """Return the steps of the operation mode."""
    from mlops_aed import multilabel_steps, pipeline_steps

    return multilabel_steps.steps(config) if config.dataset.multi_label else pipeline_steps.steps(config)


@hookimpl
def mlops_get_model(config: AedConfig, context: PluginContext) -> str:
    """Return the trained, loaded or quantized model."""
    from mlops_aed.pipeline_steps import model_reference

    return model_reference(config)


@hookimpl
def mlops_get_base_models(config: AedConfig, context: PluginContext) -> tuple[PretrainedModel, ...]:
    """Return the backbone or the existing model that a run begins with."""
    from mlops_aed.models.base_models import base_models

    return base_models(config)


@hookimpl
def mlops_get_metrics(config: AedConfig, context: PluginContext) -> tuple[Metric, ...]:
    """Return clip and patch accuracy; for a quantized model also the accuracy it loses and its cost."""
    from mlops_aed.evaluation import metrics, multilabel

    return multilabel.declared_metrics(config) if config.dataset.multi_label else metrics.declared_metrics(config)


@hookimpl
def mlops_compute_metrics(predictions: Predictions, context: PluginContext) -> MetricReport:
    """Compute both accuracies from the scores of the patches; for clips with several labels, ranking metrics."""
    from mlops_aed.evaluation import metrics, multilabel

    if multilabel.LABELS_FACT in predictions.facts:
        return multilabel.compute_metrics(predictions)
    return metrics.compute_metrics(predictions)


@hookimpl
def mlops_get_gate(config: AedConfig, context: PluginContext) -> Gate:
    """Return the gate: both accuracies reach their thresholds, and a quantized model stays within its limits."""
    from mlops_aed.evaluation import metrics, multilabel

    return multilabel.gate(config) if config.dataset.multi_label else metrics.gate(config)


@hookimpl
def mlops_load_predictor(model: Path, context: PluginContext) -> Predictor:
    """Load a trained network with its feature settings."""
    from mlops_aed.predictor import AedPredictor

    return AedPredictor(model)


@hookimpl
def mlops_get_content_types(context: PluginContext) -> tuple[ContentType, ...]:
    """Return the audio formats by the names that clients use for them."""
    from mlops_aed.outputs import CONTENT_TYPES

    return CONTENT_TYPES


@hookimpl
def mlops_get_prediction_outputs(context: PluginContext) -> tuple[PredictionOutput, ...]:
    """Return the output kind ``events``."""
    from mlops_aed.outputs import EVENTS

    return (EVENTS,)


@hookimpl
def mlops_get_sample_preview(sample: str, dataset: Path, context: PluginContext) -> Preview | None:
    """Return a few playable seconds of a clip."""
    from mlops_aed.audio.excerpt import preview_clip
    from mlops_aed.evaluation.votes import sample_name

    return preview_clip(dataset, sample_name(sample).clip)
