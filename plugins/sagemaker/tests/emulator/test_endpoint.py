"""The endpoint as a real process on loopback, used through boto3 and the SageMaker SDK."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

boto3 = pytest.importorskip("boto3", reason="the extra 'aws' is not installed")
pytest.importorskip("moto", reason="the extra 'test' is not installed")
from botocore.exceptions import ClientError  # noqa: E402  after the skip
from mlops_sagemaker.checking import check_text  # noqa: E402  the same

from mlops_core.errors import ExitCode  # noqa: E402  the same

ROLE = "arn:aws:iam::123456789012:role/example"
TESTS = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from mlops_core.cli import main; main()"]

pytestmark = pytest.mark.slow


@contextmanager
def serving(folder, *options):
    command = [*COMMAND, "--workspace", str(folder), "sagemaker", "emulate", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("SageMaker endpoint: http://127.0.0.1:"), process.stderr.read()
        assert re.search(r"http://\S+?(?=;)", line)
        exports = [process.stdout.readline() for _ in range(2)]
        yield dict(part.split("=", 1) for export in exports for part in export.split()[1:]), process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("endpoint"), "--jobs", "4") as (variables, _):
        yield variables


@pytest.fixture
def client(variables):
    return lambda service: client_of(variables, service)


def client_of(variables, service):
    return boto3.client(
        service,
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_DEFAULT_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


def processing(name, code, *, inputs=(), outputs=(), **more):
    arguments = {
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "AppSpecification": {"ImageUri": "image:1", "ContainerEntrypoint": ["python3", "-c", code]},
        "RoleArn": ROLE,
        "ProcessingInputs": [
            {
                "InputName": input_name,
                "S3Input": {
                    "S3Uri": uri,
                    "LocalPath": f"/opt/ml/processing/input/{input_name}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for input_name, uri in inputs
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": output,
                    "S3Output": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/output/{output}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for output, uri in outputs
            ]
        },
    }
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **more}


COUNT = """
import json
P = "/opt/ml/processing/"
n = len(open(P + "input/data/lines.txt").read().split())
json.dump({"metrics": {"lines": {"value": n}}}, open(P + "output/report/report.json", "w"))
"""


def gated(name):
    """Return a pipeline that counts lines and registers a model if there are enough."""
    count = processing(
        "Count",
        COUNT,
        inputs=[("data", f"s3://{name}/in/")],
        outputs=[("report", f"s3://{name}/out")],
        PropertyFiles=[{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "report.json"}],
    )
    lines = {
        "Std:JsonGet": {"PropertyFile": {"Get": "Steps.Count.PropertyFiles.Report"}, "Path": "metrics.lines.value"}
    }
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": name,
            "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [{"Image": "image:1", "ModelDataUrl": f"s3://{name}/out/report.json"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        },
    }
    message = {"Std:Join": {"On": " ", "Values": ["fewer lines than", {"Get": "Parameters.Enough"}]}}
    judge = {
        "Name": "Judge",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [
                {"Type": "GreaterThanOrEqualTo", "LeftValue": lines, "RightValue": {"Get": "Parameters.Enough"}}
            ],
            "IfSteps": [register],
            "ElseSteps": [{"Name": "Reject", "Type": "Fail", "Arguments": {"ErrorMessage": message}}],
        },
    }
    return definition(count, judge, parameters=[{"Name": "Enough", "Type": "Integer", "DefaultValue": 3}])


def definition(*steps, parameters=()):
    return json.dumps({"Version": "2020-12-01", "Metadata": {}, "Parameters": list(parameters), "Steps": list(steps)})


def create(client, name, text):
    sagemaker = client("sagemaker")
    client("s3").create_bucket(Bucket=name)
    client("s3").put_object(Bucket=name, Key="in/lines.txt", Body=b"a\nb\nc\n")
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE, ClientRequestToken="t" * 32)
    return sagemaker


def start(sagemaker, name, **parameters):
    values = [{"Name": key, "Value": value} for key, value in parameters.items()]
    response = sagemaker.start_pipeline_execution(
        PipelineName=name, PipelineParameters=values, ClientRequestToken=os.urandom(16).hex()
    )
    return response["PipelineExecutionArn"]


def wait(sagemaker, arn, *, until=("Succeeded", "Failed", "Stopped")):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        description = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        if description["PipelineExecutionStatus"] in until:
            return description
        time.sleep(0.05)
    raise AssertionError(f"the execution still has status {description['PipelineExecutionStatus']}")


def steps_of(sagemaker, arn):
    pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
        PipelineExecutionArn=arn, SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    return {step["StepName"]: step for page in pages for step in page["PipelineExecutionSteps"]}


def test_pipeline_is_executed_and_its_model_registered_and_approved(client):
    sagemaker = create(client, "accepted", gated("accepted"))
    arn = start(sagemaker, "accepted")
    description = wait(sagemaker, arn)
    assert (description["PipelineExecutionStatus"], description.get("FailureReason")) == ("Succeeded", None)
    steps = steps_of(sagemaker, arn)
    assert {name: step["StepStatus"] for name, step in steps.items()} == dict.fromkeys(
        ("Count", "Judge", "Register"), "Succeeded"
    )
    assert steps["Judge"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    report = client("s3").get_object(Bucket="accepted", Key="out/report.json")["Body"].read()
    assert json.loads(report) == {"metrics": {"lines": {"value": 3}}}
    package = steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    assert sagemaker.describe_model_package(ModelPackageName=package)["ModelApprovalStatus"] == "PendingManualApproval"
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    (listed,) = sagemaker.list_model_packages(ModelPackageGroupName="accepted")["ModelPackageSummaryList"]
    assert (listed["ModelPackageArn"], listed["ModelApprovalStatus"]) == (package, "Approved")
    job = sagemaker.describe_processing_job(
        ProcessingJobName=steps["Count"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    )
    assert job["ProcessingJobStatus"] == "Completed"


def test_rejected_model_fails_the_execution_with_the_message_of_the_gate(client):
    sagemaker = create(client, "rejected", gated("rejected"))
    arn = start(sagemaker, "rejected", Enough="4")
    assert wait(sagemaker, arn)["FailureReason"] == "Step failure: One or multiple steps failed."
    steps = steps_of(sagemaker, arn)
    assert steps["Reject"]["FailureReason"] == "fewer lines than 4"
    assert "Register" not in steps
    (summary,) = sagemaker.list_pipeline_executions(PipelineName="rejected")["PipelineExecutionSummaries"]
    assert summary["PipelineExecutionStatus"] == "Failed"
    groups = sagemaker.list_model_package_groups(NameContains="rejected")["ModelPackageGroupSummaryList"]
    assert groups == []


def test_log_of_a_failed_step_is_in_cloudwatch_and_its_job_has_the_reason(client):
    code = "import sys; print('first'); print('the reason'); sys.exit(3)"
    sagemaker = create(client, "logged", definition(processing("Bad", code)))
    arn = start(sagemaker, "logged")
    wait(sagemaker, arn)
    step = steps_of(sagemaker, arn)["Bad"]
    job = step["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    assert step["FailureReason"] == "AlgorithmError: See job logs for more information, exit code: 3"
    described = sagemaker.describe_processing_job(ProcessingJobName=job)
    assert (described["ProcessingJobStatus"], described["FailureReason"]) == ("Failed", step["FailureReason"])
    logs = client("logs")
    group = "/aws/sagemaker/ProcessingJobs"
    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=job)["logStreams"]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    assert [event["message"] for event in events] == ["first", "the reason"]


def test_stopped_execution_is_retried_without_repeating_steps(client, tmp_path):
    go, started = tmp_path / "go", tmp_path / "started"
    slow = """
