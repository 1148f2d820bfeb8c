"""References, functions, conditions and the graph of a definition, without executing it."""

import json
import math

import pytest
from mlops_sagemaker.emulator.comparisons import holds_all
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.faults import StepFault
from mlops_sagemaker.emulator.functions import resolve

from mlops_core.errors import DefinitionError


class Values:
    """A scope with given values."""

    def __init__(self, *, parameters=None, properties=None, files=None):
        self._parameters = parameters or {}
        self._properties = properties or {}
        self._files = files or {}

    def parameters(self):
        return self._parameters

    def execution(self):
        return {"PipelineName": "words", "PipelineExecutionId": "abc"}

    def properties(self, step):
        return self._properties[step]

    def property_file(self, step, name):
        return self._files[f"{step}.{name}"]

    def document(self, uri):
        return self._files[uri]


def json_get(path):
    return {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": path}}


def definition(*steps, parameters=()):
    return {"Version": "2020-12-01", "Metadata": {}, "Parameters": list(parameters), "Steps": list(steps)}


def fail(name, **more):
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": "no"}, **more}


def condition(name, *, if_steps=(), else_steps=(), **more):
    arguments = {"Conditions": [], "IfSteps": list(if_steps), "ElseSteps": list(else_steps)}
    return {"Name": name, "Type": "Condition", "Arguments": arguments, **more}


PROPERTIES = {
    "Prepare": {
        "ProcessingOutputConfig": {
            "Outputs": [
                {"OutputName": "test", "S3Output": {"S3Uri": "s3://b/test"}},
                {"OutputName": "train", "S3Output": {"S3Uri": "s3://b/train"}},
            ]
        }
    }
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Get": "Parameters.Epochs"}, 3),
        ({"Get": "Execution.PipelineName"}, "words"),
        ({"Get": "Steps.Prepare.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri"}, "s3://b/train"),
        ({"Get": 'Steps.Prepare.ProcessingOutputConfig.Outputs["test"].S3Output.S3Uri'}, "s3://b/test"),
        ({"Get": "Steps.Prepare.ProcessingOutputConfig.Outputs[0].S3Output.S3Uri"}, "s3://b/test"),
        (
            {"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Execution.PipelineExecutionId"}, 0.5, True]}},
            "s3://abc/0.5/true",
        ),
        ({"Std:Join": {"On": " ", "Values": ["acc <", {"Std:Join": {"On": "", "Values": ["0", ".5"]}}]}}, "acc < 0.5"),
        ({"a": [{"Get": "Parameters.Epochs"}, {"b": "Get"}]}, {"a": [3, {"b": "Get"}]}),
    ],
)
def test_function_is_replaced_by_its_result(expression, value):
    assert resolve(expression, Values(parameters={"Epochs": 3}, properties=PROPERTIES)) == value


def test_value_is_read_from_a_property_file_by_its_path():
    report = json.dumps({"metrics": {"acc": {"value": 0.75}}, "list": [{"x": 1}, {"x": 2}]})
    values = Values(files={"Evaluate.Report": report, "s3://b/report.json": report})
    assert resolve(json_get("metrics.acc.value"), values) == 0.75
    assert resolve(json_get("list[1].x"), values) == 2
    assert resolve(json_get("['metrics']['acc'].value"), values) == 0.75
    by_uri = {
        "Std:JsonGet": {"S3Uri": {"Std:Join": {"On": "/", "Values": ["s3:/", "b", "report.json"]}}, "Path": "list[0].x"}
    }
    assert resolve(by_uri, values) == 1


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"Get": "Parameters.Epoch"}, "'Epoch' is unknown; did you mean 'Epochs'?"),
        ({"Get": "Execution.Id"}, "execution variable 'Id' is unknown"),
        ({"Get": "Steps.Prepare.ProcessingOutputConfig.Outputs['val'].S3Output.S3Uri"}, "'val' does not exist"),
        ({"Get": "Steps.Prepare.ProcessingOutputConfig.Outputs[7]"}, "'7' does not exist"),
        ({"Get": "Nothing.Here"}, "expected Parameters., Execution. or Steps."),
        (json_get("metrics.f1.value"), "'f1' does not exist"),
        (json_get("metrics..acc"), "cannot parse the path"),
    ],
)
def test_unresolved_reference_is_a_fault_that_names_it(expression, message):
    values = Values(
        parameters={"Epochs": 3}, properties=PROPERTIES, files={"Evaluate.Report": '{"metrics": {"acc": {"value": 1}}}'}
    )
    with pytest.raises(StepFault, match="ClientError: ") as caught:
        resolve(expression, values)
    assert message in str(caught.value)


def compare(kind, left, right):
    return {"Type": kind, "LeftValue": left, "RightValue": right}


