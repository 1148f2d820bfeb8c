"""The use case CHAIN: ``shape.length`` steps in a row, or ``shape.width`` side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mlops_core import (
    DATASET,
    Comparison,
    Dataset,
    Direction,
    Gate,
    GeneratedSource,
    Metric,
    MetricReport,
    Operator,
    Section,
    Step,
    StepKind,
    Unit,
    UseCaseConfig,
    hookimpl,
    proportion,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core import PluginContext, Predictions


class DatasetSection(Section):
    """The data set."""

    name: str = "array"
    path: str | None = None


class Shape(Section):
    """Number of steps, and how they are connected."""

    length: int = Field(default=5, ge=3)
    is_wide: bool = False


class Config(UseCaseConfig):
    """The whole configuration."""

    dataset: DatasetSection = DatasetSection()
    shape: Shape = Shape()


@hookimpl
def mlops_get_config_model(context: PluginContext) -> type[UseCaseConfig]:
    """Return the typed model of the configuration."""
    return Config


@hookimpl
def mlops_get_datasets(config: Config, context: PluginContext) -> Sequence[Dataset]:
    """Return the generated data set."""
    source = GeneratedSource(run="mlops_chain.steps:generate")
    return [Dataset(name="array", title="a small array", licence="CC0-1.0", sources=(source,))]


@hookimpl
def mlops_get_steps(config: Config, context: PluginContext) -> Sequence[Step]:
    """Return `length` steps, the last of which evaluates."""
    count = config.shape.length
    middle = [
        Step(
            name=f"s{index}",
            run="mlops_chain.steps:advance",
            inputs={"array": DATASET if index == 0 or config.shape.is_wide else f"s{index - 1}.array"},
            outputs=("array",),
        )
        for index in range(count - 1)
    ]
    read = middle if config.shape.is_wide else middle[-1:]
    last = Step(
        name="evaluate",
        kind=StepKind.EVALUATION,
        run="mlops_chain.steps:evaluate",
        inputs={step.name: f"{step.name}.array" for step in read},
        outputs=("predictions",),
    )
    return [*middle, last]


@hookimpl
def mlops_get_model(config: Config, context: PluginContext) -> str:
    """Return the last array as the model."""
    return f"s{config.shape.length - 2}.array"


@hookimpl
def mlops_get_metrics(config: Config, context: PluginContext) -> Sequence[Metric]:
    """Return the only metric."""
    return [Metric(name="acc", section="metrics", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)]


@hookimpl
def mlops_compute_metrics(predictions: Predictions, context: PluginContext) -> MetricReport:
    """Return the number of rows as an accuracy of 1."""
    return MetricReport(values={"acc": proportion(len(predictions.rows), len(predictions.rows))})


@hookimpl
def mlops_get_gate(config: Config, context: PluginContext) -> Gate:
    """Return a gate that accepts every run."""
    return Gate(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold=0.5, message="acc <"))


@hookimpl
def mlops_load_predictor(model: object, context: PluginContext) -> object:
    """Raise an error: benchmarks do not predict."""
    raise NotImplementedError
