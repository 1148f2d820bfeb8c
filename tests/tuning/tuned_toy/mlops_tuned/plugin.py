from typing import Literal

from pydantic import Field, model_validator

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
    Parameter,
    ParameterType,
    RangeKind,
    SampleScores,
    SearchRange,
    SearchSpace,
    Section,
    Step,
    StepKind,
    TunedParameter,
    TuningSection,
    Unit,
    UseCaseConfig,
    hookimpl,
    proportion,
)


class DatasetSection(Section):
    name: str = "words"
    path: str | None = None


class Training(Section):
    threshold: float = Field(default=3.0, ge=0, le=20)
    size: Literal["small", "medium"] = "small"
    steps: int = Field(default=1, ge=1, le=100)
    behaviour: Literal[
        "normal", "fail_above", "nan", "test_part", "fail", "sleep", "hold", "train_part", "partial", "relabel"
    ] = "normal"
    hold: str = ""


class Limits(Section):
    threshold: float = 20.0


class Config(UseCaseConfig):
    dataset: DatasetSection = DatasetSection()
    training: Training = Training()
    limits: Limits = Limits()
    tuning: TuningSection = TuningSection()

    @model_validator(mode="after")
    def _check_threshold(self):
        if self.training.threshold > self.limits.threshold:
            raise ValueError(f"training.threshold is above limits.threshold, {self.limits.threshold}")
        return self


@hookimpl
def mlops_get_config_model(context):
    return Config


@hookimpl
def mlops_get_datasets(config, context):
    source = GeneratedSource(run="mlops_tuned.steps:generate")
    return [Dataset(name="words", title="words", licence="CC0-1.0", sources=(source,), required=("words.csv",))]


@hookimpl
def mlops_get_parameters(config, context):
    return [Parameter(name="q_acc", type=ParameterType.FLOAT, default=0.5, minimum=0, maximum=1)]


@hookimpl
def mlops_get_search_space(config, context):
    return SearchSpace(
        parameters=(
            TunedParameter(name="threshold", key="training.threshold", minimum=0, maximum=20),
            TunedParameter(name="model_size", key="training.size", type="string", choices=("small", "medium")),
            TunedParameter(name="number_of_epochs", key="training.steps", type="integer", minimum=1, maximum=100),
        ),
        subspaces=(
            {
                "threshold": SearchRange(kind=RangeKind.UNIFORM, minimum=2, maximum=12),
                "model_size": SearchRange(kind=RangeKind.CHOICE, values=("small", "medium")),
            },
            {"threshold": SearchRange(kind=RangeKind.QUNIFORM, minimum=1, maximum=12, step=1)},
        ),
    )


@hookimpl
def mlops_get_steps(config, context):
    return [
        Step(
            name="split",
            run="mlops_tuned.steps:split",
            inputs={"dataset": DATASET},
            outputs=("words",),
        ),
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_tuned.steps:train",
            inputs={"words": "split.words"},
            outputs=("model", "validation"),
            results=("validation",),
            config=("training",),
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_tuned.steps:evaluate",
            inputs={"words": "split.words", "model": "train.model"},
            outputs=("predictions",),
        ),
    ]


@hookimpl
def mlops_get_metrics(config, context):
    common = {"section": "classification_metrics", "unit": Unit.FRACTION, "minimum": 0, "maximum": 1}
    return [
        Metric(name="acc", direction=Direction.HIGHER, **common),
        Metric(name="error", direction=Direction.LOWER, **common),
    ]


@hookimpl
def mlops_compute_metrics(predictions, context):
    hits = sum(max(zip(row.scores, predictions.classes, strict=True))[1] == row.label for row in predictions.rows)
    count = len(predictions.rows)
    if any(row.scores[0] == 0.25 for row in predictions.rows):
        return MetricReport(values={"error": proportion(count - hits, count)})
    return MetricReport(values={"acc": proportion(hits, count), "error": proportion(count - hits, count)})


@hookimpl
def mlops_get_gate(config, context):
    return Gate(
        Comparison(metric="acc", operator=Operator.AT_LEAST, threshold="q_acc", message="Execution failed due to acc <")
    )


class WordPredictor:
    classes = ("long", "short")

    def __init__(self, folder):
        self._limit = float((folder / "model.txt").read_text())

    def predict(self, paths):
        for path in paths:
            is_long = len(path.name) > self._limit
            yield SampleScores(path=str(path), scores=(float(is_long), float(not is_long)))


@hookimpl
def mlops_load_predictor(model, context):
    return WordPredictor(model)
