"""Random gates over metrics that may be missing, NaN or equal to the threshold decide equally on both runners."""

import json
import math
import os

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
    Comparison,
    Direction,
    Gate,
    Metric,
    MetricReport,
    MetricValue,
    Not,
    Operator,
    Parameter,
    ParameterType,
    Pipeline,
    Step,
    StepKind,
    Unit,
)
from mlops_core.evaluation.metrics import read_evaluation, write_evaluation
from mlops_core.runners.container.request import ContainerRequest, GateRequest, Part, read_order
from mlops_core.runners.container.verdict import gate_evaluation, verdict_message

GATES = int(os.environ.get("MLOPS_TEST_GATES", "300"))
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
    pipeline = pipeline_of(condition, level, whole)
    read = read_evaluation(folder, METRICS)
    verdict = pipeline.gate.evaluate(read, metrics=METRICS, parameters={"level": level, "whole": whole})
    outcome, message = execute(pipeline, folder, {"level": str(level), "whole": str(whole)})
    assert outcome is verdict.accepted
    if not verdict.accepted:
        assert message == verdict.message


@pytest.mark.parametrize(("value", "is_accepted"), [(0.5, True), (math.nextafter(0.5, 0), False), (None, False)])
def test_value_equal_to_the_threshold_meets_it_and_the_next_smaller_does_not(tmp_path, value, is_accepted):
    pipeline = pipeline_of(Comparison(metric="m0", operator=Operator.AT_LEAST, threshold="level"), 0.5, 0)
    values = {} if value is None else {"m0": MetricValue(value=value, low=value, high=value)}
    write_evaluation(tmp_path, MetricReport(values=values), METRICS)
    outcome, _ = execute(pipeline, tmp_path, {"level": "0.5", "whole": "0"})
    assert outcome is is_accepted
