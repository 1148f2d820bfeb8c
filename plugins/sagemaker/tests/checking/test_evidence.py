"""What the published schema, the documentation or the SDKs allow is no fault; what they rule out is one."""

import copy
import json
import random
import subprocess
import sys

import pytest
from mlops_sagemaker.checking import check_definition, examine_definition
from mlops_sagemaker.checking.model import ARGUMENTS, ServiceModel

pytest.importorskip("botocore")
ROLE = "arn:aws:iam::123456789012:role/Role"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/img:1"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:notify"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/queue"
OUTPUTS = [{"OutputName": "score", "OutputType": "Float"}, {"OutputName": "path", "OutputType": "String"}]
LAMBDA = {"Name": "notify", "Type": "Lambda", "FunctionArn": FUNCTION, "OutputParameters": OUTPUTS}
CALLBACK = {"Name": "ask", "Type": "Callback", "SqsQueueUrl": QUEUE, "Arguments": {}, "OutputParameters": OUTPUTS}
FAIL = {"Name": "fail", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}
TRAINING_JOB = {
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "RoleArn": ROLE,
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}
TUNING_CONFIG = {
    "Strategy": "Random",
    "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
}
CONTAINER = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}


def definition(*steps, parameters=(), **top):
    return {"Version": "2020-12-01", "Parameters": list(parameters), "Steps": copy.deepcopy(list(steps)), **top}


def step(kind, arguments, name="step", **more):
    return {"Name": name, "Type": kind, "Arguments": arguments, **more}


def condition(name="gate", *, conditions=None, **branches):
    default = [{"Type": "Equals", "LeftValue": {"Get": "Execution.PipelineName"}, "RightValue": "x"}]
    return step("Condition", {"Conditions": conditions or default, "IfSteps": [], "ElseSteps": [], **branches}, name)


def cached(**cache):
    return step("Training", TRAINING_JOB, CacheConfig=cache)


def message(text):
    return step("Fail", {"ErrorMessage": text}, "message")


