"""Random gates over metrics that may be missing, NaN or equal to the threshold decide equally on both runners."""

import json
import math
import os
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlops_sagemaker.compiler.arguments import to_arguments
from mlops_sagemaker.compiler.gates import compile_gate, gate_parameters
from mlops_sagemaker.emulator.comparisons import holds_all
from mlops_sagemaker.emulator.definition import ParameterDefinition
from mlops_sagemaker.emulator.functions import resolve
from mlops_sagemaker.layout import Layout

from mlops_core import (
    AllOf,
    AnyOf,
    Bound,
    Champion,
    Comparison,
    Direction,
    Gate,
    LicenceClause,
    LicenceSubject,
    Metric,
    MetricReport,
    MetricValue,
    NoRegression,
    Not,
    Operator,
    Parameter,
    ParameterType,
    Pipeline,
    PipelineError,
    Prediction,
    Predictions,
    PretrainedModel,
    Slice,
    SplitRow,
    Step,
    StepKind,
    Unit,
    Verdict,
    proportion,
    row_digest,
    write_predictions,
    write_split,
)
from mlops_core.datasets.licences import Licences
from mlops_core.evaluation.evaluation_file import read_evaluation, write_evaluation
from mlops_core.gates.evidence import ChampionPredictions
from mlops_core.runners.container.request import ContainerRequest, GateRequest, Part, read_order
from mlops_core.runners.container.verdict import gate_evaluation, verdict_message
from mlops_core.runners.evidence import gate_evidence, read_champion, write_champion

GATES = int(os.environ.get("MLOPS_TEST_GATES", "60"))
"""Number of gates; `make test-parity` draws thousands."""
NUMBERS = (0.0, 0.1, 0.25, 0.3, 0.1 + 0.2, 0.5, math.nextafter(0.5, 1), math.nextafter(0.5, 0), 1.0, 5e-324)
RANGES = ((0.0, 1.0), (-math.inf, math.inf), (0.0, math.inf), (-1.0, 0.5))
METRICS = tuple(
    Metric(
        name=f"m{number}",
        section=f"s{number % 2}",
        unit=Unit.NONE,
        minimum=low,
        maximum=high,
        direction=Direction.HIGHER,
    )
    for number, (low, high) in enumerate(RANGES)
)
EVALUATE = Step(name="evaluate", kind=StepKind.EVALUATION, run="a:b", outputs=("predictions",))
TRAIN = Step(name="train", run="a:b", outputs=("model",))

values = st.one_of(
    st.none(),
    st.sampled_from(NUMBERS),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([math.nan, math.inf, -math.inf, 94.0, -0.5, 1e308]),
)


def _thresholds(metric):
    fixed = [number for number in (*NUMBERS, -0.5, 0.4) if metric.minimum <= number <= metric.maximum]
    return st.sampled_from([*fixed, "level", "whole"])


