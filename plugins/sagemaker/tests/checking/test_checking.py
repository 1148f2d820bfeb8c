"""The checker: each seeded fault is reported with its path and a fix; sound definitions have no faults."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlops_sagemaker.checking import check_definition, check_text

SETTINGS = (
    "steps.train.spot=true",
    "steps.train.environment={A: b}",
    "account.tags={team: audio}",
    "account.subnets=[subnet-0a]",
    "account.security_groups=[sg-0a]",
)
PREPROCESS, MERGE, TRAIN, EVALUATE, GATE = range(5)


@pytest.fixture
def definition(request, compiled):
    if not hasattr(request.module, "SOUND"):  # compiled once, copied for each test
        request.module.SOUND = compiled("features.scale=3", settings=SETTINGS).data
        assert check_definition(request.module.SOUND) == ()
    return copy.deepcopy(request.module.SOUND)


def at(data, path):
    """Return (parent, key) of a path such as ``Steps.0.Arguments``."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for part in parents:
        data = data[part]
    return data, last


def put(path, value):
    def change(data):
        parent, key = at(data, path)
        parent[key] = value

    return change


def drop(path):
    def change(data):
        parent, key = at(data, path)
        del parent[key]

    return change


def extend(path, *items):
    def change(data):
        parent, key = at(data, path)
        parent[key] = [*parent.get(key, []), *items]

    return change


def duplicate(path):
    def change(data):
        parent, index = at(data, path)
        parent.append(copy.deepcopy(parent[index]))

    return change


PROCESSING = f"Steps/{PREPROCESS}/Arguments"
TRAINING = f"Steps/{TRAIN}/Arguments"
EVALUATION = f"Steps/{EVALUATE}/Arguments"
CONDITION = f"Steps/{GATE}/Arguments"
REGISTER = f"{CONDITION}/IfSteps/0/Arguments"
JSON_GET = f"{CONDITION}/Conditions/0/LeftValue/Std:JsonGet"
TRAIN_CODE = {"Get": "Steps.train.ModelArtifacts.S3ModelArtifacts"}