import os, pathlib, time
place = pathlib.Path(os.environ["PLACE"])
(place / "started").touch()
while not (place / "go").exists():
    time.sleep(0.02)
"""
    quick = "import os; open(os.environ['PLACE'] + '/count', 'a').write('x')"
    steps = [processing("Quick", quick), processing("Slow", slow, DependsOn=["Quick"])]
    for step in steps:  # not in the command, which is limited to 256 characters
        step["Arguments"]["Environment"] = {"PLACE": str(tmp_path)}
    text = definition(*steps)
    sagemaker = create(client, "stopped", text)
    arn = start(sagemaker, "stopped")
    while not started.exists():
        time.sleep(0.05)
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="s" * 32)
    assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Stopped"
    assert steps_of(sagemaker, arn)["Slow"]["StepStatus"] == "Stopped"
    with pytest.raises(ClientError, match="ConflictException"):
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="s" * 32)
    go.touch()
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="r" * 32)
    assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded"
    assert (tmp_path / "count").read_text() == "x"


def test_events_of_executions_and_model_packages_reach_a_queue(client):
    sqs, events = client("sqs"), client("events")
    queue = sqs.create_queue(QueueName="events")["QueueUrl"]
    target = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["aws.sagemaker"]}), State="ENABLED")
    events.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": target}])
    sagemaker = create(client, "announced", gated("announced"))
    arn = start(sagemaker, "announced")
    wait(sagemaker, arn)
    package = steps_of(sagemaker, arn)["Register"]["Metadata"]["RegisterModel"]["Arn"]
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    statuses, end = [], time.monotonic() + 20
    while len(statuses) < 4 and time.monotonic() < end:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", ()):
            body = json.loads(message["Body"])
            if {arn, package} & set(body["resources"]):
                detail = body["detail"]
                statuses.append(detail.get("currentPipelineExecutionStatus") or detail["ModelApprovalStatus"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    events.remove_targets(Rule="all", Ids=["1"])
    assert sorted(statuses) == ["Approved", "Executing", "PendingManualApproval", "Succeeded"]


def callback(queue):
    return {
        "Name": "Ask",
        "Type": "Callback",
        "SqsQueueUrl": queue,
        "Arguments": {"question": "go on?"},
        "OutputParameters": [{"OutputName": "answer", "OutputType": "String"}],
    }


def receive_question(sqs, queue):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for message in sqs.receive_message(QueueUrl=queue).get("Messages", ()):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            return json.loads(message["Body"])
        time.sleep(0.05)
    raise AssertionError("the step sent no message")


def test_callback_step_waits_for_its_answer(client):
    sqs = client("sqs")
    queue = sqs.create_queue(QueueName="questions")["QueueUrl"]
    message = {"Std:Join": {"On": " ", "Values": ["the answer is", {"Get": "Steps.Ask.OutputParameters['answer']"}]}}
    text = definition(callback(queue), {"Name": "Say", "Type": "Fail", "Arguments": {"ErrorMessage": message}})
    sagemaker = create(client, "asking", text)
    arn = start(sagemaker, "asking")
    question = receive_question(sqs, queue)
    assert (question["arguments"], question["pipelineExecutionArn"]) == ({"question": "go on?"}, arn)
    answered = sagemaker.send_pipeline_execution_step_success(
        CallbackToken=question["token"], OutputParameters=[{"Name": "answer", "Value": "yes"}]
    )
    assert answered["PipelineExecutionArn"] == arn
    wait(sagemaker, arn)
    assert steps_of(sagemaker, arn)["Say"]["FailureReason"] == "the answer is yes"
    arn = start(sagemaker, "asking")
    question = receive_question(sqs, queue)
    sagemaker.send_pipeline_execution_step_failure(CallbackToken=question["token"], FailureReason="no answer today")
    wait(sagemaker, arn)
    assert steps_of(sagemaker, arn)["Ask"]["FailureReason"] == "ClientError: no answer today"
    with pytest.raises(ClientError, match="No step waits for the callback token"):
        sagemaker.send_pipeline_execution_step_failure(CallbackToken=question["token"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        (definition(processing("A", "pass", DependsOn=["B"])), "'B'"),
        (definition({"Name": "A", "Type": "Processing", "Arguments": {}}), "ProcessingResources"),
    ],
)
def test_definition_with_faults_is_refused(client, text, message):
    sagemaker = client("sagemaker")
    with pytest.raises(ClientError, match="ValidationException") as caught:
        sagemaker.create_pipeline(
            PipelineName="refused", PipelineDefinition=text, RoleArn=ROLE, ClientRequestToken="t" * 32
        )
    assert "Unable to parse pipeline definition" in str(caught.value)
    assert message in str(caught.value)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.describe_pipeline(PipelineName="refused")


def test_definition_can_be_read_from_s3(client):
    client("s3").create_bucket(Bucket="definitions")
    client("s3").put_object(Bucket="definitions", Key="d.json", Body=definition(processing("A", "pass")).encode())
    sagemaker = client("sagemaker")
    location = {"Bucket": "definitions", "ObjectKey": "d.json"}
    sagemaker.create_pipeline(
        PipelineName="from-s3", PipelineDefinitionS3Location=location, RoleArn=ROLE, ClientRequestToken="t" * 32
    )
    assert wait(sagemaker, start(sagemaker, "from-s3"))["PipelineExecutionStatus"] == "Succeeded"


def test_invalid_parameters_unknown_names_and_repeated_tokens_are_handled_like_in_the_service(client):
    sagemaker = create(client, "named", gated("named"))
    for parameters, message in (({"Enoug": "1"}, "no parameter 'Enoug'"), ({"Enough": "x"}, "not of type Integer")):
        with pytest.raises(ClientError, match=message):
            start(sagemaker, "named", **parameters)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        start(sagemaker, "unknown")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.describe_pipeline_execution(
            PipelineExecutionArn="arn:aws:sagemaker:us-east-1:123456789012:pipeline/x/execution/y"
        )
    same = [
        sagemaker.start_pipeline_execution(PipelineName="named", ClientRequestToken="n" * 32)["PipelineExecutionArn"]
        for _ in range(2)
    ]
    assert same[0] == same[1]
    wait(sagemaker, same[0])


def test_model_package_and_its_group_can_be_deleted(client):
    sagemaker = create(client, "deleted", gated("deleted"))
    arn = start(sagemaker, "deleted")
    wait(sagemaker, arn)
    package = steps_of(sagemaker, arn)["Register"]["Metadata"]["RegisterModel"]["Arn"]
    with pytest.raises(ClientError, match="ConflictException"):
        sagemaker.delete_model_package_group(ModelPackageGroupName="deleted")
    sagemaker.delete_model_package(ModelPackageName=package)
    sagemaker.delete_model_package_group(ModelPackageGroupName="deleted")
    assert sagemaker.list_model_package_groups(NameContains="deleted")["ModelPackageGroupSummaryList"] == []


def test_compiled_pipeline_runs_on_the_endpoint(toy, tmp_path, monkeypatch):
    from mlops_sagemaker.compiler.definition import compile_pipeline
    from mlops_sagemaker.settings import load_settings

    from mlops_core.api import prepare_run

    account = ("account.bucket=own", f"account.role={ROLE}", "account.image=image:1")
    compiled = compile_pipeline(prepare_run("TOY"), load_settings(overrides=account), dataset_digest="d" * 64)
    words = "\n".join(f"{'x' * (n % 12 + 1)},{'long' if n % 12 + 1 > 6 else 'short'}" for n in range(60))
    with serving(tmp_path / "endpoint") as (variables, _):
        s3, sagemaker = client_of(variables, "s3"), client_of(variables, "sagemaker")
        s3.create_bucket(Bucket="own")
        s3.put_object(Bucket="own", Key="train/datasets/words/words.csv", Body=words.encode())
        sagemaker.create_pipeline(
            PipelineName="own",
            PipelineDefinition=compiled.to_compact_text(),
            RoleArn=ROLE,
            ClientRequestToken="t" * 32,
        )
        for parameters in ({}, {"q_acc": "1.0"}):
            arn = start(sagemaker, "own", **parameters)
            description = wait(sagemaker, arn)
            assert description["PipelineExecutionStatus"] == "Succeeded", steps_of(sagemaker, arn)
        assert len(sagemaker.list_model_packages(ModelPackageGroupName="TOY")["ModelPackageSummaryList"]) == 2
        cached = steps_of(sagemaker, arn)["train"]["CacheHitResult"]["SourcePipelineExecutionArn"]
        assert cached != arn


SDK = {
    "3": os.environ.get("MLOPS_TEST_SDK_PYTHON") or (sys.executable if importlib.util.find_spec("sagemaker") else None),
    "2": os.environ.get("MLOPS_TEST_SDK2_PYTHON"),
}
"""Path of a Python with the SageMaker SDK, by major version; another environment, because it needs 132 packages."""


def needs_sdk(version):
    variable = {"3": "MLOPS_TEST_SDK_PYTHON", "2": "MLOPS_TEST_SDK2_PYTHON"}[version]
    return pytest.mark.skipif(
        SDK[version] is None, reason=f"the SageMaker SDK {version} is not installed and {variable} is not set"
    )


def run_sdk(version, script, *arguments, variables, folder):
    settings = folder / "config.yaml"
    modules = {"TelemetryOptOut": True}
    settings.write_text(json.dumps({"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": modules}}}))
    environ = {**variables, "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings)}
    command = [SDK[version], str(TESTS / script), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environ, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@needs_sdk("3")
def test_sagemaker_sdk_works_with_the_endpoint(variables, tmp_path):
    out = run_sdk("3", "sdk_client.py", variables=variables, folder=tmp_path)
    assert json.loads(out.splitlines()[-1]) == [
        {"status": "Succeeded", "steps": {"Measure": "Succeeded", "Judge": "Succeeded"}},
        {"status": "Failed", "steps": {"Measure": "Succeeded", "Judge": "Succeeded", "Reject": "Failed"}},
        {"status": "Stopped", "steps": {"Wait": "Stopped"}},
    ]


@pytest.mark.parametrize("version", [pytest.param(version, marks=needs_sdk(version)) for version in SDK])
def test_sdk_writes_the_definitions_that_the_tests_use(variables, tmp_path, version):
    output = tmp_path / "written.json"
    run_sdk(version, f"definitions/write_with_sdk_{version}.py", str(output), variables=variables, folder=tmp_path)
    text = output.read_text()
    assert check_text(text) == ()
    text = re.sub(r"/code/[0-9a-f]{64}/sourcedir", "/code/sourcedir", re.sub(r"/example-\d{14}/", "/example-1/", text))
    kept = TESTS / "definitions" / f"written_by_sdk_v{version}.json"
    assert json.loads(text) == json.loads(kept.read_text())


def test_every_action_is_allowed(client):
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = client("iam").create_role(RoleName="simulated", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    actions = ["sagemaker:CreatePipeline", "s3:GetObject"]
    results = client("iam").simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions)["EvaluationResults"]
    assert [(one["EvalActionName"], one["EvalDecision"]) for one in results] == [(name, "allowed") for name in actions]


def test_ctrl_c_stops_the_endpoint_and_its_executions(tmp_path):
    mark = tmp_path / "mark"
    code = f"import time; open('{mark}', 'w').write('x'); time.sleep(60)"
    with serving(tmp_path / "endpoint") as (variables, process):
        sagemaker = client_of(variables, "sagemaker")
        text = definition(processing("Slow", code))
        sagemaker.create_pipeline(
            PipelineName="slow", PipelineDefinition=text, RoleArn=ROLE, ClientRequestToken="t" * 32
        )
        start(sagemaker, "slow")
        while not mark.exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == ExitCode.OK
    processes = subprocess.run(["pgrep", "-f", str(mark)], capture_output=True, text=True, check=False)
    assert processes.stdout == ""


def test_ctrl_c_does_not_wait_for_the_answer_of_a_callback(tmp_path):
    with serving(tmp_path / "endpoint") as (variables, process):
        sqs = client_of(variables, "sqs")
        queue = sqs.create_queue(QueueName="unanswered")["QueueUrl"]
        sagemaker = create(lambda service: client_of(variables, service), "waiting", definition(callback(queue)))
        start(sagemaker, "waiting")
        receive_question(sqs, queue)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == ExitCode.OK


def test_endpoint_that_starts_again_trusts_nothing_of_the_earlier_one(tmp_path):
    text = json.loads(gated("again"))
    text["Steps"][0]["CacheConfig"] = {"Enabled": True, "ExpireAfter": "P1D"}
    seen = []
    for _ in range(2):
        with serving(tmp_path / "endpoint") as (variables, _):
            seen.append(variables["AWS_SECRET_ACCESS_KEY"])
            assert client_of(variables, "s3").list_buckets()["Buckets"] == []
            assert client_of(variables, "sagemaker").list_pipelines()["PipelineSummaries"] == []
            sagemaker = create(lambda service, where=variables: client_of(where, service), "again", json.dumps(text))
            assert sagemaker.list_pipeline_executions(PipelineName="again")["PipelineExecutionSummaries"] == []
            for is_reused in (False, True):
                arn = start(sagemaker, "again")
                assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded", steps_of(sagemaker, arn)
                assert ("CacheHitResult" in steps_of(sagemaker, arn)["Count"]) is is_reused
    assert seen[0] != seen[1]


def test_containers_can_use_the_endpoint_and_see_no_secret_of_the_user(tmp_path):
    code = "import boto3, os; boto3.client('s3').put_object(Bucket='seen', Key='e', Body=repr(dict(os.environ)))"
    os.environ["USERS_OWN_TOKEN"] = "users-secret"
    try:
        with serving(tmp_path / "endpoint") as (variables, _):
            sagemaker = create(
                lambda service: client_of(variables, service), "seen", definition(processing("See", code))
            )
            arn = start(sagemaker, "seen")
            assert wait(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded", steps_of(sagemaker, arn)
            seen = client_of(variables, "s3").get_object(Bucket="seen", Key="e")["Body"].read().decode()
    finally:
        del os.environ["USERS_OWN_TOKEN"]
    assert "AWS_ENDPOINT_URL" in seen
    assert "users-secret" not in seen


def test_printed_variables_are_sufficient_for_boto3(tmp_path):
    with serving(tmp_path / "endpoint") as (variables, _):
        code = "import boto3; print(boto3.client('sagemaker').list_pipelines()['PipelineSummaries'])"
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_port_in_use_is_reported_in_one_line(tmp_path):
    with serving(tmp_path / "endpoint") as (variables, _):
        port = variables["AWS_ENDPOINT_URL"].rpartition(":")[2]
        command = [*COMMAND, "--workspace", str(tmp_path), "sagemaker", "emulate", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr == (
        f"mlops: error: cannot use port {port} on 127.0.0.1: Address already in use; "
        "choose another port, or 0 for any free port\n"
    )


def test_missing_moto_is_reported_with_the_command_to_install_it(tmp_path):
    code = "import sys; sys.modules['moto'] = None; from mlops_core.cli import main; main()"
    command = [sys.executable, "-c", code, "--workspace", str(tmp_path), "sagemaker", "emulate"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr == "mlops: error: the endpoint needs moto: pip install 'mlops-sagemaker[emulator]'\n"
