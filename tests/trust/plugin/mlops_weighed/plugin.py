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
    Section,
    Step,
    StepKind,
    Unit,
    UseCaseConfig,
    hookimpl,
    proportion,
)


class DatasetSection(Section):
    name: str = "parcels"
    path: str | None = None


class Training(Section):
    limit: float = 5.0


class Config(UseCaseConfig):
    dataset: DatasetSection = DatasetSection()
    training: Training = Training()


@hookimpl
def mlops_get_config_model(context):
    return Config


@hookimpl
def mlops_get_datasets(config, context):
    source = GeneratedSource(run="mlops_weighed.steps:generate")
    return [Dataset(name="parcels", title="parcels", licence="CC0-1.0", sources=(source,), required=("parcels.csv",))]


@hookimpl
def mlops_get_parameters(config, context):
    return [Parameter(name="q_acc", type=ParameterType.FLOAT, default=0.5, minimum=0, maximum=1)]


@hookimpl
def mlops_get_steps(config, context):
    return [
        Step(name="split", run="mlops_weighed.steps:split", inputs={"dataset": DATASET}, outputs=("split",)),
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_weighed.steps:train",
            inputs={"split": "split.split"},
            outputs=("model",),
            config=("training",),
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_weighed.steps:evaluate",
            inputs={"split": "split.split", "model": "train.model"},
            outputs=("predictions",),
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
    return MetricReport(values={"acc": proportion(hits, len(predictions.rows))})


@hookimpl
def mlops_get_gate(config, context):
    return Gate(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold="q_acc", message="acc too low:"))


@hookimpl
def mlops_load_predictor(model, context):
    raise NotImplementedError
