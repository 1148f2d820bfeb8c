from mlops_core import (
    DATASET,
    Comparison,
    Dataset,
    Direction,
    Gate,
    GeneratedSource,
    Metric,
    Operator,
    Parameter,
    ParameterType,
    Source,
    Step,
    StepKind,
    Unit,
    hookimpl,
)

PUBLISHED = "https://data.example"
REQUIRED = ("labels.csv", "words/*.txt")


@hookimpl
def mlops_get_config_model(context):
    from mlops_specimen.config import Config

    return Config


@hookimpl
def mlops_get_datasets(config, context):
    return (
        Dataset(
            name="words",
            title="words and whether they are long",
            licence="CC0-1.0",
            sources=(GeneratedSource(run="mlops_specimen.words:generate"),),
            required=REQUIRED,
        ),
        Dataset(
            name="real-words",
            title="words of the world",
            licence="CC-BY-4.0",
            homepage=PUBLISHED,
            size_bytes=1000,
            sources=(Source(url=f"{PUBLISHED}/words.zip", sha256="0" * 64, size=1000),),
            required=REQUIRED,
        ),
    )


@hookimpl
def mlops_get_parameters(config, context):
    return (Parameter(name="q_accuracy", type=ParameterType.FLOAT, default=0.9, minimum=0, maximum=1),)


@hookimpl
def mlops_get_steps(config, context):
    return (
        Step(name="split", run="mlops_specimen.steps:split", inputs={"dataset": DATASET}, outputs=("split",)),
        Step(
            name="preprocess",
            run="mlops_specimen.steps:preprocess",
            inputs={"dataset": DATASET, "split": "split.split"},
            outputs=("features",),
            config=("features",),
            shards=2,
        ),
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_specimen.steps:train",
            inputs={"features": "preprocess.features"},
            outputs=("model",),
            config=("training", "features"),
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_specimen.steps:evaluate",
            inputs={"features": "preprocess.features", "model": "train.model", "split": "split.split"},
            outputs=("predictions",),
            parameters=("q_accuracy",),
        ),
    )


@hookimpl
def mlops_get_metrics(config, context):
    return (
        Metric(
            name="accuracy",
            section="classification_metrics",
            unit=Unit.FRACTION,
            minimum=0,
            maximum=1,
            direction=Direction.HIGHER,
            log_regex=r"accuracy on test set: ([0-9\.]+)",
        ),
    )


@hookimpl
def mlops_compute_metrics(predictions, context):
    from mlops_specimen.words import compute

    return compute(predictions)


@hookimpl
def mlops_get_gate(config, context):
    return Gate(Comparison(metric="accuracy", operator=Operator.AT_LEAST, threshold="q_accuracy"))


@hookimpl
def mlops_load_predictor(model, context):
    from mlops_specimen.words import WordPredictor

    return WordPredictor(model)
