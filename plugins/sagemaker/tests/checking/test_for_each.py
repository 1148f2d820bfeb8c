"""ForEach steps: definitions from the SDK pass the checker, invalid ones fail it, and none is executed."""

import copy

import pytest
from mlops_sagemaker.checking import check_definition, examine_definition
from mlops_sagemaker.emulator.definition import parse_definition

from mlops_core.errors import DefinitionError

OUTPUTS = [{"OutputName": "score", "OutputType": "Float"}, {"OutputName": "path", "OutputType": "String"}]
LAMBDA = {
    "Name": "notify",
    "Type": "Lambda",
    "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:notify",
    "OutputParameters": OUTPUTS,
}
CALLBACK = {
    "Name": "ask",
    "Type": "Callback",
    "SqsQueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/queue",
    "OutputParameters": OUTPUTS,
}
FAIL = {"Name": "fail", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}


def definition(*steps, parameters=()):
    return {"Version": "2020-12-01", "Parameters": list(parameters), "Steps": copy.deepcopy(list(steps))}


def step(kind, arguments, name):
    return {"Name": name, "Type": kind, "Arguments": arguments}


def message(text):
    return step("Fail", {"ErrorMessage": text}, "message")


BODY = {
    **LAMBDA,
    "Name": "Process-Item",
    "Arguments": {"name": {"Get": "ForEach.CurrentItem.name"}, "all": {"Get": "ForEach.CurrentItem"}},
}


def loop(**changes):
    arguments = {
        "IterableItems": {"Get": "Parameters.Items"},
        "MaxConcurrency": 2,
        "Selector": {"Pick": "MaxBy", "Field": {"Get": "ChildOutput.Process-Item.OutputParameters['score']"}},
        "ForEachBody": [BODY],
        **changes,
    }
    return step("ForEach", {key: value for key, value in arguments.items() if value is not None}, "Each")


def looping(*more, **changes):
    return definition(loop(**changes), *more, parameters=[{"Name": "Items", "Type": "String"}])


@pytest.mark.parametrize(
    "target",
    [
        "Steps.Each.Status",
        "Steps.Each.ChildOutputs[3].OutputParameters['path']",
        "Steps.Each.IterationOutputs[0].Process-Item.OutputParameters['path']",
        "Steps.Each.Selected.OutputParameters['path']",
    ],
)
def test_for_each_step_of_the_sdk_has_no_fault(target):
    findings = examine_definition(looping(message({"Get": target})))
    assert (findings.faults, findings.warnings) == ((), ())


@pytest.mark.parametrize(
    "changes",
    [
        {"IterableItems": ["a", 1, {"Get": "Execution.PipelineName"}], "Selector": None},
        {"IterableItems": {"Get": "Steps.produce.OutputParameters['path']"}},
        {"Selector": {"Pick": "MinBy", "Field": {"Get": "IterationOutput.Process-Item.OutputParameters['score']"}}},
        {"ForEachBody": [BODY, {**LAMBDA, "Arguments": {"x": {"Get": "Steps.Process-Item.OutputParameters['path']"}}}]},
        {"ForEachBody": [{**BODY, "Arguments": {"x": {"Get": "Steps.produce.OutputParameters['path']"}}}]},
        {
            "ForEachBody": [
                {**BODY, "Arguments": {"x": {"Std:Join": {"Values": [{"Get": "ForEach.CurrentItem['a']"}]}}}}
            ]
        },
    ],
)
def test_forms_of_for_each_steps_have_no_fault(changes):
    produce = {**CALLBACK, "Name": "produce"}
    assert check_definition(looping(produce, **changes)) == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (looping(IterableItems=None), "IterableItems: is missing"),
        (looping(IterableItems="a"), "neither a reference nor a list"),
        (looping(IterableItems=[]), "has 0 items"),
        (looping(MaxConcurrency=0), "from 1 to 50"),
        (looping(MaxConcurrency=51), "from 1 to 50"),
        (looping(MaxConcurrency=True), "from 1 to 50"),
        (looping(ForEachBody=[]), "has no steps"),
        (looping(ForEachBody=[FAIL], Selector=None), "a Fail step cannot be in a ForEachBody"),
        (looping(Selector={"Pick": "Median", "Field": {"Get": "ChildOutput.Process-Item.x"}}), "'Median' is unknown"),
        (
            looping(Selector={"Pick": "MaxBy", "Field": {"Get": "ChildOutput.other.x"}}),
            "steps of the body: Process-Item",
        ),
        (looping(Selector={"Pick": "MaxBy", "Field": {"Get": "ChildOutput.Process-Item"}}), "not a member"),
        (looping(Items=1), "unknown argument"),
        (looping(message({"Get": "ForEach.CurrentItem.name"})), "there is no current item"),
        (looping(message({"Get": "ChildOutput.Process-Item.x"})), "outside of a Selector"),
        (looping(message({"Get": "Steps.Each.Stat"})), "did you mean 'Status'"),
        (looping(message({"Get": "Steps.Each.ChildOutputs.x"})), "is a list of outputs"),
        (looping({**FAIL, "Name": "Process-Item"}), "is the name of 2 steps"),
        (
            looping({**LAMBDA, "DependsOn": ["Each"]}, IterableItems={"Get": "Steps.notify.OutputParameters['path']"}),
            "cycle",
        ),
        (
            looping(
                {**LAMBDA, "DependsOn": ["Each"]},
                ForEachBody=[{**BODY, "Arguments": {"x": {"Get": "Steps.notify.OutputParameters['path']"}}}],
            ),
            "cycle",
        ),
    ],
)
def test_faulty_for_each_step_is_reported(data, words):
    faults = [str(each) for each in check_definition(data)]
    assert any(words in fault for fault in faults), faults


def test_execution_of_a_for_each_step_is_refused_by_name_before_anything_runs():
    conditions = [{"Type": "Equals", "LeftValue": {"Get": "Execution.PipelineName"}, "RightValue": "x"}]
    branch = step("Condition", {"Conditions": conditions, "IfSteps": [loop()], "ElseSteps": []}, "gate")
    for data in (looping(), definition(branch)):
        with pytest.raises(DefinitionError, match="steps of type 'ForEach' cannot be executed here"):
            parse_definition(data)
