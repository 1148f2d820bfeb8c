from typing import Literal

from pydantic import Field

from mlops_core import (
    DATASET,
    Comparison,
    ConfusionMatrix,
    Dataset,
    DatasetError,
    Direction,
    Gate,
    GeneratedSource,
    Metric,
    MetricReport,
    Operator,
    OptionType,
    OutputOption,
    Parameter,
    ParameterType,
    PredictionOutput,
    Resources,
    SampleScores,
    Section,
    Step,
    StepKind,
    Unit,
    UseCaseConfig,
    hookimpl,
    proportion,
)


class DatasetSection(Section):
    name: str = "words"
    path: str | None = None


class Features(Section):
    scale: int = Field(default=1, ge=1, le=10)


class Training(Section):
    bias: float = 0.0
    behaviour: Literal[
        "normal",
        "raise",
        "exit",
        "print",
        "sleep",
        "fail_once",
        "nothing",
        "undeclared",
        "nan",
        "leak",
        "daemon",
        "memory",
        "write_outside",
        "delete_inputs",
        "random",
        "history",
        "link",
        "link_output",
        "pipe",
        "pipe_as_progress",
        "warn",
    ] = "normal"


class Evaluation(Section):
    shards: int = Field(default=1, ge=1, le=10)


class Config(UseCaseConfig):
    dataset: DatasetSection = DatasetSection()
    features: Features = Features()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()


@hookimpl
def mlops_get_config_model(context):
    return Config


@hookimpl
def mlops_get_datasets(config, context):
    source = GeneratedSource(run="mlops_toy.steps:generate")
    return [Dataset(name="words", title="words", licence="CC0-1.0", sources=(source,), required=("words.csv",))]


@hookimpl
def mlops_get_parameters(config, context):
    return [Parameter(name="q_acc", type=ParameterType.FLOAT, default=0.5, minimum=0, maximum=1)]


@hookimpl
def mlops_get_steps(config, context):
    quick = Resources(timeout_s=3 if config.training.behaviour == "sleep" else 60, retries=1)
    limited = Resources(memory_limit_mb=200)
    return [
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_toy.steps:train",
            inputs={"features": "preprocess.features"},
            outputs=("model",),
            config=("training",),
            resources={"fail_once": quick, "memory": limited}.get(
                config.training.behaviour, Resources(timeout_s=quick.timeout_s)
            ),
        ),
        Step(
            name="preprocess",
            run="mlops_toy.steps:preprocess",
            inputs={"dataset": DATASET},
            outputs=("features",),
            config=("features",),
            shards=config.features.scale,
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_toy.steps:evaluate",
            inputs={"features": "preprocess.features", "model": "train.model"},
            outputs=("predictions",),
            shards=config.evaluation.shards,
        ),
    ]


@hookimpl
def mlops_get_metrics(config, context):
    return [
        Metric(
            name="acc",
            section="classification_metrics",
            unit=Unit.FRACTION,
            minimum=0,
            maximum=1,
            direction=Direction.HIGHER,
        )
    ]


@hookimpl
def mlops_compute_metrics(predictions, context):
    hits = sum(max(zip(row.scores, predictions.classes, strict=True))[1] == row.label for row in predictions.rows)
    matrix = ConfusionMatrix(classes=predictions.classes, counts=((hits, 0), (0, len(predictions.rows) - hits)))
    return MetricReport(values={"acc": proportion(hits, len(predictions.rows))}, confusion_matrices={"sample": matrix})


@hookimpl
def mlops_get_gate(config, context):
    return Gate(
        Comparison(metric="acc", operator=Operator.AT_LEAST, threshold="q_acc", message="Execution failed due to acc <")
    )


class ToyPredictor:
    classes = ("long", "short")

    def __init__(self, folder):
        self._limit = float((folder / "model.txt").read_text())

    def predict(self, paths):
        for path in paths:
            if path.suffix == ".bad":
                raise DatasetError(f"{path}: no word")
            is_long = len(path.name) > self._limit
            yield SampleScores(path=str(path), scores=(float(is_long), float(not is_long)))


@hookimpl
def mlops_load_predictor(model, context):
    return ToyPredictor(model)


@hookimpl
def mlops_get_prediction_outputs(context):
    spelling = PredictionOutput(
        name="spelling",
        help="Spell the names of the files.",
        formats=("lines", "json", "words"),
        write="mlops_toy.spelling:write_spelling",
        reads_standard_input=True,
        options=(
            OutputOption(name="letters", help="Number of letters.", type=OptionType.INTEGER, default=3, minimum=1),
            OutputOption(name="upper-case", help="Use capital letters.", type=OptionType.FLAG),
            OutputOption(name="prefix", help="Text before each line."),
        ),
    )
    count = PredictionOutput(
        name="count", help="Count the files.", formats=("number",), write="mlops_toy.spelling:write_count"
    )
    return [spelling, count]
