"""The hooks of the use case ABALONE. Nothing heavy is imported before a step runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import DATASET, ContentType, Parameter, ParameterType, Resources, Step, StepKind, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core import (
        Dataset,
        Gate,
        Inspection,
        Metric,
        MetricReport,
        PluginContext,
        Predictions,
        Predictor,
        Preview,
        SearchSpace,
        UseCaseConfig,
    )
    from mlops_tabular_regression.config import TabularConfig

_MODEL_PACKAGES = ("lightgbm", "numpy")


@hookimpl
def mlops_get_config_model(context: PluginContext) -> type[TabularConfig]:
    """Return the typed model of ``user_config.yaml``."""
    from mlops_tabular_regression.config import TabularConfig

    return TabularConfig


@hookimpl
def mlops_get_datasets(config: UseCaseConfig, context: PluginContext) -> tuple[Dataset, ...]:
    """Return the catalogue."""
    from mlops_tabular_regression.catalogue import DATASETS

    return DATASETS


@hookimpl
def mlops_inspect_dataset(dataset: Path, config: TabularConfig, context: PluginContext) -> Inspection:
    """Return rows, columns, the distribution of the target and the violations of the schema."""
    from mlops_tabular_regression.tables.inspection import inspect_dataset

    return inspect_dataset(dataset, config)


@hookimpl
def mlops_get_parameters(config: UseCaseConfig, context: PluginContext) -> tuple[Parameter, ...]:
    """Return the threshold of the gate."""
    from mlops_tabular_regression.metrics import DEFAULT_MSE_THRESHOLD, MSE_THRESHOLD

    return (
        Parameter(
            name=MSE_THRESHOLD,
            type=ParameterType.FLOAT,
            default=DEFAULT_MSE_THRESHOLD,
            minimum=0,
            description="Maximum mean squared error on the test part.",
        ),
    )


@hookimpl
def mlops_get_search_space(config: UseCaseConfig, context: PluginContext) -> SearchSpace:
    """Return what a search may vary beside objectives and leaves, which every training tries by itself."""
    from mlops_tabular_regression.searching import SPACE

    return SPACE


@hookimpl
def mlops_get_steps(config: TabularConfig, context: PluginContext) -> tuple[Step, ...]:
    """Return check → split → train → evaluate; with a search, a training also predicts the rows of its own folds."""
    validation = ("validation",) if config.tuning.trials > 1 else ()
    return (
        Step(
            name="check",
            run="mlops_tabular_regression.steps.check:check",
            inputs={"dataset": DATASET},
            outputs=("table", "report"),
            results=("report",),
            config=("table", "rules"),
            packages=("numpy", "pyarrow"),
        ),
        Step(
            name="split",
            run="mlops_tabular_regression.steps.split:split",
            inputs={"table": "check.table"},
            outputs=("split",),
            config=("split",),
            packages=("numpy",),
        ),
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_tabular_regression.steps.train:train",
            inputs={"table": "check.table", "split": "split.split"},
            outputs=("model", *validation),
            results=validation,
            config=("table", "rules", "features", "training", "intervals"),
            packages=_MODEL_PACKAGES,
            resources=Resources(cpus=4, memory_gb=16),
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_tabular_regression.steps.evaluate:evaluate",
            inputs={"table": "check.table", "split": "split.split", "model": "train.model"},
            outputs=("predictions",),
            packages=_MODEL_PACKAGES,
        ),
    )


@hookimpl
def mlops_get_metrics(config: UseCaseConfig, context: PluginContext) -> tuple[Metric, ...]:
    """Return squared and absolute error, explained variance, coverage and width of the intervals."""
    from mlops_tabular_regression.metrics import METRICS

    return METRICS


@hookimpl
def mlops_compute_metrics(predictions: Predictions, context: PluginContext) -> MetricReport:
    """Return the metrics, computed from the predicted numbers and their intervals."""
    from mlops_tabular_regression.metrics import compute_metrics

    return compute_metrics(predictions)


@hookimpl
def mlops_get_gate(config: UseCaseConfig, context: PluginContext) -> Gate:
    """Return the gate: the mean squared error must not exceed its threshold."""
    from mlops_tabular_regression.metrics import GATE

    return GATE


@hookimpl
def mlops_load_predictor(model: Path, context: PluginContext) -> Predictor:
    """Return a predictor with the trained model and its schema."""
    from mlops_tabular_regression.model.predictor import TablePredictor

    return TablePredictor(model)


@hookimpl
def mlops_get_content_types(context: PluginContext) -> tuple[ContentType, ...]:
    """Return the formats of tables: one prediction per row, in the order of the rows."""
    return (
        ContentType(media_type="text/csv", suffix=".csv", has_rows=True),
        ContentType(media_type="text/tab-separated-values", suffix=".tsv", has_rows=True),
    )


@hookimpl
def mlops_get_sample_preview(sample: str, dataset: Path, context: PluginContext) -> Preview | None:
    """Return the cells of a row as text."""
    from mlops_tabular_regression.tables.preview import preview_row

    return preview_row(dataset, sample)
