"""A pipeline that could not run is refused when it is built, and the culprit is named."""

import json

import pytest

from mlops_core import (
    Comparison,
    Direction,
    Gate,
    Metric,
    Operator,
    Parameter,
    ParameterType,
    Pipeline,
    Step,
    StepKind,
    Unit,
)
from mlops_core.errors import ConfigError, PipelineError
from mlops_core.pipeline import DATASET

METRIC = Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
Q = Parameter(name="q", type=ParameterType.FLOAT, default=0.5, minimum=0, maximum=1)


def step(name, inputs=None, outputs=("out",), **options):
    return Step(name=name, run="package.module:function", inputs=inputs or {}, outputs=outputs, **options)


def evaluation(inputs):
    return step("evaluate", inputs, ("predictions",), kind=StepKind.EVALUATION)


def pipeline(*steps, **options):
    fields = {
        "name": "test",
        "dataset": "data",
        "steps": steps or (step("train", {"data": DATASET}, ("model",)), evaluation({"model": "train.model"})),
        "parameters": (Q,),
        "metrics": (METRIC,),
        "gate": Gate(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold="q")),
        "model": "train.model",
    }
    return Pipeline(**{**fields, **options})


def test_the_order_follows_from_inputs_and_not_from_the_declaration():
    built = pipeline(
        evaluation({"model": "train.model", "split": "split.out"}),
        step("train", {"data": "split.out"}, ("model",)),
        step("split", {"data": DATASET}),
    )
    assert [item.name for item in built.ordered()] == ["split", "train", "evaluate"]


def test_a_pipeline_survives_json():
    built = pipeline()
    assert Pipeline.from_json(json.loads(json.dumps(built.to_json()))) == built


TRAIN = step("train", {"data": DATASET}, ("model",))
EVALUATE = evaluation({"model": "train.model"})


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((TRAIN, TRAIN, EVALUATE), "step 'train' is declared 2 times"),
        (
            (step("train", {"a": "splt.out"}, ("model",)), step("split"), EVALUATE),
            "'splt.out', which no step writes.*split.out",
        ),
        ((TRAIN, step("split", {"data": DATASET}), EVALUATE), "output 'out' is read by no step"),
        (
            (TRAIN, EVALUATE, step("a", {"x": "b.out"}), step("b", {"x": "a.out"})),
            "form a cycle",
        ),
        ((TRAIN,), "needs exactly one evaluation step"),
        (
            (TRAIN, evaluation({"model": "train.model"}), step("x", {}, results=("out",), parameters=("qq",))),
            "unknown parameter 'qq'",
        ),
    ],
)
def test_a_graph_that_could_not_run_is_refused(steps, message):
    with pytest.raises(PipelineError, match=message):
        pipeline(*steps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Train"}, "not a portable name"),
        ({"name": "a/b"}, "not a portable name"),
        ({"name": "x" * 64}, "at most 63"),
        ({"name": "gate"}, "core's own"),
        ({"run": "no-colon"}, "is not 'package.module:function'"),
        ({"outputs": ()}, "declares no output"),
        ({"outputs": ("a", "a")}, "declared 2 times"),
        ({"results": ("b",)}, "result 'b' is not among its outputs"),
        ({"shards": 0}, "shards=0"),
        ({"outputs": "model"}, r"outputs='model' is a text; expected a tuple, \('model',\)"),
        ({"packages": "numpy"}, "packages='numpy' is a text"),
        (
            {"packages": ("numpy>=1.0",)},
            "packages has 'numpy>=1.0'; expected the name of a distribution, 'numpy'; versions",
        ),
        ({"packages": ("uvicorn[standard]",)}, "expected the name of a distribution, 'uvicorn'"),
        ({"packages": ("a-b.c; python_version<'3'",)}, "expected the name of a distribution, 'a-b.c'"),
        ({"packages": ("numpy ",)}, "packages has 'numpy '"),
        ({"packages": ("",)}, "packages has ''; expected the name of a distribution; versions"),
        ({"kind": StepKind.EVALUATION}, "must declare the output 'predictions'"),
    ],
)
def test_a_malformed_step_is_refused(options, message):
    fields = {"name": "step", "run": "m:f", "outputs": ("a",)}
    with pytest.raises(PipelineError, match=message):
        Step(**{**fields, **options})


def test_an_output_that_is_meant_to_be_kept_may_be_unread():
    assert pipeline(TRAIN, EVALUATE, step("plots", {"data": DATASET}, results=("out",)))


def test_a_gate_may_only_mention_what_exists():
    wrong = Gate(Comparison(metric="accc", operator=Operator.AT_LEAST, threshold="q"))
    with pytest.raises(PipelineError, match="unknown metric 'accc'; did you mean 'acc'"):
        pipeline(gate=wrong)
    percent = Gate(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold=50.0))
    with pytest.raises(PipelineError, match="percent where a fraction"):
        pipeline(gate=percent)


def test_parameters_are_typed_and_checked_all_at_once():
    parameters = (
        Q,
        Parameter(name="n", type=ParameterType.INTEGER, default=1),
        Parameter(name="b", type=ParameterType.BOOLEAN, default=False),
        Parameter(name="s", type=ParameterType.STRING, default="x"),
    )
    built = pipeline(parameters=parameters)
    given = {"q": "1", "n": "3", "b": "True", "s": "a=b"}
    assert built.resolve_parameters(given) == {"q": 1.0, "n": 3, "b": True, "s": "a=b"}
    with pytest.raises(ConfigError) as caught:
        built.resolve_parameters({"q": "nan", "n": "1.5", "b": "yes", "z": "1"})
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("text", ["nan", "inf", "-0.1", "1.1", "a", ""])
def test_a_number_outside_its_range_is_refused(text):
    with pytest.raises(ConfigError, match="parameter q"):
        Q.parse(text)


WIDE = Parameter(name="w", type=ParameterType.FLOAT, default=0.5)
WHOLE = Parameter(name="n", type=ParameterType.INTEGER, default=1)


@pytest.mark.parametrize("text", ["0.1_5", "1_0", "010", "-007", "0x1", "\u0660.\u0665", "\uff11", "1e", "1 0", "1:30"])
def test_a_number_that_configuration_files_do_not_have_is_refused(text):
    with pytest.raises(ConfigError, match="parameter w"):
        WIDE.parse(text)
    with pytest.raises(ConfigError, match="parameter n"):
        WHOLE.parse(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), (".5", 0.5), ("+5.", 5.0), (" 0 ", 0.0), ("-0.25E2", -25.0)]
)
def test_every_form_of_a_number_in_configuration_files_is_read(text, value):
    assert WIDE.parse(text) == value


def test_a_default_of_another_type_is_refused():
    with pytest.raises(PipelineError, match="default of parameter q"):
        Parameter(name="q", type=ParameterType.FLOAT, default=True)