def register(**changes):
    specification = {
        "Containers": [CONTAINER],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    return step("RegisterModel", {"ModelPackageGroupName": "group", "InferenceSpecification": specification, **changes})


# --- What the service accepts -----------------------------------------------------------------------------

ACCEPTED = {
    "two constants": definition(
        condition(conditions=[{"Type": "Equals", "LeftValue": 1, "RightValue": 1}], IfSteps=[FAIL])
    ),
    "empty branches": definition(condition()),
    "nested condition": definition(condition(IfSteps=[condition("inner", IfSteps=[FAIL])])),
    "condition nested twice": definition(
        condition(ElseSteps=[condition("inner", IfSteps=[condition("third", ElseSteps=[FAIL])])])
    ),
    "parameter without a type": definition(FAIL, parameters=[{"Name": "a", "DefaultValue": "x"}]),
    "description of a parameter": definition(
        FAIL, parameters=[{"Name": "a", "Type": "Integer", "Description": "How many?"}]
    ),
    "lambda without arguments": definition(LAMBDA),
    "callback without arguments": definition({k: v for k, v in CALLBACK.items() if k != "Arguments"}),
    "join without a separator": definition(message({"Std:Join": {"Values": ["a", {"Get": "Execution.PipelineName"}]}})),
    "function by parameter": definition(
        {**LAMBDA, "FunctionArn": {"Get": "Parameters.f"}}, parameters=[{"Name": "f", "Type": "String"}]
    ),
    "duration that is ignored": definition(cached(Enabled=False, ExpireAfter="<time>")),
    "metadata": definition(FAIL, Metadata={"owner": "audio"}),
    "other names of conditions": definition(
        condition(
            conditions=[
                {"Type": "NotEquals", "LeftValue": {"Get": "Execution.PipelineName"}, "RightValue": "x"},
                {"Type": "NotIn", "Value": {"Get": "Execution.PipelineName"}, "In": ["x"]},
            ],
            IfSteps=[FAIL],
        )
    ),
    "empty default": definition(
        register(ModelPackageGroupName={"Get": "Parameters.g"}),
        parameters=[{"Name": "g", "Type": "String", "DefaultValue": ""}],
    ),
    "sixteen values": definition(
        FAIL, parameters=[{"Name": "a", "Type": "String", "EnumValues": [str(number) for number in range(16)]}]
    ),
    "versioned function": definition({**LAMBDA, "FunctionArn": f"{FUNCTION}:$LATEST"}),
}
WARNED = {
    "two constants": "compares two constants",
    "empty branches": "both branches are empty",
    "nested condition": "inside a branch",
    "condition nested twice": "inside a branch",
    "parameter without a type": "takes String",
    "other names of conditions": "not in the SDKs",
    "duration that is ignored": "not a duration",
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_the_service_accepts_is_no_fault(name):
    findings = examine_definition(ACCEPTED[name])
    assert findings.faults == ()
    texts = [str(each) for each in findings.warnings]
    assert any(WARNED[name] in text for text in texts) if name in WARNED else texts == []


@pytest.mark.parametrize("text", ["P30D", "p30d", "30d", "5y", "5Y", "2w", "T16m", "T12H", "PT1H", "30dT5h", "P1DT12H"])
def test_documented_cache_durations_are_accepted(text):
    assert check_definition(definition(cached(Enabled=True, ExpireAfter=text))) == ()


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        ({"Enabled": True, "ExpireAfter": "12h"}, "write PT12H"),
        ({"Enabled": True, "ExpireAfter": "P12H30M"}, "write PT12H30M"),
        ({"Enabled": True, "ExpireAfter": "30 days"}, "ISO 8601"),
        ({"Enabled": True, "ExpireAfter": "PT"}, "ISO 8601"),
        ({"Enabled": True, "ExpireAfter": "5h30dT"}, "ISO 8601"),
        ({"Enabled": True, "ExpireAfter": ""}, "ISO 8601"),
        ({"Enabled": True, "ExpireAfter": 30}, "is not a text"),
        ({"Enabled": True, "ExpireAfter": "P30D\n"}, "ISO 8601"),
        ({"Enabled": True}, "is required with caching"),
    ],
)
def test_other_cache_durations_are_refused_with_the_way_to_write_them(cache, words):
    (fault,) = check_definition(definition(cached(**cache)))
    assert fault.path == "$.Steps[0].CacheConfig.ExpireAfter"
    assert words in str(fault)


# --- What the service refuses -----------------------------------------------------------------------------


def tuning(**arguments):
    return step("Tuning", {"HyperParameterTuningJobConfig": TUNING_CONFIG, **arguments})


def output(**item):
    return definition({**CALLBACK, "OutputParameters": [item]})


