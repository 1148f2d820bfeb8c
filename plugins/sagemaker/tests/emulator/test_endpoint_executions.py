"""Pipelines and executions of the endpoint: versions, selections, callbacks, jobs, events, restarts."""

import datetime as dt
import hashlib
import io
import json
import tarfile
import threading
import time

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed")
pytest.importorskip("moto", reason="moto is not installed")
from botocore.exceptions import ClientError
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

ROLE = "arn:aws:iam::123456789012:role/example"
FAIL = {"Name": "Say", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}
WRITE = "from pathlib import Path; Path('/opt/ml/processing/output/file.txt').write_text('x')"


class InProcess:
    """Containers that run the Python code of the command in a thread, with ``/opt/ml`` replaced."""

    def __init__(self):
        self.events = {}

    def run(self, order):
        order.log.write_text("loss=0.5\n")
        if "-c" in order.command:
            exec(order.tree.rewrite(order.command[-1]), {"stopped": order.stopped, **self.events})
        return 0


CONTAINERS = InProcess()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with SageMakerEndpoint(tmp_path_factory.mktemp("endpoint"), max_parallel=2, containers=CONTAINERS) as endpoint:
        endpoint.client("s3").create_bucket(Bucket="bkt")
        endpoint.client("s3").put_object(Bucket="bkt", Key="code/source.tar.gz", Body=source_archive())
        yield endpoint


