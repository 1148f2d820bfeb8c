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
    name: str = "numbers"
    path: str | None = None


class Training(Section):
    until: str = ""


class Config(UseCaseConfig):
    dataset: DatasetSection = DatasetSection()
    training: Training = Training()


@hookimpl
def mlops_get_config_model(context):
    return Config


@hookimpl
def mlops_get_datasets(config, context):
    source = GeneratedSource(run="mlops_waiting.steps:generate")
    return [Dataset(name="numbers", title="numbers", licence="CC0-1.0", sources=(source,))]


@hookimpl
def mlops_get_parameters(config, context):
    return [Parameter(name="q_acc", type=ParameterType.FLOAT, default=0.5, minimum=0, maximum=1)]


@hookimpl
def mlops_get_steps(config, context):
    return [
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_waiting.steps:train",
            inputs={"dataset": DATASET},
            outputs=("model",),
            config=("training",),
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_waiting.steps:evaluate",
            inputs={"model": "train.model"},
            outputs=("predictions",),
        ),
    ]


@hookimpl
def mlops_get_metrics(config, context):
    unit = {"unit": Unit.FRACTION, "minimum": 0, "maximum": 1, "direction": Direction.HIGHER}
    return [Metric(name="acc", section="classification_metrics", **unit)]


@hookimpl
def mlops_compute_metrics(predictions, context):
    hits = sum(row.scores[predictions.classes.index(row.label)] > 0.5 for row in predictions.rows)
    return MetricReport(values={"acc": proportion(hits, len(predictions.rows))})


@hookimpl
def mlops_get_gate(config, context):
    return Gate(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold="q_acc"))


class Predictor:
    classes = ("even", "odd")

    def predict(self, paths):
        for path in paths:
            yield SampleScores(path=str(path), scores=(1.0, 0.0))


@hookimpl
def mlops_load_predictor(model, context):
    return Predictor()