REFUSED = {
    "undeclared output of a callback": (
        definition(CALLBACK, message({"Get": "Steps.ask.OutputParameters['scores']"})),
        "declares no output 'scores'; did you mean 'score'?",
    ),
    "undeclared output of a lambda": (
        definition(LAMBDA, message({"Get": "Steps.notify.OutputParameters['x']"})),
        "declares no output 'x'",
    ),
    "unknown property of a callback": (definition(CALLBACK, message({"Get": "Steps.ask.Outputs"})), "no property"),
    "output of another type": (
        definition({**LAMBDA, "FunctionArn": {"Get": "Steps.ask.OutputParameters['score']"}}, CALLBACK),
        "a Float where String",
    ),
    "unknown output type": (output(OutputName="a", OutputType="Double"), "unknown type 'Double'"),
    "output type as a list": (output(OutputName="a", OutputType=["String"]), "unknown type"),
    "output without a name": (output(OutputType="String"), "OutputName: is None"),
    "two outputs of one name": (
        definition({**LAMBDA, "OutputParameters": [OUTPUTS[0], OUTPUTS[0]]}),
        "'score' is used 2 times",
    ),
    "outputs that are no list": (definition({**LAMBDA, "OutputParameters": OUTPUTS[0]}), "is not a list"),
    "too many outputs": (
        definition(
            {**LAMBDA, "OutputParameters": [{"OutputName": f"o{n}", "OutputType": "String"} for n in range(51)]}
        ),
        "the limit is 50",
    ),
    "name instead of a function's ARN": (definition({**LAMBDA, "FunctionArn": "notify"}), "FunctionArn: 'notify'"),
    "ARN of another service": (
        definition({**LAMBDA, "FunctionArn": "arn:aws:sqs:eu-west-1:123456789012:notify"}),
        "use the ARN of a function",
    ),
    "ARN with a short account": (
        definition({**LAMBDA, "FunctionArn": FUNCTION.replace("123456789012", "1234")}),
        "use the ARN of a function",
    ),
    "queue that is no URL": (definition({**CALLBACK, "SqsQueueUrl": "queue"}), "use the URL of an SQS queue"),
    "model without a container": (
        definition(step("Model", {"ExecutionRoleArn": ROLE})),
        "has neither PrimaryContainer",
    ),
    "model with both kinds of containers": (
        definition(step("Model", {"PrimaryContainer": CONTAINER, "Containers": [CONTAINER]})),
        "has both PrimaryContainer and Containers",
    ),
    "model with an empty list": (definition(step("Model", {"Containers": []})), "has no container"),
    "container without an image": (
        definition(step("Model", {"PrimaryContainer": {"ModelDataUrl": "s3://bucket/model.tar.gz"}})),
        "has neither Image nor ModelPackageName",
    ),
    "tuning without a job": (definition(tuning()), "has neither TrainingJobDefinition nor TrainingJobDefinitions"),
    "tuning with both kinds of jobs": (
        definition(tuning(TrainingJobDefinition=TRAINING_JOB, TrainingJobDefinitions=[TRAINING_JOB])),
        "has both",
    ),
    "tuning with an empty list": (definition(tuning(TrainingJobDefinitions=[])), "has no job definition"),
    "tuning job with two algorithms": (
        definition(
            tuning(
                TrainingJobDefinition={
                    **TRAINING_JOB,
                    "AlgorithmSpecification": {
                        "TrainingImage": IMAGE,
                        "AlgorithmName": "xgb",
                        "TrainingInputMode": "File",
                    },
                }
            )
        ),
        "has both TrainingImage and AlgorithmName",
    ),
    "metadata as a list": (definition(FAIL, Metadata=[]), "$.Metadata: is not an object"),
    "metadata that is null": (definition(FAIL, Metadata=None), "$.Metadata: is not an object"),
    "metadata with a number": (definition(FAIL, Metadata={"a": 5}), "is not a text"),
    "experiment as a list": (definition(FAIL, PipelineExperimentConfig=[]), "is not an object"),
    "seventeen values": (
        definition(FAIL, parameters=[{"Name": "a", "Type": "String", "EnumValues": [str(n) for n in range(17)]}]),
        "has 17 values; the limit is 16",
    ),
    "long description": (
        definition(FAIL, parameters=[{"Name": "a", "Type": "String", "Description": "x" * 4097}]),
        "the limit is 4,096",
    ),
    "package name in a registration": (definition(register(ModelPackageName="name")), "is not allowed"),
    "package name instead of a group": (
        definition(step("RegisterModel", {"ModelPackageName": "name", "InferenceSpecification": {}})),
        "ModelPackageGroupName: is missing",
    ),
    "empty text where a pattern needs one": (definition(register(ModelPackageGroupName="")), "ModelPackageGroupName"),
    "unknown machine of an endpoint": (
        definition(
            step(
                "EndpointConfig",
                {"ProductionVariants": [{"VariantName": "a", "ModelName": "m", "InstanceType": "ml.m5.larg"}]},
            )
        ),
        "did you mean 'ml.m5.large'",
    ),
    "quality check without an image": (
        definition(
            step("QualityCheck", {"RoleArn": ROLE, "AppSpecification": {}, "ProcessingResources": {}}),
        ),
        "ImageUri: is required",
    ),
    "display name that is a number": (definition({**FAIL, "DisplayName": 5}), "DisplayName: is not a text"),
    "checkpoints outside of the container": (
        definition(
            step("Training", {**TRAINING_JOB, "CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/opt/ml/../x"}})
        ),
        "contains '..'",
    ),
    "folder outside of the container": (
        definition(
            step(
                "Processing",
                {
                    "ProcessingInputs": [
                        {"InputName": "a", "S3Input": {"S3Uri": "s3://b/c", "LocalPath": "/opt/ml/processing/../.."}}
                    ]
                },
            )
        ),
        "'/opt/ml/processing/../..' contains '..'",
    ),
    "property file outside of its output": (
        definition(
            step(
                "Processing", {}, PropertyFiles=[{"PropertyFileName": "a", "OutputName": "b", "FilePath": "../x.json"}]
            )
        ),
        "is not a path within the output",
    ),
    "opposite branch of an outer condition": (
        definition(
            condition(
                IfSteps=[condition("inner", IfSteps=[step("Model", {"PrimaryContainer": CONTAINER}, "model")])],
                ElseSteps=[{**FAIL, "DependsOn": ["model"]}],
            )
        ),
        "which never runs before it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_service_refuses_is_a_fault(name):
    data, words = REFUSED[name]
    faults = [str(each) for each in check_definition(data)]
    assert any(words in fault for fault in faults), faults


def test_steps_of_these_tests_are_sound_without_the_seeded_faults():
    sound = definition(
        LAMBDA,
        CALLBACK,
        register(),
        step("Model", {"PrimaryContainer": CONTAINER}, "model"),
        step("Tuning", tuning(TrainingJobDefinition=TRAINING_JOB)["Arguments"], "tuning"),
        message({"Get": "Steps.ask.OutputParameters['path']"}),
    )
    findings = examine_definition(sound)
    assert (findings.faults, findings.warnings) == ((), ())


def broken_values(shape):
    """Yield values that break a rule of a shape: its enumeration, pattern, limits or type."""
    rules = shape.metadata
    if shape.type_name == "string":
        yield from ["no such value"] if getattr(shape, "enum", ()) else []
        yield from ["x" * (rules["max"] + 1)] if rules.get("max", 10_000) < 5000 else []
        yield 5
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from [rules["min"] - 1] if "min" in rules else []
        yield from [rules["max"] + 1] if "max" in rules else []
        yield "5"
    else:
        yield {"boolean": "true", "list": {}}.get(shape.type_name, [])


def members(shape, path=(), depth=4):
    """Yield each member of a shape and its path, in which 0 is an item of a list."""
    if path:
        yield shape, path
    if depth == 0:
        return
    if shape.type_name == "structure":
        for name, inner in shape.members.items():
            yield from members(inner, (*path, name), depth - 1)
    elif shape.type_name == "list":
        yield from members(shape.member, (*path, 0), depth - 1)


@pytest.mark.parametrize("kind", sorted(ARGUMENTS))
def test_every_rule_of_the_service_model_is_checked(kind):
    cases = [(path, value) for shape, path in members(ServiceModel().arguments(kind)) for value in broken_values(shape)]
    for path, value in random.Random(0).sample(cases, min(len(cases), 60)):
        arguments, place = value, ""
        for part in reversed(path):
            arguments = [arguments] if part == 0 else {part: arguments}
            place = (f"[{part}]" if part == 0 else f".{part}") + place
        paths = [fault.path for fault in check_definition(definition(step(kind, arguments)))]
        assert any(each.startswith(f"$.Steps[0].Arguments{place}") for each in paths), (path, value)


# --- The command ------------------------------------------------------------------------------------------


def test_check_command_prints_warnings_and_succeeds(tmp_path):
    path = tmp_path / "definition.json"
    path.write_text(json.dumps(ACCEPTED["empty branches"]))
    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "sagemaker", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, last = done.stdout.splitlines()
    assert first.startswith("warning: $.Steps[0].Arguments: both branches are empty; ")
    assert last == f"{path}: no faults, 1 warning"
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert [item["severity"] for item in json.loads(done.stdout)] == ["warning"]