@pytest.mark.parametrize(
    ("tested", "expected"),
    [
        (compare("Equals", "a", "a"), True),
        (compare("Equals", 1, 1.0), True),
        (compare("GreaterThan", 0.5, 0.5), False),
        (compare("GreaterThanOrEqualTo", 0.5, 0.5), True),
        (compare("LessThan", 0.5, 0.5), False),
        (compare("LessThanOrEqualTo", 0.5, 0.5), True),
        ({"Type": "In", "QueryValue": "b", "Values": ["a", "b"]}, True),
        ({"Type": "In", "QueryValue": 3, "Values": [1, 2]}, False),
        ({"Type": "Not", "Condition": compare("Equals", 1, 2)}, True),
        ({"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("LessThan", 1, 2)]}, True),
        ({"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("LessThan", 2, 1)]}, False),
    ],
)
def test_condition_types_compare_as_named(tested, expected):
    assert holds_all([tested], Values()) is expected


def test_all_conditions_of_the_list_must_hold():
    true, false = compare("Equals", 1, 1), compare("Equals", 1, 2)
    assert holds_all([true, true], Values())
    assert not holds_all([true, false], Values())
    assert not holds_all([false, true], Values())


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "0.9", True, [1]])
@pytest.mark.parametrize(
    "around",
    [
        lambda inner: inner,
        lambda inner: {"Type": "Not", "Condition": inner},
        lambda inner: {"Type": "Or", "Conditions": [compare("Equals", 1, 1), inner]},
        lambda inner: {"Type": "Or", "Conditions": [inner, compare("Equals", 1, 1)]},
    ],
)
def test_no_condition_is_met_by_a_value_that_is_not_a_number(value, around):
    with pytest.raises(StepFault, match="cannot be compared"):
        holds_all([around(compare("GreaterThanOrEqualTo", value, 0.5))], Values())


def test_order_follows_from_references_depends_on_and_branches():
    parsed = parse_definition(
        definition(
            condition("Judge", if_steps=[fail("Inside")], DependsOn=["Train"]),
            fail("Train", Arguments={"ErrorMessage": {"Get": "Steps.Prepare.ProcessingJobName"}}),
            fail("Prepare"),
            fail("After", DependsOn=["Judge"]),
        )
    )
    assert parsed.order() == ("Prepare", "Train", "Judge", "Inside", "After")
    assert parsed.needs("After") == {"Judge", "Inside"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "the definition is not JSON"),
        ("[]", "expected a definition of version '2020-12-01'"),
        (json.dumps({"Version": "2021-01-01", "Steps": []}), "'2021-01-01'"),
        (
            definition({"Name": "A", "Type": "Lambda", "Arguments": {}}),
            "steps of type 'Lambda' cannot be executed here",
        ),
        (definition(fail("A"), fail("A")), "'A' is defined twice"),
        (
            definition(fail("Train", DependsOn=["Prepar"]), fail("Prepare")),
            "unknown step 'Prepar'; did you mean 'Prepare'?",
        ),
        (definition(fail("A", DependsOn=["B"]), fail("B", DependsOn=["A"])), "a cycle"),
        (definition({"Name": "A"}), "not well formed: KeyError: 'Type'"),
        (definition(parameters=[{"Name": "x", "Type": "Date"}]), "unknown type 'Date'"),
    ],
)
def test_definition_that_cannot_be_executed_is_refused(text, message):
    with pytest.raises(DefinitionError, match=message.replace("[", r"\[")):
        parse_definition(text)


def test_parameters_are_parsed_by_their_type():
    parsed = parse_definition(
        definition(
            parameters=[
                {"Name": "q", "Type": "Float", "DefaultValue": 1},
                {"Name": "n", "Type": "Integer", "DefaultValue": 2},
                {"Name": "b", "Type": "Boolean", "DefaultValue": False},
                {"Name": "s", "Type": "String", "DefaultValue": "x", "EnumValues": ["x", "y"]},
                {"Name": "needed", "Type": "String"},
            ]
        )
    )
    values = parsed.values({"q": "0.5", "b": "True", "needed": "z"})
    assert values == {"q": 0.5, "n": 2, "b": True, "s": "x", "needed": "z"}
    for texts, message in (
        ({}, "'needed' has neither a default nor a value"),
        ({"needed": "", "s": "z"}, "'z' is not one of"),
        ({"needed": "", "n": "1.5"}, "'1.5' is not of type Integer"),
        ({"needed": "", "nn": "1"}, "no parameter 'nn'"),
    ):
        with pytest.raises(DefinitionError, match=message):
            parsed.values(texts)


def caching(**cache):
    return {"Name": "Train", "Type": "Training", "Arguments": {}, "CacheConfig": cache}


@pytest.mark.parametrize(
    ("text", "days"),
    [("P30D", 30), ("30d", 30), ("5y", 1825), ("2w", 14), ("T12H", 0.5), ("30dT5h", 30 + 5 / 24), ("p1dt12h", 1.5)],
)
def test_documented_cache_durations_are_read(text, days):
    step = parse_definition(definition(caching(Enabled=True, ExpireAfter=text))).steps["Train"]
    assert step.cache_expires.total_seconds() == pytest.approx(days * 86_400)


@pytest.mark.parametrize("text", ["", "P", "soon", "30 days", "PT", "12h", None])
def test_other_cache_durations_are_refused_before_anything_runs(text):
    with pytest.raises(DefinitionError, match="step 'Train': CacheConfig.ExpireAfter: "):
        parse_definition(definition(caching(Enabled=True, ExpireAfter=text)))


def test_cache_duration_is_ignored_without_caching_and_needed_with_it():
    assert parse_definition(definition(caching(Enabled=False, ExpireAfter="12h"))).steps["Train"].cache_expires is None
    with pytest.raises(DefinitionError, match="is missing"):
        parse_definition(definition(caching(Enabled=True)))


def test_join_without_a_separator_and_parameter_without_a_type_are_texts():
    assert resolve({"Std:Join": {"Values": ["a", 1, True]}}, Values()) == "a1true"
    parsed = parse_definition(definition(fail("F"), parameters=[{"Name": "a", "DefaultValue": "x"}]))
    assert parsed.values({"a": "5"}) == {"a": "5"}


def test_conditions_of_the_published_schema_are_evaluated():
    def holds(kind, **sides):
        return holds_all([{"Type": kind, **sides}], Values())

    assert holds("NotEquals", LeftValue=1, RightValue=2)
    assert not holds("NotEquals", LeftValue="a", RightValue="a")
    assert holds("NotIn", Value="a", In=["b"])
    assert not holds("NotIn", QueryValue="a", Values=["a", "b"])
    assert holds("In", Value="a", In=["a"])
