"""Tuning steps: training jobs with drawn hyperparameters, and the choice of the best one."""

import itertools
import json
import re
import tarfile

import pytest
from mlops_sagemaker.checking import check_definition
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.execution import PipelineExecution, Surroundings
from mlops_sagemaker.emulator.faults import StepFault
from mlops_sagemaker.emulator.history import FolderHistory
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers
from mlops_sagemaker.emulator.jobs.registration import FolderRegistrar
from mlops_sagemaker.emulator.jobs.search import drawn_values
from mlops_sagemaker.emulator.objects import FolderObjects
from mlops_sagemaker.emulator.support import require_supported
from mlops_sagemaker.service.uris import S3Uri

SCRIPT = """
import os, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
rate, depth = float(options["--rate"]), int(options["--depth"])
if options["--kind"] == "bad":
    sys.exit(3)
score = -((rate - 0.3) ** 2) - depth
print(f"score={score!r}")
open(os.path.join(os.environ["SM_MODEL_DIR"], "score"), "w").write(repr(score))
"""
RANGES = {
    "ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0.1", "MaxValue": "1", "ScalingType": "Logarithmic"}],
    "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "2"}],
    "CategoricalParameterRanges": [{"Name": "kind", "Values": ["good", "bad"]}],
}


def tuning(*, objective="Maximize", metric="score", jobs=6, kinds=("good", "bad")):
    ranges = {**RANGES, "CategoricalParameterRanges": [{"Name": "kind", "Values": list(kinds)}]}
    config = {
        "Strategy": "Random",
        "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": 3},
        "HyperParameterTuningJobObjective": {"Type": objective, "MetricName": metric},
        "ParameterRanges": ranges,
    }
    training = {
        "StaticHyperParameters": {
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"s3://bucket/code/source.tar.gz"',
        },
        "AlgorithmSpecification": {
            "TrainingImage": "image:1",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "score", "Regex": "score=([-0-9.e]+)"}],
        },
        "RoleArn": "arn:aws:iam::123456789012:role/r",
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    arguments = {"HyperParameterTuningJobConfig": config, "TrainingJobDefinition": training}
    best = {"Get": "Steps.Tune.BestTrainingJob.TrainingJobName"}
    model = {"Std:Join": {"On": "/", "Values": ["s3://bucket/models", best, "output/model.tar.gz"]}}
    container = {"Image": "image:1", "ModelDataUrl": model}
    register = {
        "ModelPackageGroupName": "words",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    }
    return [
        {"Name": "Tune", "Type": "Tuning", "Arguments": arguments},
        {"Name": "Register", "Type": "RegisterModel", "Arguments": register},
    ]


def execute(root, steps):
    script = root / "train.py"
    script.write_text(SCRIPT)
    objects = FolderObjects(root / "s3")
    with tarfile.open(root / "source.tar.gz", "w:gz") as tar:
        tar.add(script, arcname="train.py")
    objects.upload(root / "source.tar.gz", S3Uri.parse("s3://bucket/code/source.tar.gz"))
    data = {"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": steps}
    assert check_definition(data) == ()
    history = FolderHistory(root / "executions")
    return PipelineExecution(
        parse_definition(data),
        arn="arn:aws:sagemaker:us-east-1:123456789012:pipeline/example/execution/e1",
        pipeline="example",
        values={},
        surroundings=Surroundings(
            objects=objects,
            containers=ProcessContainers(has_mounts=False),
            registrar=FolderRegistrar(root / "packages"),
            history=history,
            folder=history.execution_folder("e1"),
        ),
    ).carry_out()


def value_of(job):
    return job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]


@pytest.mark.parametrize("objective", ["Maximize", "Minimize"])
def test_best_training_job_is_registered_although_others_fail(tmp_path, objective):
    record = execute(tmp_path, tuning(objective=objective))
    assert record.status == "Succeeded", record.steps[0].failure
    properties = record.step("Tune").properties
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", properties["HyperParameterTuningJobName"])
    values = [value_of(job) for job in properties["TrainingJobSummaries"]]
    assert values == sorted(values, reverse=objective == "Maximize")
    assert properties["BestTrainingJob"] == properties["TrainingJobSummaries"][0]
    counters = properties["TrainingJobStatusCounters"]
    assert counters["Completed"] + counters["NonRetryableError"] == 6
    assert min(counters["Completed"], counters["NonRetryableError"]) >= 1
    package = json.loads((tmp_path / "packages" / "words" / "1.json").read_text())
    model = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    with tarfile.open(tmp_path / "s3" / model.removeprefix("s3://")) as tar:
        assert float(tar.extractfile("score").read()) == values[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": ["bad"]}, "none of 2 training jobs can be compared: AlgorithmError"),
        ({"metric": "accuracy", "kinds": ["good"]}, "no log contains the objective metric"),
    ],
)
def test_search_without_results_fails_and_registers_nothing(tmp_path, changes, message):
    record = execute(tmp_path, tuning(jobs=2, **changes))
    assert record.status == "Failed"
    assert message in record.step("Tune").failure
    assert not (tmp_path / "packages").exists()


