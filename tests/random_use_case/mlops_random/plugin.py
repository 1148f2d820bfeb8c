import math
import random

from pydantic import Field

from mlops_core import (
    DATASET,
    AllOf,
    AnyOf,
    Comparison,
    Dataset,
    Direction,
    Gate,
    GeneratedSource,
    Metric,
    MetricReport,
    MetricValue,
    Not,
    Operator,
    Parameter,
    ParameterType,
    Section,
    Step,
    StepKind,
    Unit,
    UseCaseConfig,
    hookimpl,
)
from mlops_core.gates.contradictions import find_contradiction

NUMBERS = (0.0, 0.25, 0.3, 0.1 + 0.2, 0.5, math.nextafter(0.5, 1), 1.0)
"""Thresholds and metric values are drawn from these, so that they are often equal or adjacent."""


class DatasetSection(Section):
    name: str = "letters"
    path: str | None = None


class Shape(Section):
    seed: int = 0
    fails: bool = False
    weights: dict[str, float] = Field(default_factory=dict)
    """The order matters, as for class names."""


class Config(UseCaseConfig):
    dataset: DatasetSection = DatasetSection()
    shape: Shape = Shape()


@hookimpl
def mlops_get_config_model(context):
    return Config


@hookimpl
def mlops_get_datasets(config, context):
    source = GeneratedSource(run="mlops_random.steps:generate")
    return [Dataset(name="letters", title="letters", licence="CC0-1.0", sources=(source,), required=("a.txt",))]


@hookimpl
def mlops_get_parameters(config, context):
    draw = random.Random(f"parameters {config.shape.seed}")
    return [
        Parameter(name="level", type=ParameterType.FLOAT, default=draw.choice(NUMBERS)),
        Parameter(name="whole", type=ParameterType.INTEGER, default=draw.choice([0, 1])),
        Parameter(name="word", type=ParameterType.STRING, default=draw.choice(["x", "two words", "ä=ö", "/opt/x"])),
        Parameter(name="flag", type=ParameterType.BOOLEAN, default=draw.choice([True, False])),
    ]


@hookimpl
def mlops_get_steps(config, context):
    draw = random.Random(f"steps {config.shape.seed}")
    steps = []
    references = [DATASET]
    for number in range(draw.randint(0, 3)):
        steps.append(_step(draw, f"s{number}", references, kind=StepKind.PROCESSING))
        references += [f"s{number}.{output}" for output in steps[-1].outputs]
    train = _step(draw, "train", references, kind=StepKind.TRAINING, outputs=("model", *draw.choice([(), ("curve",)])))
    steps.append(train)
    references += [f"train.{output}" for output in train.outputs]
    used = {reference for step in steps for reference in step.inputs.values()} | {"train.model"}
    unread = [reference for reference in references if reference not in used]
    steps.append(
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_random.steps:evaluate",
            inputs={"model": "train.model"} | {f"i{n}": reference for n, reference in enumerate(unread)},
            outputs=("predictions",),
            config=("shape",),
            shards=draw.choice([1, 1, 2, 3]),
        )
    )
    draw.shuffle(steps)
    return steps


def _step(draw, name, references, *, kind, outputs=()):
    inputs = draw.sample(references, draw.randint(1, min(3, len(references))))
    return Step(
        name=name,
        kind=kind,
        run="mlops_random.steps:mix",
        inputs={f"i{number}": reference for number, reference in enumerate(inputs)},
        outputs=outputs or tuple(f"o{number}" for number in range(draw.randint(1, 2))),
        parameters=tuple(draw.sample(["level", "whole", "word", "flag"], draw.randint(0, 4))),
        config=draw.choice([(), ("shape",)]) if name != "train" else ("shape",),
        shards=draw.choice([1, 1, 2, 3]),
        merge=draw.choice(["", "mlops_random.steps:join"]),
    )


@hookimpl
def mlops_get_metrics(config, context):
    ranges = [(0, 1), (-math.inf, math.inf), (0, math.inf)]
    return [
        Metric(
            name=f"m{number}",
            section=f"section_{number % 2}",
            unit=Unit.NONE,
            minimum=low,
            maximum=high,
            direction=Direction.HIGHER,
        )
        for number, (low, high) in enumerate(ranges)
    ]


@hookimpl
def mlops_compute_metrics(predictions, context):
    values = {}
    for row in predictions.rows:
        name, _, text = row.sample.partition("=")
        if text != "missing":
            value = float(text)
            values[name] = MetricValue(value=value, low=value, high=value)
    return MetricReport(values=values)


@hookimpl
def mlops_get_gate(config, context):
    draw = random.Random(f"gate {config.shape.seed}")
    metrics = {metric.name: metric for metric in mlops_get_metrics(config, context)}
    values = {parameter.name: parameter.default for parameter in mlops_get_parameters(config, context)}
    while True:  # a gate that no model can meet is refused before a run
        condition = _condition(draw, depth=0)
        if not find_contradiction(condition, metrics=metrics, parameters=values):
            return Gate(condition)


def _condition(draw, *, depth):
    kind = draw.choice(["compare"] * (1 + depth) + ["and", "or", "not"])
    if kind == "compare" or depth > 3:
        return Comparison(
            metric=f"m{draw.randrange(3)}",
            operator=draw.choice(list(Operator)),
            threshold=draw.choice([*NUMBERS, "level", "whole"]),
            message=draw.choice(["", "Execution failed due to a low metric <"]),
        )
    if kind == "not":
        return Not(_condition(draw, depth=depth + 1))
    parts = tuple(_condition(draw, depth=depth + 1) for _ in range(draw.randint(1, 3)))
    return AllOf(parts) if kind == "and" else AnyOf(parts)


@hookimpl
def mlops_load_predictor(model, context):
    raise NotImplementedError