comparisons = st.sampled_from(METRICS).flatmap(
    lambda metric: st.builds(
        Comparison,
        metric=st.just(metric.name),
        operator=st.sampled_from(list(Operator)),
        threshold=_thresholds(metric),
        message=st.sampled_from(["", "Execution failed due to a low metric <"]),
    )
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


CLASSES = ("cat", "siren")
CLASSIFIER = (
    Metric(name="acc", section="s0", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER),
    Metric(name="loss", section="s1", unit=Unit.NONE, minimum=0, maximum=math.inf, direction=Direction.LOWER),
)
slices = st.builds(
    Slice, column=st.sampled_from(["label", "fold"]), value=st.none() | st.sampled_from(["siren", "cat", "1", "9"])
)
numbers = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
evidence_clauses = st.one_of(
    st.builds(
        Comparison,
        metric=st.sampled_from(["acc", "loss"]),
        operator=st.sampled_from(list(Operator)),
        threshold=numbers | st.just("level"),
        bound=st.none() | st.sampled_from(list(Bound)),
        slice=st.none() | slices,
    ),
    st.builds(
        Comparison,
        metric=st.just("recall"),
        operator=st.sampled_from(list(Operator)),
        threshold=numbers,
        slice=st.builds(Slice, value=st.none() | st.sampled_from(CLASSES)),
    ),
    st.builds(
        Comparison,
        metric=st.sampled_from(["acc", "loss"]),
        operator=st.sampled_from(list(Operator)),
        threshold=st.builds(Champion, offset=st.sampled_from([-0.5, -0.1, 0.0, 0.1])),
        slice=st.none() | slices.filter(lambda part: part.value is not None),
    ),
    st.builds(
        NoRegression, metric=st.sampled_from(["acc", "loss"]), column=st.sampled_from(["label", "fold"]), margin=numbers
    ),
    st.builds(
        LicenceClause,
        subject=st.sampled_from(list(LicenceSubject)),
        licences=st.lists(st.sampled_from(["mit", "CC-BY-4.0", "GPL-3.0-or-later"]), min_size=1, max_size=2).map(tuple),
        is_excluded=st.booleans(),
    ),
)
licence_texts = st.sampled_from(["MIT", "CC-BY-4.0", "CC-BY-NC-4.0", "", "ask the author"])
licence_facts = st.builds(
    Licences,
    dataset_name=st.just("d"),
    dataset=licence_texts,
    base_models=st.none()
    | st.lists(licence_texts, max_size=2).map(
        lambda texts: tuple(PretrainedModel(name=f"m{number}", licence=text) for number, text in enumerate(texts))
    ),
)
evidence_conditions = st.recursive(
    evidence_clauses,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=4,
)


def compute(predictions):
    """Accuracy and a loss; neither of no rows."""
    if not predictions.rows:
        return MetricReport(values={})
    hits = [row.scores[CLASSES.index(row.label)] > 0.5 for row in predictions.rows]
    losses = [1 - row.scores[CLASSES.index(row.label)] for row in predictions.rows]
    mean = sum(losses) / len(losses)
    loss = MetricValue(value=mean, low=mean / 2, high=mean * 2, method="bootstrap", count=len(losses))
    return MetricReport(values={"acc": proportion(sum(hits), len(hits)), "loss": loss})


def predicted(seed, count, skill):
    draw = random.Random(f"{seed} {count} {skill}")
    rows = []
    for number in range(count):
        label = CLASSES[number % 3 == 0]
        score = 0.9 if draw.random() < skill else 0.2
        scores = (score, 1 - score) if label == CLASSES[0] else (1 - score, score)
        rows.append(Prediction(sample=f"{number:03}", group=f"{number // 2}", label=label, scores=scores))
    return Predictions(classes=CLASSES, rows=tuple(rows))


def pipeline_of(condition, level, whole):
    return Pipeline(
        name="random",
        dataset="d",
        steps=(TRAIN, EVALUATE),
        parameters=(
            Parameter(name="level", type=ParameterType.FLOAT, default=level),
            Parameter(name="whole", type=ParameterType.INTEGER, default=whole),
        ),
        metrics=METRICS,
        gate=Gate(condition),
        model="train.model",
    )


class Executed:
    """The values that the expressions of a definition refer to."""

    def __init__(self, document, parameters):
        self._document = document
        self._parameters = parameters

    def parameters(self):
        return self._parameters

    def property_file(self, step, name):
        assert (step, name) == ("evaluate", "evaluation")
        return self._document


def execute(pipeline, folder, texts):
    """Execute the steps after the evaluation; return the outcome of the condition and the message of the verdict."""
    definitions = {
        "level": ParameterDefinition(name="level", type="Float"),
        "whole": ParameterDefinition(name="whole", type="Integer"),
    }
    parameters = {name: definitions[name].value_of(text) for name, text in texts.items()}
    request = ContainerRequest(
        use_case="RANDOM",
        layout=Layout.PROCESSING,
        part=Part.WHOLE,
        step=EVALUATE,
        metrics=METRICS,
        gate=GateRequest(gate=pipeline.gate, parameters=gate_parameters(pipeline)),
    )
    names = {name: {"Get": f"Parameters.{name}"} for name in parameters}
    arguments = to_arguments(request, code="", seed="0", values=names)
    order = read_order(resolve(arguments, Executed("{}", parameters)))
    data = gate_evaluation(folder, order.request, order.gate_parameters)
    scope = Executed(json.dumps(data, allow_nan=False), parameters)
    return holds_all(compile_gate(pipeline, evaluation="evaluate"), scope), verdict_message(data["verdict"])


@pytest.mark.slow
@settings(max_examples=GATES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    condition=conditions,
    metric_values=st.lists(values, min_size=len(METRICS), max_size=len(METRICS)),
    level=st.sampled_from([*NUMBERS, 2.0, -1.0]),
    whole=st.sampled_from([0, 1, 2, -3]),
)
def test_random_gate_decides_equally_on_both_runners(tmp_path_factory, condition, metric_values, level, whole):
    folder = tmp_path_factory.getbasetemp() / "gate"
    folder.mkdir(exist_ok=True)
    report = MetricReport(
        values={
            metric.name: MetricValue(value=value, low=value, high=value)
            for metric, value in zip(METRICS, metric_values, strict=True)
            if value is not None
        }
    )
    write_evaluation(folder, report, METRICS)
    read = read_evaluation(folder, METRICS)
    try:
        pipeline = pipeline_of(condition, level, whole)
    except PipelineError as error:
        assert "no model can be accepted" in str(error)  # noqa: PT017  any other error is a failure
        numbers = {"level": level, "whole": whole}
        assert not Gate(condition).evaluate(read, metrics=METRICS, parameters=numbers).accepted
        return
    verdict = pipeline.gate.evaluate(read, metrics=METRICS, parameters={"level": level, "whole": whole})
    outcome, message = execute(pipeline, folder, {"level": str(level), "whole": str(whole)})
    assert outcome is verdict.accepted
    if not verdict.accepted:
        assert message == verdict.message


@pytest.mark.slow
@settings(max_examples=GATES // 2, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    condition=evidence_conditions,
    model=st.tuples(st.sampled_from([3, 25, 60, 300]), st.sampled_from([0.5, 0.9, 1.0])),
    champion=st.sampled_from(["none", "gone", "other test set", 0.5, 0.9, "same"]),
    level=numbers,
    is_nan=st.booleans(),
    licences=st.none() | licence_facts,
)
def test_random_gate_that_rests_on_evidence_decides_equally_in_a_container(  # noqa: PLR0917  what a verdict rests on
    tmp_path_factory, condition, model, champion, level, is_nan, licences
):
    count, skill = model
    folder = tmp_path_factory.mktemp("evidence")
    ours = predicted(1, count, skill)
    best = {
        "none": None,
        "gone": ChampionPredictions(version=3, predictions=None, problem="its artifact is gone"),
        "other test set": ChampionPredictions(version=3, predictions=predicted(1, count + 1, skill)),
        "same": ChampionPredictions(version=3, predictions=ours),
    }
    other = (
        best[champion]
        if champion in best
        else ChampionPredictions(version=3, predictions=predicted(2, count, champion))
    )
    for name in ("predictions", "split", "champion", "evaluation"):
        (folder / name).mkdir()
    write_predictions(folder / "predictions", ours.classes, ours.rows)
    write_split(
        folder / "split",
        [
            SplitRow(
                sample=row.sample,
                group=row.group,
                label=row.label,
                part="test",
                digest=row_digest([row.sample]),
                columns={"fold": row.sample[-1]},
            )
            for row in ours.rows
        ],
    )
    write_champion(folder / "champion", other)
    report = compute(ours)
    if is_nan:
        report = replace(report, values={**report.values, "acc": MetricValue(value=math.nan, low=0, high=1)})
    write_evaluation(folder / "evaluation", report, CLASSIFIER)

    def evidence(best):
        return gate_evidence(
            folder / "predictions", metrics=CLASSIFIER, compute=compute, inputs=[folder / "split"], champion=best
        )

    gate = Gate(condition)
    here = gate.evaluate(
        read_evaluation(folder / "evaluation", CLASSIFIER),
        metrics=CLASSIFIER,
        parameters={"level": level},
        evidence=evidence(other),
        licences=licences,
    )
    parameter = Parameter(name="level", type=ParameterType.FLOAT, default=level)
    request = ContainerRequest(
        use_case="RANDOM",
        layout=Layout.PROCESSING,
        part=Part.WHOLE,
        step=EVALUATE,
        metrics=CLASSIFIER,
        gate=GateRequest(gate=gate, parameters=(parameter,), licences=licences),
    )
    request = ContainerRequest.from_json(json.loads(json.dumps(request.to_json())))
    data = gate_evaluation(
        folder / "evaluation", request, {"level": level}, evidence=evidence(read_champion(folder / "champion"))
    )
    assert Verdict.from_json(json.loads(json.dumps(data["verdict"]))) == here
    compiled = compile_gate(
        SimpleNamespace(gate=gate, metrics=CLASSIFIER, parameters=(parameter,)), evaluation="evaluate"
    )
    scope = Executed(json.dumps(data, allow_nan=False), {"level": level})
    assert holds_all(compiled, scope) is here.accepted


@pytest.mark.parametrize(("value", "is_accepted"), [(0.5, True), (math.nextafter(0.5, 0), False), (None, False)])
def test_value_equal_to_the_threshold_meets_it_and_the_next_smaller_does_not(tmp_path, value, is_accepted):
    pipeline = pipeline_of(Comparison(metric="m0", operator=Operator.AT_LEAST, threshold="level"), 0.5, 0)
    values = {} if value is None else {"m0": MetricValue(value=value, low=value, high=value)}
    write_evaluation(tmp_path, MetricReport(values=values), METRICS)
    outcome, _ = execute(pipeline, tmp_path, {"level": "0.5", "whole": "0"})
    assert outcome is is_accepted
