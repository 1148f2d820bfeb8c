from typing import Literal

from mlops_core import (
    DATASET,
    ConfusionMatrix,
    Dataset,
    Direction,
    Gate,
    GeneratedSource,
    Metric,
    MetricReport,
    MetricValue,
    Parameter,
    ParameterType,
    Preview,
    SampleScores,
    Section,
    Step,
    StepKind,
    Unit,
    UseCaseConfig,
    hookimpl,
    parse_condition,
    proportion,
)


class DatasetSection(Section):
    name: str = "gallery"
    path: str | None = None


class Training(Section):
    skill: float = 0.8
    behaviour: Literal["normal", "raise"] = "normal"
    note: str = ""


class Config(UseCaseConfig):
    dataset: DatasetSection = DatasetSection()
    training: Training = Training()


@hookimpl
def mlops_get_config_model(context):
    return Config


@hookimpl
def mlops_get_datasets(config, context):
    source = GeneratedSource(run="mlops_gallery.steps:generate")
    return [Dataset(name="gallery", title="one of each", licence="CC0-1.0", sources=(source,))]


@hookimpl
def mlops_get_parameters(config, context):
    return [
        Parameter(name="q_acc", type=ParameterType.FLOAT, default=0.5, minimum=0, maximum=1),
        Parameter(name="remark", type=ParameterType.STRING, default='"><img src=x onerror=alert(1)>'),
    ]


@hookimpl
def mlops_get_steps(config, context):
    parts = ("left", "right")
    return [
        *(
            Step(name=name, run="mlops_gallery.steps:half", inputs={"dataset": DATASET}, outputs=("half",))
            for name in parts
        ),
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_gallery.steps:train",
            inputs={name: f"{name}.half" for name in parts},
            outputs=("model",),
            config=("training",),
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_gallery.steps:evaluate",
            inputs={"dataset": DATASET, "model": "train.model"},
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
            title="Accuracy <b>bold</b>",
        ),
        Metric(
            name="mistakes",
            section="classification_metrics",
            unit=Unit.COUNT,
            minimum=0,
            maximum=float("inf"),
            direction=Direction.LOWER,
        ),
    ]


@hookimpl
def mlops_compute_metrics(predictions, context):
    classes = predictions.classes
    counts = [[0] * len(classes) for _ in classes]
    for row in predictions.rows:
        counts[classes.index(row.label)][max(range(len(classes)), key=row.scores.__getitem__)] += 1
    hits = sum(counts[at][at] for at in range(len(classes)))
    matrix = ConfusionMatrix(classes=classes, counts=tuple(map(tuple, counts)))
    mistakes = float(len(predictions.rows) - hits)
    return MetricReport(
        values={
            "acc": proportion(hits, len(predictions.rows)),
            "mistakes": MetricValue(value=mistakes, low=mistakes, high=mistakes),
        },
        confusion_matrices={"sample": matrix, "<i>again</i>": matrix},
    )


@hookimpl
def mlops_get_gate(config, context):
    gate = parse_condition("acc >= q_acc and mistakes <= 40", messages={"acc": "Execution failed due to <acc> <"})
    return Gate(gate)


class Predictor:
    classes = ("one",)

    def predict(self, paths):
        for path in paths:
            yield SampleScores(path=str(path), scores=(1.0,))


@hookimpl
def mlops_load_predictor(model, context):
    return Predictor()


@hookimpl
def mlops_get_sample_preview(sample, dataset, context):
    kind = sample.rpartition(".")[2]
    if kind == "wav":
        return Preview(media_type="audio/wav", data=(dataset / "sound.wav").read_bytes(), caption="<u>a tone</u>")
    if kind == "png":
        return Preview(media_type="image/png", data=(dataset / "picture.png").read_bytes())
    if kind == "txt":
        return Preview(media_type="text/plain", data=b"</pre><script>document.title = 'owned'</script>")
    if kind == "bad":
        raise OSError("no <such> file")
    return None