FAULTS = [
    # (change, part of the path, part of the message)
    (drop("Version"), "$.Version", "2020-12-01"),
    (put("Version", "2021-01-01"), "$.Version", "2020-12-01"),
    (put("Stpes", []), "$.Stpes", "did you mean 'Steps'"),
    (put("Steps", []), "$.Steps", "no steps"),
    (put("Steps/0", "train"), "$.Steps[0]", "object"),
    (put("Parameters", {}), "$.Parameters", "list"),
    (duplicate("Parameters/0"), "$.Parameters[0].Name", "declared 2 times"),
    (put("Parameters/0/Type", "string"), "$.Parameters[0].Type", "did you mean 'String'"),
    (put("Parameters/5/DefaultValue", "0"), "$.Parameters[5].DefaultValue", "not of type Integer"),
    (put("Parameters/5/DefaultValue", True), "$.Parameters[5].DefaultValue", "not of type Integer"),
    (put("Parameters/0/Name", "a name"), "$.Parameters[0].Name", "not a valid name"),
    (put("Parameters/0/Default", "x"), "$.Parameters[0].Default", "DefaultValue"),
    (put("Parameters/4/DefaultValue", "Aproved"), "$.Parameters[4].DefaultValue", "EnumValues"),
    (put("Parameters/4/EnumValues", []), "$.Parameters[4].EnumValues", "list of values"),
    (drop("Steps/0/Name"), "$.Steps[0].Name", "not a valid name"),
    (put("Steps/0/Name", "pre process"), "$.Steps[0].Name", "not a valid name"),
    (put("Steps/0/Name", "x" * 65), "$.Steps[0].Name", "64"),
    (put("Steps/1/Name", "preprocess"), "$.Steps[0].Name", "2 steps"),
    (put(f"{CONDITION}/IfSteps/0/Name", "train"), f"$.Steps[{GATE}].Arguments.IfSteps[0].Name", "2 steps"),
    (put("Steps/2/Type", "Trainning"), "$.Steps[2].Type", "did you mean 'Training'"),
    (drop("Steps/2/Arguments"), "$.Steps[2].Arguments", "missing"),
    (put("Steps/2/Arguments", []), "$.Steps[2].Arguments", "not an object"),
    (put("Steps/2/DependOn", ["evaluate"]), "$.Steps[2].DependOn", "did you mean 'DependsOn'"),
    (put("Steps/2/DependsOn", ["preproces"]), "$.Steps[2].DependsOn[0]", "did you mean 'preprocess'"),
    (put("Steps/2/DependsOn", "preprocess"), "$.Steps[2].DependsOn", "list"),
    (put("Steps/2/DependsOn", ["train"]), "$.Steps[2].DependsOn[0]", "itself"),
    (put("Steps/0/DependsOn", ["evaluate"]), "$.Steps", "cycle"),
    (put("Steps/2/DependsOn", ["register"]), "$.Steps", "cycle"),
    (
        put(f"{CONDITION}/IfSteps/0/DependsOn", ["fail"]),
        f"$.Steps[{GATE}].Arguments.IfSteps[0].DependsOn[0]",
        "never runs",
    ),
    # cache and retries
    (put("Steps/2/CacheConfig/ExpireAfter", "30 days"), "$.Steps[2].CacheConfig.ExpireAfter", "ISO 8601"),
    (put("Steps/2/CacheConfig/ExpireAfter", "P"), "$.Steps[2].CacheConfig.ExpireAfter", "ISO 8601"),
    (put("Steps/2/CacheConfig/Enabled", "true"), "$.Steps[2].CacheConfig.Enabled", "true or false"),
    (put("Steps/2/CacheConfig/Expires", "P1D"), "$.Steps[2].CacheConfig.Expires", "did you mean 'ExpireAfter'"),
    (put(f"Steps/{GATE}/CacheConfig", {"Enabled": True}), f"$.Steps[{GATE}].CacheConfig", "unknown key"),
    (put("Steps/2/RetryPolicies/0/ExceptionType", ["SageMaker.CAPACITY"]), "ExceptionType[0]", "CAPACITY_ERROR"),
    (put("Steps/2/RetryPolicies/0/ExceptionType", []), "RetryPolicies[0].ExceptionType", "list"),
    (put("Steps/2/RetryPolicies/0/MaxAttempts", 21), "RetryPolicies[0].MaxAttempts", "1 to 20"),
    (put("Steps/2/RetryPolicies/0/ExpireAfterMin", 5), "RetryPolicies[0]", "either"),
    (duplicate("Steps/2/RetryPolicies/0"), "RetryPolicies[2].ExceptionType[0]", "two policies"),
    (
        put(f"{CONDITION}/IfSteps/0/RetryPolicies/0/ExceptionType", ["SageMaker.CAPACITY_ERROR"]),
        "IfSteps[0].RetryPolicies[0].ExceptionType[0]",
        "RegisterModel",
    ),
    # property files
    (
        put(f"Steps/{EVALUATE}/PropertyFiles/0/OutputName", "gates"),
        "PropertyFiles[0].OutputName",
        "did you mean 'gate'",
    ),
    (drop(f"Steps/{EVALUATE}/PropertyFiles/0/FilePath"), "PropertyFiles[0].FilePath", "None"),
    (duplicate(f"Steps/{EVALUATE}/PropertyFiles/0"), "PropertyFiles[0].PropertyFileName", "2 times"),
    (put(f"{JSON_GET}/PropertyFile/Get", "Steps.evaluate.PropertyFiles.evaluations"), "PropertyFile.Get", "mean"),
    (put(f"{JSON_GET}/PropertyFile/Get", "Steps.evalute.PropertyFiles.evaluation"), "PropertyFile.Get", "mean"),
    (put(f"{JSON_GET}/Path", {"Get": "Parameters.q_acc"}), "Path", "literal"),
    (put(f"{JSON_GET}/Path", ""), "Path", "not a path"),
    (drop(f"{JSON_GET}/Path"), "Std:JsonGet", "Path"),
    # expressions
    (put(f"{PROCESSING}/RoleArn", {"Get": "Parameters.Role"}), "$.Steps[0].Arguments.RoleArn.Get", "unknown parameter"),
    (put(f"{PROCESSING}/RoleArn", {"Get": "Params.Role"}), "$.Steps[0].Arguments.RoleArn.Get", "did you mean"),
    (
        put(f"{PROCESSING}/RoleArn", {"Get": "Execution.Id"}),
        "$.Steps[0].Arguments.RoleArn.Get",
        "unknown execution variable",
    ),
    (put(f"{PROCESSING}/RoleArn", {"Get": 5}), "$.Steps[0].Arguments.RoleArn.Get", "text"),
    (
        put(f"{PROCESSING}/RoleArn", {"Get": "Parameters.Seed"}),
        "$.Steps[0].Arguments.RoleArn",
        "a Integer where String",
    ),
    (
        put(f"{PROCESSING}/RoleArn", {"Get": "Parameters.ExecutionRole", "x": 1}),
        "$.Steps[0].Arguments.RoleArn",
        "one key",
    ),
    (
        put(f"{TRAINING}/InputDataConfig/0/DataSource/S3DataSource/S3Uri", {"Std:Concat": {}}),
        "S3Uri",
        "unknown function",
    ),
    (
        put(f"{TRAINING}/OutputDataConfig/S3OutputPath/Std:Join", {"On": "/"}),
        "S3OutputPath['Std:Join']",
        "On and Values",
    ),
    (put(f"{TRAINING}/OutputDataConfig/S3OutputPath/Std:Join/Values", []), "Values", "no values to join"),
    (put(f"{TRAINING}/OutputDataConfig/S3OutputPath/Std:Join/On", 1), "On", "not a text"),
    (
        put(f"{EVALUATION}/ProcessingInputs/1/S3Input/S3Uri", {"Get": "Steps.train.ModelArtifact.S3ModelArtifacts"}),
        "S3Uri.Get",
        "did you mean 'ModelArtifacts'",
    ),
    (
        put(f"{EVALUATION}/ProcessingInputs/1/S3Input/S3Uri", {"Get": "Steps.train.ModelArtifacts"}),
        "S3Uri.Get",
        "structure",
    ),
    (
        put(f"{EVALUATION}/ProcessingInputs/1/S3Input/S3Uri", {"Get": "Steps.trian.ModelArtifacts.S3ModelArtifacts"}),
        "S3Uri.Get",
        "did you mean 'train'",
    ),
    (put(f"{EVALUATION}/ProcessingInputs/1/S3Input/S3Uri", {"Get": "Steps.train"}), "S3Uri.Get", "not a property"),
    (
        put(
            f"{TRAINING}/InputDataConfig/0/DataSource/S3DataSource/S3Uri",
            {"Get": "Steps.preprocess-merge.ProcessingOutputConfig.Outputs['feature'].S3Output.S3Uri"},
        ),
        "S3Uri.Get",
        "did you mean 'features'",
    ),
    (
        put(f"{EVALUATION}/ProcessingInputs/1/S3Input/S3Uri", {"Get": "Steps.fail.ErrorMessage"}),
        "S3Uri.Get",
        "no properties",
    ),
    (
        put(f"{EVALUATION}/ProcessingInputs/1/S3Input/S3Uri", {"Get": "Steps.evaluate.PropertyFiles.evaluation"}),
        "S3Uri.Get",
        "property file",
    ),
    # arguments against the service's model
    (drop(f"{PROCESSING}/RoleArn"), "$.Steps[0].Arguments.RoleArn", "required"),
    (drop(f"{TRAINING}/OutputDataConfig"), "$.Steps[2].Arguments.OutputDataConfig", "required"),
    (drop(f"{TRAINING}/StoppingCondition"), "$.Steps[2].Arguments.StoppingCondition", "required"),
    (drop(f"{PROCESSING}/AppSpecification/ImageUri"), "AppSpecification.ImageUri", "required"),
    (put(f"{PROCESSING}/RoleARN", "x"), "$.Steps[0].Arguments.RoleARN", "did you mean 'RoleArn'"),
    (put(f"{PROCESSING}/RoleArn", "admin"), "$.Steps[0].Arguments.RoleArn", "match"),
    (put(f"{PROCESSING}/RoleArn", None), "$.Steps[0].Arguments.RoleArn", "null"),
    (
        put(f"{PROCESSING}/ProcessingResources/ClusterConfig/InstanceType", "ml.m5.larg"),
        "ClusterConfig.InstanceType",
        "did you mean 'ml.m5.large'",
    ),
    (put(f"{PROCESSING}/ProcessingResources/ClusterConfig/InstanceCount", 0), "InstanceCount", "below 1"),
    (put(f"{PROCESSING}/ProcessingResources/ClusterConfig/InstanceCount", "3"), "InstanceCount", "whole number"),
    (put(f"{PROCESSING}/ProcessingResources/ClusterConfig/InstanceCount", True), "InstanceCount", "whole number"),
    (
        put(f"{PROCESSING}/ProcessingResources/ClusterConfig/InstanceCount", {"Get": "Parameters.q_acc"}),
        "InstanceCount",
        "a Float where Integer",
    ),
    (put(f"{PROCESSING}/ProcessingResources/ClusterConfig/VolumeSizeInGB", 99_999), "VolumeSizeInGB", "above"),
    (put(f"{PROCESSING}/StoppingCondition/MaxRuntimeInSeconds", 1.5), "MaxRuntimeInSeconds", "whole number"),
    (put(f"{PROCESSING}/StoppingCondition", 3600), "StoppingCondition", "an object is expected"),
    (put(f"{PROCESSING}/AppSpecification/ContainerArguments/0", "x" * 257), "ContainerArguments[0]", "257"),
    (put(f"{PROCESSING}/AppSpecification/ContainerArguments", ["x"] * 101), "ContainerArguments", "101"),
    (put(f"{PROCESSING}/AppSpecification/ContainerEntrypoint", "python3"), "ContainerEntrypoint", "list"),
    (put(f"{PROCESSING}/AppSpecification/ContainerEntrypoint", TRAIN_CODE), "ContainerEntrypoint", "list"),
    (put(f"{PROCESSING}/ProcessingInputs/0/S3Input/S3DataType", "S3prefix"), "S3DataType", "did you mean 'S3Prefix'"),
    (put(f"{PROCESSING}/ProcessingInputs/0/S3Input/S3Uri", "/data"), "S3Uri", "match"),
    (put(f"{PROCESSING}/ProcessingInputs/0/S3Input/LocalPath", "/data"), "LocalPath", "/opt/ml/processing"),
    (duplicate(f"{PROCESSING}/ProcessingInputs/0"), "ProcessingInputs[0].InputName", "2 times"),
    (duplicate(f"{PROCESSING}/ProcessingOutputConfig/Outputs/0"), "Outputs[0].OutputName", "2 times"),
    (put(f"{TRAINING}/Environment", {"A": 1}), "Environment.A", "in quotes"),
    (put(f"{TRAINING}/HyperParameters", {"epochs": 3}), "HyperParameters.epochs", "in quotes"),
    (put(f"{TRAINING}/HyperParameters", {"s": {"Get": "Parameters.Seed"}}), "HyperParameters.s", "join it"),
    (duplicate(f"{TRAINING}/InputDataConfig/0"), "InputDataConfig[0].ChannelName", "2 times"),
    (put(f"{TRAINING}/InputDataConfig/0/ChannelName", "my channel"), "ChannelName", "match"),
    (put(f"{TRAINING}/AlgorithmSpecification/AlgorithmName", "xgb"), "AlgorithmSpecification", "exactly one"),
    (put(f"{TRAINING}/AlgorithmSpecification/TrainingInputMode", "file"), "TrainingInputMode", "did you mean 'File'"),
    (put(f"{TRAINING}/StoppingCondition/MaxWaitTimeInSeconds", 60), "MaxWaitTimeInSeconds", "less than"),
    (drop(f"{TRAINING}/StoppingCondition/MaxWaitTimeInSeconds"), "MaxWaitTimeInSeconds", "required"),
    (drop(f"{TRAINING}/EnableManagedSpotTraining"), "MaxWaitTimeInSeconds", "has no effect"),
    (put(f"{TRAINING}/EnableManagedSpotTraining", "yes"), "EnableManagedSpotTraining", "true or false"),
    (put(f"{TRAINING}/VpcConfig/Subnets", []), "VpcConfig.Subnets", "fewer than the minimum of 1"),
    (put(f"{TRAINING}/ResourceConfig/VolumeKmsKeyId", "k" * 3000), "VolumeKmsKeyId", "characters"),
    (extend(f"{TRAINING}/Tags", {"Key": "team", "Value": "b"}), "Tags[0].Key", "2 times"),
    # conditions and branches
    (put(f"{CONDITION}/Conditions", []), "Conditions", "no condition"),
    (put(f"{CONDITION}/Conditions/0/Type", "GreaterThanOrEqual"), "Conditions[0].Type", "GreaterThanOrEqualTo"),
    (drop(f"{CONDITION}/Conditions/0/RightValue"), "Conditions[0].RightValue", "missing"),
    (put(f"{CONDITION}/Conditions/0/RightValue", "0.5"), "Conditions[0].RightValue", "remove quotes"),
    (
        put(f"{CONDITION}/Conditions/0/RightValue", {"Get": "Parameters.StepImage"}),
        "Conditions[0].RightValue",
        "String",
    ),
    (
        put(f"{CONDITION}/Conditions/0", {"Type": "Or", "Conditions": []}),
        "Conditions[0].Conditions",
        "without conditions",
    ),
    (put(f"{CONDITION}/Conditions/0", {"Type": "Not", "Expression": {}}), "Conditions[0].Expression", "unknown key"),
    (
        put(f"{CONDITION}/Conditions/0", {"Type": "In", "QueryValue": {"Get": "Parameters.Seed"}, "Values": []}),
        "Conditions[0].Values",
        "empty",
    ),
    (put(f"{CONDITION}/Otherwise", []), "Arguments.Otherwise", "unknown argument"),
    (put(f"{CONDITION}/ElseSteps", {}), "ElseSteps", "not a list"),
    (put(f"{CONDITION}/ElseSteps/0/Arguments/Message", "x"), "ElseSteps[0].Arguments.Message", "ErrorMessage"),
    (put(f"{CONDITION}/ElseSteps/0/Arguments/ErrorMessage", 1), "ErrorMessage", "not a text"),
    # raw steps
    (extend("Steps", {"Name": "notify", "Type": "Lambda", "Arguments": {}}), ".FunctionArn", "Lambda"),
    (extend("Steps", {"Name": "ask", "Type": "Callback", "Arguments": {}}), ".SqsQueueUrl", "Callback"),
    (extend("Steps", {"Name": "bulk", "Type": "Transform", "Arguments": {}}), ".TransformInput", "required"),
    (extend("Steps", {"Name": "search", "Type": "Tuning", "Arguments": {}}), "ParameterTuningJobConfig", "required"),
    # registration
    (drop(f"{REGISTER}/ModelPackageGroupName"), "ModelPackageGroupName", "missing"),
    (drop(f"{REGISTER}/InferenceSpecification"), "InferenceSpecification", "missing"),
    (put(f"{REGISTER}/CertifyForMarketplace", False), "CertifyForMarketplace", "not allowed"),
    (put(f"{REGISTER}/ModelApprovalStatus", "Aproved"), "ModelApprovalStatus", "did you mean 'Approved'"),
    (put("Parameters/3/DefaultValue", "my group"), "ModelPackageGroupName", "match"),
    (put(f"{REGISTER}/InferenceSpecification/Containers", []), "Containers", "fewer than the minimum of 1"),
]


