"""The hooks of PROBE: prepare (in shards), left and right (independent of each other), train, evaluate."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mlops_core import (
    DATASET,
    Comparison,
    Dataset,
    Direction,
    Gate,
    GeneratedSource,
    Metric,
    MetricReport,
    MetricValue,
    Operator,
    Parameter,
    ParameterType,
    PluginContext,
    Predictions,
    Resources,
    SampleScores,
    Step,
    StepKind,
    Unit,
    hookimpl,
    proportion,
)
from mlops_probe.config import Config
from mlops_probe.steps import CLASSES


@hookimpl
def mlops_get_config_model(context: PluginContext) -> type[Config]:
    """Return the configuration."""
    return Config


@hookimpl
def mlops_get_datasets(config: Config, context: PluginContext) -> Sequence[Dataset]:
    """Return the generated numbers."""
    source = GeneratedSource(run="mlops_probe.steps:generate")
    return [Dataset(name="numbers", title="numbers", licence="CC0-1.0", sources=(source,), required=("number-*.json",))]


@hookimpl
def mlops_get_parameters(config: Config, context: PluginContext) -> Sequence[Parameter]:
    """Return one parameter of the gate and one of a step."""
    return [
        Parameter(name="least", type=ParameterType.FLOAT, default=0.5, minimum=0, maximum=1),
        Parameter(name="factor", type=ParameterType.INTEGER, default=1, minimum=0, maximum=100),
    ]


@hookimpl
def mlops_get_steps(config: Config, context: PluginContext) -> Sequence[Step]:
    """Return the steps, not in the order in which they can be executed."""
    training = config.training
    return [
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_probe.steps:evaluate",
            inputs={"table": "prepare.table", "model": "train.model"},
            outputs=("predictions",),
            config=("witness", "evaluation"),
        ),
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_probe.steps:train",
            inputs={"table": "prepare.table", "left": "left.mark", "right": "right.mark"},
            outputs=("model",),
            config=("witness", "training"),
            parameters=("factor",),
            resources=Resources(
                timeout_s=training.timeout_s, retries=training.retries, memory_limit_mb=training.memory_limit_mb
            ),
        ),
        _independent("right"),
        _independent("left"),
        Step(
            name="prepare",
            run="mlops_probe.steps:prepare",
            inputs={"numbers": DATASET},
            outputs=("table",),
            config=("witness", "preparation"),
            shards=config.preparation.shards,
        ),
    ]


def _independent(name: str) -> Step:
    return Step(
        name=name,
        run=f"mlops_probe.steps:{name}",
        inputs={"table": "prepare.table"},
        outputs=("mark",),
        config=("witness",),
    )


@hookimpl
def mlops_get_metrics(config: Config, context: PluginContext) -> Sequence[Metric]:
    """Return the one metric."""
    return [
        Metric(
            name="accuracy",
            section="classification_metrics",
            unit=Unit.FRACTION,
            minimum=0,
            maximum=1,
            direction=Direction.HIGHER,
        )
    ]


@hookimpl
def mlops_compute_metrics(predictions: Predictions, context: PluginContext) -> MetricReport:
    """Return the accuracy, unless a group's name says that it is missing or not a number."""
    rows = predictions.rows
    if any(row.group == "missing" for row in rows):
        return MetricReport(values={})
    if any(row.group == "nan" for row in rows):
        return MetricReport(values={"accuracy": MetricValue(value=float("nan"), low=float("nan"), high=float("nan"))})
    right = sum(max(zip(row.scores, predictions.classes, strict=True))[1] == row.label for row in rows)
    return MetricReport(values={"accuracy": proportion(right, len(rows))})


@hookimpl
def mlops_get_gate(config: Config, context: PluginContext) -> Gate:
    """Return the gate: an accuracy of at least the parameter."""
    return Gate(
        Comparison(metric="accuracy", operator=Operator.AT_LEAST, threshold="least", message="accuracy is too low:")
    )


class ProbePredictor:
    """Answers every file alike; no check of runners asks it."""

    classes = CLASSES

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield equal scores."""
        for path in paths:
            yield SampleScores(path=str(path), scores=(0.5, 0.5))


@hookimpl
def mlops_load_predictor(model: Path, context: PluginContext) -> ProbePredictor:
    """Return the predictor."""
    return ProbePredictor()