def test_drawn_values_are_within_their_limits_and_reproducible():
    scales = ("Auto", "Linear", "Logarithmic", "ReverseLogarithmic")
    for scale, (low, high) in itertools.product(scales, [("0.001", "0.9"), ("1", "1"), ("-2", "5")]):
        each = {"Name": "x", "MinValue": low, "MaxValue": high, "ScalingType": scale}
        ranges = {"ContinuousParameterRanges": [each], "IntegerParameterRanges": [{**each, "Name": "n"}]}
        if low == "0.001":
            del ranges["IntegerParameterRanges"]
        first, second = (list(itertools.islice(drawn_values({"RandomSeed": 3}, ranges), 50)) for _ in range(2))
        assert first == second
        assert all(float(low) <= float(value) <= float(high) for draw in first for value in draw.values())
        assert all(draw["n"] == str(int(draw["n"])) for draw in first if "n" in draw)
    logarithmic = {"Name": "x", "MinValue": "0.0001", "MaxValue": "1", "ScalingType": "Logarithmic"}
    draws = itertools.islice(drawn_values({}, {"ContinuousParameterRanges": [logarithmic]}), 400)
    assert 120 < sum(float(draw["x"]) < 0.01 for draw in draws) < 280


def test_grid_search_tries_all_combinations_once():
    categories = [{"Name": "a", "Values": ["1", "2"]}, {"Name": "b", "Values": ["x", "y", "z"]}]
    combinations = list(drawn_values({"Strategy": "Grid"}, {"CategoricalParameterRanges": categories}))
    assert len(combinations) == len({tuple(each.items()) for each in combinations}) == 6


def grid(kinds, depths):
    values = {"kind": kinds, "depth": depths, "rate": ["0.3"]}
    return {"CategoricalParameterRanges": [{"Name": name, "Values": list(each)} for name, each in values.items()]}


def grid_steps():
    """Two definitions with grids of different sizes, and no limit for the number of training jobs."""
    step = tuning(objective="Minimize")[0]
    config, one = step["Arguments"]["HyperParameterTuningJobConfig"], step["Arguments"].pop("TrainingJobDefinition")
    objective = config.pop("HyperParameterTuningJobObjective")
    del config["ParameterRanges"], config["ResourceLimits"]["MaxNumberOfTrainingJobs"]
    config["Strategy"] = "Grid"
    step["Arguments"]["TrainingJobDefinitions"] = [
        {**one, "DefinitionName": name, "TuningObjective": objective, "HyperParameterRanges": grid(["good"], depths)}
        for name, depths in {"small": ["1"], "large": ["2", "3", "4"]}.items()
    ]
    return [step]


def test_grid_search_without_a_limit_tries_all_combinations_of_all_definitions(tmp_path):
    record = execute(tmp_path, grid_steps())
    assert record.status == "Succeeded", record.steps[0].failure
    jobs = record.step("Tune").properties["TrainingJobSummaries"]
    assert sorted(job["TunedHyperParameters"]["depth"] for job in jobs) == ["1", "2", "3", "4"]
    assert jobs[0]["TunedHyperParameters"]["depth"] == "4"


AUTO = {"AutoParameters": [{"Name": "rate", "ValueHint": "0.1"}]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"Autotune": {"Mode": "Enabled"}}, "Autotune"),
        ({"WarmStartConfig": {"WarmStartType": "IdenticalDataAndAlgorithm"}}, "WarmStartConfig"),
        ({"HyperParameterTuningJobConfig": {"Strategy": "Random", "ParameterRanges": AUTO}}, "AutoParameters"),
        ({"TrainingJobDefinitions": [{"HyperParameterRanges": AUTO}]}, "HyperParameterRanges: AutoParameters"),
        (
            {"HyperParameterTuningJobConfig": {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.9}}},
            "Compl",
        ),
        ({"HyperParameterTuningJobConfig": {"ResourceLimits": {"MaxParallelTrainingJobs": 1}}}, "MaxNumberOfTraining"),
        (
            {"TrainingJobDefinition": {"HyperParameterTuningResourceConfig": {"InstanceConfigs": [{}]}}},
            "InstanceConfigs",
        ),
        ({"TrainingJobDefinition": {"ResourceConfig": {"InstanceGroups": [{}, {}]}}}, "InstanceGroups"),
    ],
)
def test_what_a_search_would_ignore_is_refused_by_name(arguments, message):
    with pytest.raises(StepFault, match=message):
        require_supported("Tuning", arguments)


@pytest.mark.parametrize(
    ("config", "ranges", "message"),
    [
        ({"Strategy": "Grid"}, RANGES, "a grid search supports categorical ranges only"),
        ({}, {"IntegerParameterRanges": [{"Name": "n", "MinValue": "5", "MaxValue": "1"}]}, "'n': 5 to 1 is empty"),
        ({}, {"IntegerParameterRanges": [{"Name": "n", "MinValue": "few", "MaxValue": "1"}]}, "'few'"),
    ],
)
def test_invalid_ranges_are_reported(config, ranges, message):
    with pytest.raises(StepFault, match=message):
        next(drawn_values(config, ranges))