def source_archive():
    """A program for script mode."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("train.py"))
    return content.getvalue()


@pytest.fixture(scope="module")
def sagemaker(endpoint):
    return endpoint.client("sagemaker")


@pytest.fixture
def name(request):
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:6]
    return f"{request.node.originalname.replace('_', '-')[:40]}-{digest}"


def definition(*steps, parameters=()):
    return json.dumps({"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps)})


def processing(name, code=WRITE, *, output="s3://bkt/out", **more):
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    target = {"S3Uri": output, "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}
    arguments = {
        "ProcessingResources": {"ClusterConfig": cluster},
        "AppSpecification": {"ImageUri": "image:1", "ContainerEntrypoint": ["python3", "-c", code]},
        "RoleArn": ROLE,
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": target}]},
    }
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **more}


def training_arguments(code="pass", **more):
    return {
        "AlgorithmSpecification": {
            "TrainingImage": "image:1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-c", code],
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
        "OutputDataConfig": {"S3OutputPath": "s3://bkt/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": ROLE,
        **more,
    }


def training(name, code="pass", **more):
    return {"Name": name, "Type": "Training", "Arguments": training_arguments(code, **more)}


def tuning(name, *, image="image:1", **changes):
    job = training_arguments(**changes)
    job["AlgorithmSpecification"] = {
        "TrainingImage": image,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
    }
    source = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://bkt/code/source.tar.gz"}
    job["StaticHyperParameters"] = {**source, **job.get("StaticHyperParameters", {})}
    arguments = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ParameterRanges": {"IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "9"}]},
        },
        "TrainingJobDefinition": job,
    }
    return {
        "Name": name,
        "Type": "Tuning",
        "Arguments": arguments,
        "CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"},
    }


def create(sagemaker, name, *steps, parameters=(), **more):
    return sagemaker.create_pipeline(
        PipelineName=name, PipelineDefinition=definition(*steps, parameters=parameters), RoleArn=ROLE, **more
    )["PipelineArn"]


def start(sagemaker, name, **more):
    return sagemaker.start_pipeline_execution(PipelineName=name, **more)["PipelineExecutionArn"]


def wait(sagemaker, arn, *, until=("Succeeded", "Failed", "Stopped")):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        description = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        if description["PipelineExecutionStatus"] in until:
            return description
        time.sleep(0.02)
    raise AssertionError(f"the execution still has status {description['PipelineExecutionStatus']}")


def steps_of(sagemaker, arn):
    listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
    return {step["StepName"]: step for step in listed["PipelineExecutionSteps"]}


def run(sagemaker, name, **more):
    arn = start(sagemaker, name, **more)
    return wait(sagemaker, arn)["PipelineExecutionStatus"], steps_of(sagemaker, arn), arn


# --- Pipelines --------------------------------------------------------------------------------------------


def test_definition_in_s3_is_described_as_it_is_there(endpoint, sagemaker, name):
    text = definition(FAIL).replace(":", " :  ")
    endpoint.client("s3").put_object(Bucket="bkt", Key="d.json", Body=text.encode())
    location = {"Bucket": "bkt", "ObjectKey": "d.json"}
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinitionS3Location=location, RoleArn=ROLE)
    assert sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"] == text
    other = text.replace("no", "yes")
    endpoint.client("s3").put_object(Bucket="bkt", Key="d.json", Body=other.encode())
    sagemaker.update_pipeline(PipelineName=name, PipelineDefinitionS3Location=location)
    assert sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"] == other
    _, _, arn = run(sagemaker, name)
    described = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    assert described["PipelineDefinition"] == other
    for place in ({"Bucket": "absent", "ObjectKey": "d.json"}, {"Bucket": "bkt", "ObjectKey": "absent"}):
        with pytest.raises(ClientError, match="ValidationException"):
            sagemaker.update_pipeline(PipelineName=name, PipelineDefinitionS3Location=place)


def test_repeated_creation_with_one_token_creates_one_pipeline(sagemaker, name):
    token = {"ClientRequestToken": "t" * 32}
    assert create(sagemaker, name, FAIL, **token) == create(sagemaker, name, FAIL, **token)
    for more in ({}, {**token, "PipelineDescription": "other"}):
        with pytest.raises(ClientError, match="ValidationException.*already exists"):
            create(sagemaker, name, FAIL, **more)
    sagemaker.delete_pipeline(PipelineName=name, **token)
    sagemaker.delete_pipeline(PipelineName=name, **token)
    create(sagemaker, name, FAIL, **token)
    assert sagemaker.describe_pipeline(PipelineName=name)["PipelineStatus"] == "Active"


def test_update_keeps_what_it_does_not_name_and_changes_the_time(sagemaker, name):
    create(sagemaker, name, FAIL, PipelineDescription="text", PipelineDisplayName="shown")
    before = sagemaker.describe_pipeline(PipelineName=name)
    sagemaker.update_pipeline(PipelineName=name, PipelineDescription="other")
    after = sagemaker.describe_pipeline(PipelineName=name)
    assert (after["PipelineDescription"], after["PipelineDisplayName"]) == ("other", "shown")
    assert after["PipelineDefinition"] == before["PipelineDefinition"]
    assert after["LastModifiedTime"] > before["LastModifiedTime"] == before["CreationTime"]


def test_versions_can_be_listed_described_named_and_started(sagemaker, name):
    arn = create(sagemaker, name, FAIL)
    other = {**FAIL, "Arguments": {"ErrorMessage": "second"}}
    updated = sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=definition(other))
    assert updated["PipelineVersionId"] == 2
    assert sagemaker.update_pipeline(PipelineName=name, PipelineDescription="text")["PipelineVersionId"] == 2
    listed = sagemaker.list_pipeline_versions(PipelineName=arn)["PipelineVersionSummaries"]
    assert [version["PipelineVersionId"] for version in listed] == [2, 1]
    assert sagemaker.describe_pipeline(PipelineName=name, PipelineVersionId=1)["PipelineDefinition"] == definition(FAIL)
    sagemaker.update_pipeline_version(PipelineArn=arn, PipelineVersionId=1, PipelineVersionDisplayName="first")
    _, steps, execution = run(sagemaker, name, PipelineVersionId=1)
    assert steps["Say"]["FailureReason"] == "no"
    assert sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)["PipelineVersionId"] == 1
    first = sagemaker.list_pipeline_versions(PipelineName=name, SortOrder="Ascending")["PipelineVersionSummaries"][0]
    assert (first["PipelineVersionDisplayName"], first["LastExecutionPipelineExecutionArn"]) == ("first", execution)
    assert run(sagemaker, name)[1]["Say"]["FailureReason"] == "second"
    for call in (sagemaker.describe_pipeline, sagemaker.start_pipeline_execution):
        with pytest.raises(ClientError, match="ResourceNotFound.*version 3"):
            call(PipelineName=name, PipelineVersionId=3)


def test_pipeline_and_execution_are_found_by_arn(sagemaker, name):
    arn = create(sagemaker, name, FAIL)
    assert sagemaker.describe_pipeline(PipelineName=arn)["PipelineName"] == name
    execution = start(sagemaker, arn)
    wait(sagemaker, execution)
    (listed,) = sagemaker.list_pipeline_executions(PipelineName=arn)["PipelineExecutionSummaries"]
    assert listed["PipelineExecutionArn"] == execution
    with pytest.raises(ClientError, match="ResourceNotFound"):
        start(sagemaker, arn.replace("us-east-1", "eu-west-1"))


def test_pipelines_are_listed_by_prefix_time_order_and_page(sagemaker, name):
    names = [f"{name[:47]}-{letter}" for letter in "abcde"]
    for each in names:
        create(sagemaker, each, FAIL)
    times = [sagemaker.describe_pipeline(PipelineName=each)["CreationTime"] for each in names]
    options = {"PipelineNamePrefix": name[:47], "SortBy": "Name"}
    pages = sagemaker.get_paginator("list_pipelines").paginate(
        **options, SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    assert [each["PipelineName"] for page in pages for each in page["PipelineSummaries"]] == names
    after = sagemaker.list_pipelines(**options, CreatedAfter=times[2] - dt.timedelta(microseconds=500))
    before = sagemaker.list_pipelines(PipelineNamePrefix=name[:47], CreatedBefore=times[0])
    assert len(after["PipelineSummaries"]) in (2, 3)
    assert before["PipelineSummaries"] == []
    with pytest.raises(ClientError, match="ValidationException.*pagination token"):
        sagemaker.list_pipelines(NextToken="nonsense")
    token = sagemaker.list_pipelines(**options, MaxResults=1)["NextToken"]
    with pytest.raises(ClientError, match="ValidationException.*pagination token"):
        sagemaker.list_pipeline_executions(PipelineName=names[0], NextToken=token)


# --- Executions -------------------------------------------------------------------------------------------


def test_executions_are_listed_by_time_and_order(sagemaker, name):
    create(sagemaker, name, FAIL)
    arns = [run(sagemaker, name)[2] for _ in range(3)]
    times = [sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["CreationTime"] for arn in arns]

    def listed(**options):
        answer = sagemaker.list_pipeline_executions(PipelineName=name, **options)
        return [each["PipelineExecutionArn"] for each in answer["PipelineExecutionSummaries"]]

    assert listed() == arns[::-1]
    assert listed(SortOrder="Ascending") == arns
    assert listed(SortBy="PipelineExecutionArn", SortOrder="Ascending") == sorted(arns)
    later, year = times[-1] + dt.timedelta(seconds=1), dt.timedelta(days=365)
    assert (listed(CreatedAfter=later), listed(CreatedBefore=later)) == ([], arns[::-1])
    assert (listed(CreatedAfter=later - year), listed(CreatedBefore=later - year)) == (arns[::-1], [])


def test_running_pipeline_cannot_be_deleted(sagemaker, name):
    create(sagemaker, name, processing("Slow", "stopped.wait(60)"))
    arn = start(sagemaker, name)
    with pytest.raises(ClientError, match="ConflictException"):
        sagemaker.delete_pipeline(PipelineName=name)
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    wait(sagemaker, arn)
    sagemaker.delete_pipeline(PipelineName=name)
    for call in (sagemaker.describe_pipeline_execution, sagemaker.list_pipeline_execution_steps):
        with pytest.raises(ClientError, match="ResourceNotFound"):
            call(PipelineExecutionArn=arn)


def test_execution_can_be_updated(sagemaker, name):
    create(sagemaker, name, FAIL)
    _, _, arn = run(sagemaker, name, PipelineExecutionDescription="text")
    before = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    sagemaker.update_pipeline_execution(PipelineExecutionArn=arn, PipelineExecutionDisplayName="shown")
    after = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    assert (after["PipelineExecutionDisplayName"], after["PipelineExecutionDescription"]) == ("shown", "text")
    assert after["LastModifiedTime"] > before["LastModifiedTime"] >= before["CreationTime"]
    (listed,) = sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    assert listed["PipelineExecutionDisplayName"] == "shown"


def test_limit_of_a_running_execution_can_be_raised(sagemaker, name):
    go = threading.Event()
    CONTAINERS.events = {"go": go}
    steps = [processing(f"Wait{number}", "go.wait(60)", output=f"s3://bkt/{name}") for number in range(2)]
    create(sagemaker, name, *steps, ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    arn = start(sagemaker, name)
    end = time.monotonic() + 30
    while len(steps_of(sagemaker, arn)) < 1:
        time.sleep(0.02)
    parallelism = {"MaxParallelExecutionSteps": 2}
    sagemaker.update_pipeline_execution(PipelineExecutionArn=arn, ParallelismConfiguration=parallelism)
    while len(steps_of(sagemaker, arn)) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    assert set(steps_of(sagemaker, arn)) == {"Wait0", "Wait1"}
    go.set()
    description = wait(sagemaker, arn)
    assert (description["PipelineExecutionStatus"], description["ParallelismConfiguration"]) == (
        "Succeeded",
        parallelism,
    )
    with pytest.raises(ClientError, match="ConflictException"):
        sagemaker.update_pipeline_execution(PipelineExecutionArn=arn, ParallelismConfiguration=parallelism)


def test_failed_execution_is_retried_once_for_a_token(sagemaker, name):
    create(sagemaker, name, FAIL)
    _, _, arn = run(sagemaker, name)
    token = {"ClientRequestToken": "r" * 32}
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, **token)
    wait(sagemaker, arn)
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, **token)
    assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Failed"
    create(sagemaker, f"{name[:47]}-good", processing("Write", output=f"s3://bkt/{name}"))
    _, _, good = run(sagemaker, f"{name[:47]}-good")
    for call in (sagemaker.retry_pipeline_execution, sagemaker.stop_pipeline_execution):
        with pytest.raises(ClientError, match="ConflictException"):
            call(PipelineExecutionArn=good)


def test_token_of_a_start_is_valid_for_its_arguments_only(sagemaker, name):
    parameter = {"Name": "P", "Type": "String", "DefaultValue": "a"}
    create(sagemaker, name, FAIL, parameters=[parameter])
    token = {"ClientRequestToken": "s" * 32}
    arn = start(sagemaker, name, **token)
    assert start(sagemaker, name, **token) == arn
    with pytest.raises(ClientError, match="ConflictException"):
        start(sagemaker, name, **token, PipelineParameters=[{"Name": "P", "Value": "b"}])
    assert len(sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]) == 1


def test_names_and_descriptions_of_steps_are_shown(sagemaker, name):
    create(sagemaker, name, {**FAIL, "DisplayName": "Shown", "Description": "Why it fails"})
    step = run(sagemaker, name)[1]["Say"]
    assert (step["StepDisplayName"], step["StepDescription"]) == ("Shown", "Why it fails")


# --- Nothing is trusted whose world is gone ----------------------------------------------------------------


CACHED = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"}}


def is_cached(sagemaker, name):
    status, steps, _ = run(sagemaker, name)
    assert status == "Succeeded", steps
    return "CacheHitResult" in steps["Write"]


def test_result_is_reused_as_long_as_its_objects_exist(endpoint, sagemaker, name):
    create(sagemaker, name, processing("Write", output=f"s3://bkt/{name}", **CACHED))
    assert [is_cached(sagemaker, name) for _ in range(2)] == [False, True]
    endpoint.client("s3").delete_object(Bucket="bkt", Key=f"{name}/file.txt")
    assert [is_cached(sagemaker, name) for _ in range(2)] == [False, True]


def test_pipeline_that_is_created_again_has_no_executions_and_no_results(sagemaker, name):
    step = processing("Write", output=f"s3://bkt/{name}", **CACHED)
    create(sagemaker, name, step)
    assert [is_cached(sagemaker, name) for _ in range(2)] == [False, True]
    sagemaker.delete_pipeline(PipelineName=name)
    create(sagemaker, name, step)
    assert sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"] == []
    assert is_cached(sagemaker, name) is False


# --- Selected steps ----------------------------------------------------------------------------------------


def chain(name):
    read = [{"InputName": "in", "S3Input": {"S3Uri": f"s3://bkt/{name}", "LocalPath": "/opt/ml/processing/input",
             "S3DataType": "S3Prefix", "S3InputMode": "File"}}]  # fmt: skip
    read[0]["S3Input"]["S3Uri"] = {"Get": "Steps.A.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}
    second = processing("B", output=f"s3://bkt/{name}-b")
    second["Arguments"]["ProcessingInputs"] = read
    third = processing("C", output=f"s3://bkt/{name}-c", DependsOn=["B"])
    return processing("A", output=f"s3://bkt/{name}"), second, third


def test_selected_steps_use_the_results_of_the_earlier_execution(sagemaker, name):
    create(sagemaker, name, *chain(name))
    _, _, source = run(sagemaker, name)
    config = {"SourcePipelineExecutionArn": source, "SelectedSteps": [{"StepName": "B"}]}
    status, steps, arn = run(sagemaker, name, SelectiveExecutionConfig=config)
    assert (status, set(steps)) == ("Succeeded", {"A", "B"})
    assert steps["A"]["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": source}
    assert "SelectiveExecutionResult" not in steps["B"]
    assert sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["SelectiveExecutionConfig"] == config
    status, steps, _ = run(sagemaker, name, SelectiveExecutionConfig={"SelectedSteps": [{"StepName": "C"}]})
    assert (status, set(steps)) == ("Succeeded", {"C"})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"SelectedSteps": [{"StepName": "BB"}]}, "no step 'BB'; did you mean 'B'"),
        ({"SelectedSteps": [{"StepName": "B"}]}, "SourcePipelineExecutionArn is required.*step 'A'"),
        ({"SelectedSteps": [{"StepName": "C"}, {"StepName": "C"}]}, "a step is selected twice"),
    ],
)
def test_selection_that_cannot_be_executed_is_refused_before_anything_runs(sagemaker, name, config, message):
    create(sagemaker, name, *chain(name))
    with pytest.raises(ClientError, match=message):
        start(sagemaker, name, SelectiveExecutionConfig=config)
    assert sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"] == []


def test_source_of_another_pipeline_or_without_the_result_is_refused(sagemaker, name):
    create(sagemaker, name, *chain(name))
    create(sagemaker, f"{name[:47]}-other", FAIL)
    _, _, other = run(sagemaker, f"{name[:47]}-other")
    _, _, without = run(sagemaker, name, SelectiveExecutionConfig={"SelectedSteps": [{"StepName": "C"}]})
    for source, message in ((other, "not an execution of pipeline"), (without, "step 'A', which has not succeeded")):
        config = {"SourcePipelineExecutionArn": source, "SelectedSteps": [{"StepName": "B"}]}
        with pytest.raises(ClientError, match=f"ValidationException.*{message}"):
            start(sagemaker, name, SelectiveExecutionConfig=config)


# --- What is not supported is refused by name before anything runs -----------------------------------------


def changed_training(**changes):
    step = training("Train")
    channel = {
        "ChannelName": "train",
        "DataSource": {"S3DataSource": {"S3Uri": "s3://bkt/in", "S3DataType": "S3Prefix"}},
        **changes.pop("channel", {}),
    }
    step["Arguments"]["AlgorithmSpecification"] |= changes.pop("specification", {})
    step["Arguments"] |= {"InputDataConfig": [channel], **changes}
    return step


def changed_processing(**changes):
    step = processing("Process")
    source = {"S3Uri": "s3://bkt/in", "LocalPath": "/opt/ml/processing/input", "S3DataType": "S3Prefix",
              "S3InputMode": "File", **changes.pop("source", {})}  # fmt: skip
    step["Arguments"]["ProcessingInputs"] = [{"InputName": "in", "S3Input": source, **changes.pop("input", {})}]
    step["Arguments"]["ProcessingOutputConfig"]["Outputs"][0]["S3Output"] |= changes.pop("target", {})
    step["Arguments"]["AppSpecification"] |= changes
    return step


UP = "/opt/ml/processing/../.."
MODE = {"Get": "Parameters.Mode"}
REFUSED = {
    "pipe mode": (changed_training(specification={"TrainingInputMode": "Pipe"}), "channel 'train': InputMode 'Pipe'"),
    "pipe mode of a channel": (changed_training(channel={"InputMode": "Pipe"}), "channel 'train': InputMode 'Pipe'"),
    "pipe mode by a parameter": (changed_training(specification={"TrainingInputMode": MODE}), "InputMode 'Pipe'"),
    "pipe mode of an input": (changed_processing(source={"S3InputMode": "Pipe"}), "input 'in': S3InputMode 'Pipe'"),
    "gzip with files": (changed_training(channel={"CompressionType": "Gzip"}), "CompressionType 'Gzip'"),
    "gzip of an input": (changed_processing(source={"S3CompressionType": "Gzip"}), "S3CompressionType 'Gzip'"),
    "record io": (changed_training(channel={"RecordWrapperType": "RecordIO"}), "RecordWrapperType 'RecordIO'"),
    "app managed": (changed_processing(input={"AppManaged": True}), "input 'in': AppManaged"),
    "entry point": (
        changed_processing(ContainerEntrypoint=["/opt/ml/../../bin/sh"]),
        "ContainerEntrypoint '/opt/ml/../../bin/sh'",
    ),
    "instance groups": (
        changed_training(
            ResourceConfig={
                "InstanceGroups": [
                    {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1},
                    {"InstanceGroupName": "b", "InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
                ],
                "VolumeSizeInGB": 1,
            }
        ),
        "InstanceGroups",
    ),
    "channel": (changed_training(channel={"ChannelName": ".."}), "channel '..'"),
}


@pytest.mark.parametrize(
    "step",
    [
        changed_processing(source={"LocalPath": UP}),
        changed_processing(target={"LocalPath": UP}),
        changed_training(CheckpointConfig={"S3Uri": "s3://bkt/c", "LocalPath": "/opt/ml/checkpoints/../../../x"}),
    ],
    ids=["input", "output", "checkpoints"],
)
def test_path_that_leaves_the_container_is_refused_at_creation(sagemaker, name, step):
    with pytest.raises(ClientError, match=r"ValidationException.*LocalPath: .* contains '\.\.'"):
        create(sagemaker, name, step)


@pytest.mark.representatives(5)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_executed_is_refused_before_anything_runs(sagemaker, name, kind):
    step, message = REFUSED[kind]
    first = processing("First", output=f"s3://bkt/{name}")
    create(sagemaker, name, first, step, parameters=[{"Name": "Mode", "Type": "String", "DefaultValue": "Pipe"}])
    with pytest.raises(ClientError, match="ValidationException") as caught:
        start(sagemaker, name)
    assert f"step '{step['Name']}': " in str(caught.value)
    assert message in str(caught.value)
    assert sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"] == []


def test_uncompressed_model_is_written_as_single_objects(endpoint, sagemaker, name):
    code = "from pathlib import Path as P; P('/opt/ml/model/a').touch(); P('/opt/ml/output/data/b').touch()"
    output = {"S3OutputPath": f"s3://bkt/{name}", "CompressionType": "NONE"}
    create(sagemaker, name, training("Train", code, OutputDataConfig=output))
    status, steps, _ = run(sagemaker, name)
    assert status == "Succeeded", steps
    job = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    described = sagemaker.describe_training_job(TrainingJobName=job)
    prefix = f"{name}/{job}/output"
    assert described["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://bkt/{prefix}/model/"
    keys = [item["Key"] for item in endpoint.client("s3").list_objects_v2(Bucket="bkt", Prefix=name)["Contents"]]
    assert keys == [f"{prefix}/data/b", f"{prefix}/model/a"]


def test_job_names_can_be_used_in_the_arguments_of_their_step(endpoint, sagemaker, name):
    def here(variable):
        return {"Std:Join": {"On": "/", "Values": [f"s3://bkt/{name}", {"Get": f"Execution.{variable}"}]}}

    train = training("Train", OutputDataConfig={"S3OutputPath": here("TrainingJobName")})
    create(sagemaker, name, processing("Process", output=here("ProcessingJobName")), train)
    status, steps, _ = run(sagemaker, name)
    assert status == "Succeeded", steps
    process = steps["Process"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    model = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    keys = [item["Key"] for item in endpoint.client("s3").list_objects_v2(Bucket="bkt", Prefix=f"{name}/")["Contents"]]
    assert sorted(keys) == sorted([f"{name}/{process}/file.txt", f"{name}/{model}/{model}/output/model.tar.gz"])


def test_job_name_in_a_step_without_such_a_job_is_refused(sagemaker, name):
    step = {**FAIL, "Arguments": {"ErrorMessage": {"Get": "Execution.TrainingJobName"}}}
    create(sagemaker, name, step)
    with pytest.raises(ClientError, match=r"ValidationException.*'Execution\.TrainingJobName' has no value"):
        start(sagemaker, name)


# --- Jobs --------------------------------------------------------------------------------------------------


def test_jobs_are_listed_and_described_while_they_run_and_afterwards(sagemaker, name):
    started, go = threading.Event(), threading.Event()
    CONTAINERS.events = {"started": started, "go": go}
    create(sagemaker, name, training("Train", "started.set(); go.wait(60)"))
    arn = start(sagemaker, name)
    assert started.wait(60)
    job = steps_of(sagemaker, arn)["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    (listed,) = sagemaker.list_training_jobs(NameContains=job, StatusEquals="InProgress")["TrainingJobSummaries"]
    assert (listed["TrainingJobName"], "TrainingEndTime" in listed) == (job, False)
    assert sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "InProgress"
    go.set()
    wait(sagemaker, arn)
    (listed,) = sagemaker.list_training_jobs(NameContains=job)["TrainingJobSummaries"]
    assert (listed["TrainingJobStatus"], listed["TrainingEndTime"] >= listed["CreationTime"]) == ("Completed", True)
    described = sagemaker.describe_training_job(TrainingJobName=job)
    assert (described["SecondaryStatus"], described["FinalMetricDataList"][0]["MetricName"]) == ("Completed", "loss")


def test_tuning_job_and_its_training_jobs_are_described_and_listed(sagemaker, name):
    create(sagemaker, name, tuning("Tune"))
    status, steps, _ = run(sagemaker, name)
    assert status == "Succeeded", steps
    job = steps["Tune"]["Metadata"]["TuningJob"]["Arn"].rpartition("/")[2]
    described = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=job)
    assert described["HyperParameterTuningJobStatus"] == "Completed"
    assert described["TrainingJobStatusCounters"]["Completed"] == 2
    (listed,) = sagemaker.list_hyper_parameter_tuning_jobs(NameContains=job)["HyperParameterTuningJobSummaries"]
    assert (listed["Strategy"], listed["ResourceLimits"]["MaxNumberOfTrainingJobs"]) == ("Random", 2)
    trials = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=job, SortBy="FinalObjectiveMetricValue"
    )["TrainingJobSummaries"]
    assert [trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for trial in trials] == [0.5, 0.5]
    assert all(set(trial["TunedHyperParameters"]) == {"n"} for trial in trials)
    names = [each["TrainingJobName"] for each in sagemaker.list_training_jobs()["TrainingJobSummaries"]]
    assert {trial["TrainingJobName"] for trial in trials} <= set(names)


@pytest.mark.representatives(2)
@pytest.mark.parametrize(
    ("change", "is_reused"),
    [
        ({}, True),
        ({"ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 9}}, True),
        ({"OutputDataConfig": {"S3OutputPath": "s3://bkt/elsewhere"}}, True),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 30}}, True),
        ({"StaticHyperParameters": {"a": "1"}}, False),
        ({"image": "image:2"}, False),
    ],
)
def test_documented_arguments_of_a_tuning_step_decide_about_its_reuse(sagemaker, name, change, is_reused):
    create(sagemaker, name, tuning("Tune"))
    assert run(sagemaker, name)[0] == "Succeeded"
    sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=definition(tuning("Tune", **change)))
    status, steps, _ = run(sagemaker, name)
    assert (status, "CacheHitResult" in steps["Tune"]) == ("Succeeded", is_reused)


# --- Callback steps ----------------------------------------------------------------------------------------


def callback(queue, *, outputs=()):
    declared = [{"OutputName": output, "OutputType": kind} for output, kind in outputs]
    return {
        "Name": "Ask",
        "Type": "Callback",
        "SqsQueueUrl": queue,
        "Arguments": {"a": 1},
        "OutputParameters": declared,
    }


@pytest.fixture
def queue(endpoint, name):
    return endpoint.client("sqs").create_queue(QueueName=name)["QueueUrl"]


def receive(endpoint, queue):
    sqs, end = endpoint.client("sqs"), time.monotonic() + 30
    while time.monotonic() < end:
        for message in sqs.receive_message(QueueUrl=queue).get("Messages", ()):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            return json.loads(message["Body"])
        time.sleep(0.02)
    raise AssertionError("there is no message")


def test_stopped_execution_waits_for_the_answer_of_its_callback(endpoint, sagemaker, name, queue):
    create(sagemaker, name, callback(queue))
    arn = start(sagemaker, name)
    question = receive(endpoint, queue)
    assert (len(question["token"]), question["token"].isalnum(), question["status"]) == (10, True, "Executing")
    metadata = steps_of(sagemaker, arn)["Ask"]["Metadata"]["Callback"]
    assert (metadata["CallbackToken"], metadata["SqsQueueUrl"]) == (question["token"], queue)
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    again = receive(endpoint, queue)
    assert (again["token"], again["status"]) == (question["token"], "Stopping")
    description = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    assert description["PipelineExecutionStatus"] == "Stopping"
    assert steps_of(sagemaker, arn)["Ask"]["StepStatus"] == "Stopping"
    sagemaker.send_pipeline_execution_step_success(CallbackToken=question["token"])
    assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Stopped"
    assert steps_of(sagemaker, arn)["Ask"]["StepStatus"] == "Stopped"


def test_outputs_of_a_callback_are_checked_and_have_their_types(endpoint, sagemaker, name, queue):
    ask = callback(queue, outputs=[("n", "Integer"), ("ok", "Boolean")])
    condition = {"Type": "Equals", "LeftValue": {"Get": "Steps.Ask.OutputParameters['n']"}, "RightValue": 3}
    judge = {
        "Name": "Judge",
        "Type": "Condition",
        "Arguments": {"Conditions": [condition], "IfSteps": [], "ElseSteps": [FAIL]},
    }
    create(sagemaker, name, ask, judge)
    arn = start(sagemaker, name)
    token = receive(endpoint, queue)["token"]
    for outputs, message in (({"n": "three"}, "not of type Integer"), ({"m": "3"}, "declares no output 'm'")):
        items = [{"Name": key, "Value": value} for key, value in outputs.items()]
        with pytest.raises(ClientError, match=f"ValidationException.*{message}"):
            sagemaker.send_pipeline_execution_step_success(CallbackToken=token, OutputParameters=items)
    sagemaker.send_pipeline_execution_step_success(CallbackToken=token, OutputParameters=[{"Name": "n", "Value": "3"}])
    assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded"
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.send_pipeline_execution_step_success(CallbackToken=token)


def test_waiting_callbacks_leave_the_machine_to_other_steps(endpoint, sagemaker, name, queue):
    asks = [{**callback(queue), "Name": f"Ask{number}"} for number in range(3)]
    create(sagemaker, name, *asks, processing("Work", output=f"s3://bkt/{name}"))
    arn = start(sagemaker, name, ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    tokens = [receive(endpoint, queue)["token"] for _ in asks]
    end = time.monotonic() + 30
    while steps_of(sagemaker, arn).get("Work", {}).get("StepStatus") != "Succeeded" and time.monotonic() < end:
        time.sleep(0.02)
    for token in tokens:
        sagemaker.send_pipeline_execution_step_success(CallbackToken=token)
    assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded"


# --- Events ------------------------------------------------------------------------------------------------


def test_events_have_all_documented_fields(endpoint, sagemaker, name, queue):
    events = endpoint.client("events")
    target = endpoint.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["aws.sagemaker"]}), State="ENABLED")
    events.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": target["QueueArn"]}])
    container = {"Image": "image:1", "ModelDataUrl": f"s3://bkt/{name}/file.txt"}
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "DependsOn": ["Write"],
        "Arguments": {"ModelPackageGroupName": "events", "InferenceSpecification": {"Containers": [container],
                      "SupportedContentTypes": ["a/b"], "SupportedResponseMIMETypes": ["a/b"]}},
    }  # fmt: skip
    arn = create(sagemaker, name, processing("Write", output=f"s3://bkt/{name}"), register)
    status, steps, execution = run(
        sagemaker, name, PipelineExecutionDisplayName="shown", PipelineExecutionDescription="text"
    )
    assert status == "Succeeded", steps
    received = {}
    while len(received) < 3:
        event = receive(endpoint, queue)
        detail = event["detail"]
        received[detail.get("currentPipelineExecutionStatus") or event["detail-type"]] = event
    events.remove_targets(Rule="all", Ids=["1"])
    ended = received["Succeeded"]
    assert ended["resources"] == received["Executing"]["resources"] == [arn, execution]
    times = {ended["detail"].pop("executionStartTime")[-1], ended["detail"].pop("executionEndTime")[-1]}
    assert times == {"Z"}
    assert ended["detail"] == {
        "pipelineArn": arn,
        "pipelineExecutionArn": execution,
        "pipelineExecutionDisplayName": "shown",
        "pipelineExecutionDescription": "text",
        "currentPipelineExecutionStatus": "Succeeded",
        "previousPipelineExecutionStatus": "Executing",
    }
    package = received["SageMaker Model Package State Change"]
    assert package["resources"] == [steps["Register"]["Metadata"]["RegisterModel"]["Arn"]]
    assert set(package["detail"]) == {
        *("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "CreationTime", "InferenceSpecification"),
        *("ModelPackageStatus", "ModelPackageStatusDetails", "CertifyForMarketplace", "ModelApprovalStatus"),
        *("MetadataProperties", "ModelMetrics", "LastModifiedTime"),
    }
    assert package["detail"]["MetadataProperties"] == {"GeneratedBy": execution}
    assert package["detail"]["InferenceSpecification"]["Containers"][0]["Image"] == "image:1"