def test_more_than_a_hundred_faults_are_seeded():
    assert len(FAULTS) > 100


@pytest.mark.parametrize(("change", "path", "word"), FAULTS, ids=lambda value: value if isinstance(value, str) else "")
def test_seeded_fault_is_reported_with_path_and_fix(definition, change, path, word):
    change(definition)
    faults = check_definition(definition)
    matching = [fault for fault in faults if path in fault.path and word in str(fault)]
    assert matching, [str(fault) for fault in faults]
    assert all(fault.path.startswith("$") and fault.problem and fault.fix for fault in faults)


def test_all_faults_are_reported_at_once(definition):
    for change in (FAULTS[1][0], FAULTS[8][0], put(f"{PROCESSING}/RoleArn", "admin")):
        change(definition)
    assert {fault.path for fault in check_definition(definition)} >= {
        "$.Version",
        "$.Parameters[5].DefaultValue",
        "$.Steps[0].Arguments.RoleArn",
    }


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("not json", "not JSON"),
        ("", "not JSON"),
        ("[]", "object"),
        ('{"Version": "2020-12-01", "Version": "2020-12-01", "Steps": []}', "duplicate key"),
        ('{"Steps": [NaN]}', "NaN"),
        ("[" * 100_000, "nested"),
        ('{"a": "' + "x" * 1_048_576 + '"}', "1,048,576"),
    ],
)
def test_text_that_is_not_a_definition_is_refused(text, word):
    (fault,) = check_text(text)
    assert word in str(fault)


def test_wrong_value_at_any_path_never_raises(definition):
    values = (None, 5, "x", [], {}, [[]], {"Get": {}}, {"Std:Join": None}, True)

    def places(data, path=()):
        yield path
        items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
        for key, inner in items:
            yield from places(inner, (*path, key))

    for number, place in enumerate(list(places(definition))[1::3]):
        broken = copy.deepcopy(definition)
        parent = broken
        for key in place[:-1]:
            parent = parent[key]
        parent[place[-1]] = values[number % len(values)]
        check_definition(broken)


def test_graph_is_checked_without_the_service_model(definition, monkeypatch):
    from mlops_sagemaker import checking

    monkeypatch.setattr(checking, "has_service_model", lambda: False)
    assert check_definition(definition) == ()
    put("Steps/2/DependsOn", ["preproces"])(definition)
    put(f"{PROCESSING}/RoleArn", "admin")(definition)
    assert [fault.path for fault in check_definition(definition)] == ["$.Steps[2].DependsOn[0]"]


def test_check_command_prints_each_fault_and_its_fix(definition, tmp_path):
    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "sagemaker", "check"]
    path = tmp_path / "definition.json"
    path.write_text(json.dumps(definition))
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: no faults\n"
    put(f"{PROCESSING}/RoleArn", "admin")(definition)
    done = subprocess.run([*command, "-"], capture_output=True, text=True, check=False, input=json.dumps(definition))
    assert done.returncode == 2
    assert "$.Steps[0].Arguments.RoleArn: 'admin' does not match" in done.stdout
    assert "-: 1 fault" in done.stdout
    done = subprocess.run([*command, str(path), "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    done = subprocess.run([*command, "nowhere.json"], capture_output=True, text=True, check=False)
    assert (done.returncode, "cannot read nowhere.json" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "definitions").glob("*by_sdk*.json")), ids=lambda p: p.stem
)
def test_definition_written_by_the_sdk_has_no_faults(path):
    """The definitions of SDK 2 and 3 have Processing, Training, Tuning, Transform, Model and other steps."""
    assert check_text(path.read_text()) == ()


def test_fault_in_a_definition_of_the_sdk_is_reported():
    path = Path(__file__).parents[1] / "definitions" / "many_steps_by_sdk_v2.json"
    data = json.loads(path.read_text())
    tuning = next(step for step in data["Steps"] if step["Type"] == "Tuning")
    del tuning["Arguments"]["HyperParameterTuningJobConfig"]["Strategy"]
    assert [fault.path.rpartition(".")[2] for fault in check_definition(data)] == ["Strategy"]
