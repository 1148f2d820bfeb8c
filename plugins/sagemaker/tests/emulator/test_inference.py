"""Transform jobs and endpoints of the emulator, with real servers; their answers are those of predict and serve."""

import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("moto", reason="the extra 'test' is not installed")
from botocore.exceptions import ClientError
from mlops_sagemaker.emulator.endpoint.inference import fleets
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

TESTS = Path(__file__).parents[4] / "tests"
PLUGINS = [str(TESTS / "batch" / "plugin"), str(TESTS / "serving" / "echo"), str(TESTS / "toy")]
MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
ROWS = b"1.5,2\n3,4\n\xc3\xbc,7\n5,0.1\n"
ROLE = "arn:aws:iam::123456789012:role/example"


FOLDERS = {}


def endpoint_folder(endpoint):
    return FOLDERS[endpoint.url]


@pytest.fixture(scope="module")
def paths():
    """The use case SCORES is installed, here and in the processes that are started."""
    with pytest.MonkeyPatch.context() as patch:
        for place in PLUGINS:
            patch.syspath_prepend(place)
        patch.setenv("PYTHONPATH", os.pathsep.join(PLUGINS))
        yield


@pytest.fixture(scope="module")
def endpoint(paths, tmp_path_factory):
    folder = tmp_path_factory.mktemp("endpoint")
    with SageMakerEndpoint(folder) as running:
        FOLDERS[running.url] = folder
        s3 = running.client("s3")
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="model/model.txt", Body=b"7.25")
        create_model(running, "scores", environment={"USECASE_NAME": "SCORES", "MLOPS_CONFIGURATION": "scores-1"})
        yield running


def create_model(endpoint, name, *, environment=None, prefix="model/"):
    source = {"S3Uri": f"s3://bucket/{prefix}", "S3DataType": "S3Prefix", "CompressionType": "None"}
    container = {
        "Image": "serving:1",
        "ModelDataSource": {"S3DataSource": source},
        "Environment": {"USECASE_NAME": "SCORES"} if environment is None else environment,
    }
    endpoint.client("sagemaker").create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)


def transform(endpoint, name, files, *, model="scores", split="None", accept="text/csv", **more):
    """Run a transform job over files; return its description and its output by key."""
    s3, sagemaker = endpoint.client("s3"), endpoint.client("sagemaker")
    for key, content in files.items():
        s3.put_object(Bucket="bucket", Key=f"{name}/in/{key}", Body=content)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://bucket/{name}/in/"}}
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=model,
        TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": split},
        TransformOutput={
            "S3OutputPath": f"s3://bucket/{name}/out",
            "Accept": accept,
            "AssembleWith": more.pop("assemble", "None"),
        },
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **more,
    )
    return wait_for(lambda: sagemaker.describe_transform_job(TransformJobName=name), "TransformJobStatus"), outputs(
        endpoint, name
    )


def wait_for(describe, member):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        description = describe()
        if description[member] not in ("InProgress", "Creating", "Stopping"):
            return description
        time.sleep(0.05)
    raise AssertionError(description)


def outputs(endpoint, name):
    s3 = endpoint.client("s3")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="bucket", Prefix=f"{name}/out/").get("Contents", ())]
    return {key.partition("/out/")[2]: s3.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys}


@pytest.fixture(scope="module")
def deployed(endpoint):
    """The name of an endpoint that serves the model."""
    sagemaker = endpoint.client("sagemaker")
    variant = {"VariantName": "all", "ModelName": "scores", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="one", ProductionVariants=[variant])
    arn = sagemaker.create_endpoint(EndpointName="Scores", EndpointConfigName="one")["EndpointArn"]
    description = wait_for(lambda: sagemaker.describe_endpoint(EndpointName="Scores"), "EndpointStatus")
    assert description["EndpointStatus"] == "InService", description
    assert description["EndpointArn"] == arn
    return "Scores"


def run_mlops(*arguments):
    done = subprocess.run([*MLOPS, *map(str, arguments)], capture_output=True, check=True, env=os.environ)
    return done.stdout


def test_predict_serve_endpoint_and_transform_give_the_same_answers_to_the_bit(endpoint, deployed, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.txt").write_text("7.25")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rows.csv").write_bytes(ROWS)
    run_mlops("predict", "-u", "SCORES", "--model", "./model", "in", "--output", "all.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    predicted = [{"scores": line["scores"], "interval": line["interval"]} for line in lines]

    def comparable(body):
        return [{"scores": each["scores"], "interval": each["interval"]} for each in body]

    runtime = endpoint.client("sagemaker-runtime")
    invoked = runtime.invoke_endpoint(EndpointName=deployed, Body=ROWS, ContentType="text/csv")
    assert comparable(json.loads(invoked["Body"].read())["predictions"]) == predicted
    _, one = transform(endpoint, "bits", {"rows.csv": ROWS}, accept="application/jsonlines")
    assert comparable(map(json.loads, one["rows.csv.out"].splitlines())) == predicted
    text = runtime.invoke_endpoint(EndpointName=deployed, Body=ROWS, ContentType="text/csv", Accept="text/csv")
    description, csv = transform(
        endpoint, "bits-csv", {"rows.csv": ROWS}, split="Line", BatchStrategy="MultiRecord", MaxPayloadInMB=1
    )
    assert description["TransformJobStatus"] == "Completed", description
    assert csv["rows.csv.out"] == text["Body"].read()
    server = subprocess.Popen(
        [*MLOPS, "serve", "-u", "SCORES", "--model", "./model", "--port", "0", "--workers", "1"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = next(line for line in server.stderr if line.startswith("serving "))
        address = re.search(r"http://\S+", line)[0]
        answers = json.loads(run_mlops("predict", "--endpoint", address, "in/rows.csv", "--json"))
        assert comparable(answers) == predicted
    finally:
        server.terminate()
        server.communicate(timeout=30)


def test_a_model_that_finds_objects_answers_a_job_as_it_answers_predict(endpoint, tmp_path):
    endpoint.client("s3").put_object(Bucket="bucket", Key="finding/model.txt", Body=b"echo finding")
    create_model(endpoint, "finding", environment={"USECASE_NAME": "ECHO"}, prefix="finding/")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.txt").write_text("echo finding")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rows.csv").write_bytes(b"oo\nx\n")
    run_mlops("predict", "-u", "ECHO", "--model", "./model", "in", "--output", "all.jsonl")
    predicted = [json.loads(line)["objects"] for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert list(map(len, predicted)) == [2, 0]
    more = {"split": "Line", "BatchStrategy": "MultiRecord", "accept": "application/jsonlines"}
    description, made = transform(endpoint, "objects", {"rows.csv": b"oo\nx\n"}, model="finding", **more)
    assert description["TransformJobStatus"] == "Completed", description
    assert [json.loads(line)["objects"] for line in made["rows.csv.out"].splitlines()] == predicted


@pytest.mark.slow_suite
def test_one_line_per_request_and_each_object_its_own_output(endpoint):
    files = {"a.csv": b"1\n2", "deep/b.csv": b"3\n"}
    description, made = transform(endpoint, "lines", files, split="Line", BatchStrategy="SingleRecord", assemble="Line")
    assert description["TransformJobStatus"] == "Completed", description
    assert {key: len(body.splitlines()) for key, body in made.items()} == {"a.csv.out": 2, "deep/b.csv.out": 1}
    jobs = endpoint.client("sagemaker").list_transform_jobs(NameContains="lines")["TransformJobSummaries"]
    assert [(job["TransformJobName"], job["TransformJobStatus"]) for job in jobs] == [("lines", "Completed")]


@pytest.mark.representatives(2)
@pytest.mark.parametrize(
    ("name", "files", "more", "message"),
    [
        ("bad", {"a.csv": b"1\n", "b.csv": b"1\nunusable\n"}, {}, "b.csv: the request body, line 2: no numbers"),
        ("empty", {"a.csv": b""}, {}, "a.csv is empty"),
        ("large", {"a.csv": b"1" * (1 << 20) + b"1"}, {"MaxPayloadInMB": 1}, "more than the 1.0 MiB of a request"),
        (
            "counts",
            {"a.csv": b"1\n2\n3\n"},
            {"split": "Line", "BatchStrategy": "MultiRecord", "accept": "application/json"},
            "a request of 3 lines was answered by 1 lines",
        ),
        (
            "late",
            {"a.csv": b"sleep\n"},
            {"ModelClientConfig": {"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 1}},
            "a.csv: no answer after 1 s",
        ),
        ("type", {"a.csv": b"1\n"}, {"accept": "image/png"}, "Accept: image/png: no such answer"),
    ],
)
def test_an_object_that_fails_ends_the_job_and_leaves_no_partial_output(endpoint, name, files, more, message):
    description, made = transform(endpoint, f"fails-{name}", files, **more)
    assert description["TransformJobStatus"] == "Failed"
    assert message in description["FailureReason"]
    assert set(made) <= {"a.csv.out"} - ({"a.csv.out"} if len(files) == 1 else set())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"split": "RecordIO"}, "SplitType 'RecordIO' is not supported here; supported: None, Line"),
        ({"BatchStrategy": "MultiRecord"}, "BatchStrategy 'MultiRecord' needs a SplitType that is not None"),
        ({"MaxPayloadInMB": 60, "MaxConcurrentTransforms": 2}, "60 times MaxConcurrentTransforms 2 is more than 100"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "JoinSource 'Input' is not supported here"),
        ({"DataProcessing": {"InputFilter": "$.a"}}, "InputFilter '$.a' is not supported here"),
        ({"model": "foreign"}, "its image|image 'serving:1' cannot be started without Docker"),
        ({"model": "nowhere"}, "Could not find model"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_name_before_anything_runs(endpoint, more, message):
    if more.get("model") == "foreign":
        create_model(endpoint, "foreign", environment={})
    with pytest.raises(ClientError, match=message.replace("$", r"\$")):
        transform(endpoint, "refused", {"a.csv": b"1\n"}, **more)
    jobs = endpoint.client("sagemaker").list_transform_jobs(NameContains="refused")["TransformJobSummaries"]
    assert jobs == []


@pytest.mark.slow_suite
def test_a_job_without_a_limit_sends_chunks(endpoint):
    description, made = transform(endpoint, "chunks", {"a.csv": ROWS}, MaxPayloadInMB=0)
    assert description["TransformJobStatus"] == "Completed", description
    assert len(made["a.csv.out"].splitlines()) == 4


def test_a_running_job_is_stopped(endpoint, tmp_path):
    sagemaker, s3 = endpoint.client("sagemaker"), endpoint.client("s3")
    released = tmp_path / "released"
    s3.put_object(Bucket="bucket", Key="stopped/in/a.csv", Body=b"wait for %s\n" % os.fsencode(released))
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/stopped/in/"}}
    job = {
        "TransformJobName": "stopped",
        "ModelName": "scores",
        "TransformInput": {"DataSource": source, "ContentType": "text/csv"},
        "TransformOutput": {"S3OutputPath": "s3://bucket/stopped/out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    sagemaker.create_transform_job(**job)
    with pytest.raises(ClientError, match="ResourceInUse"):
        sagemaker.create_transform_job(**job)
    log = endpoint_folder(endpoint) / "transform-jobs" / "logs" / "stopped.algo-1.log"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and "serving SCORES" in log.read_text()):
        time.sleep(0.05)
    sagemaker.stop_transform_job(TransformJobName="stopped")
    released.touch()  # the server finishes what it has begun
    description = wait_for(lambda: sagemaker.describe_transform_job(TransformJobName="stopped"), "TransformJobStatus")
    assert description["TransformJobStatus"] == "Stopped"
    assert outputs(endpoint, "stopped") == {}


def test_headers_of_an_invocation_reach_the_container_and_its_errors_the_caller(endpoint, deployed):
    runtime = endpoint.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(
        EndpointName=deployed, Body=b"1\n", ContentType="text/csv", Accept="text/csv", CustomAttributes="trace=7"
    )
    with closing(answer["Body"]) as body:
        assert body.read()
    assert answer["CustomAttributes"] == "trace=7"
    asking = runtime.invoke_endpoint(
        EndpointName=deployed, Body=b"1\n", ContentType="text/csv", CustomAttributes="MLOPS_CONFIGURATION"
    )
    asking["Body"].close()
    assert asking["CustomAttributes"] == "MLOPS_CONFIGURATION=scores-1"  # which configuration answers
    assert answer["InvokedProductionVariant"] == "all"
    assert answer["ContentType"].startswith("text/csv")
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName=deployed, Body=b"unusable", ContentType="text/csv")
    response = caught.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 422
    assert "no numbers" in json.loads(response["OriginalMessage"])["error"]
    with pytest.raises(ClientError, match="Variant other was not found"):
        runtime.invoke_endpoint(EndpointName=deployed, Body=b"1", ContentType="text/csv", TargetVariant="other")
    with pytest.raises(ClientError, match="Target-Model is not supported by this endpoint"):
        runtime.invoke_endpoint(EndpointName=deployed, Body=b"1", ContentType="text/csv", TargetModel="m.tar.gz")
    with pytest.raises(ClientError, match="Endpoint nowhere of account 123456789012 not found"):
        runtime.invoke_endpoint(EndpointName="nowhere", Body=b"1", ContentType="text/csv")


@pytest.mark.slow_suite
def test_an_endpoint_whose_model_cannot_be_loaded_fails_with_the_reason_and_deleted_ones_leave_no_process(endpoint):
    sagemaker = endpoint.client("sagemaker")
    endpoint.client("s3").put_object(Bucket="bucket", Key="broken/model.txt", Body=b"no number")
    create_model(endpoint, "broken", prefix="broken/")
    variant = {"VariantName": "all", "ModelName": "broken", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="broken", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="broken", EndpointConfigName="broken")
    description = wait_for(lambda: sagemaker.describe_endpoint(EndpointName="broken"), "EndpointStatus")
    assert description["EndpointStatus"] == "Failed"
    assert "could not convert string to float" in description["FailureReason"]
    with pytest.raises(ClientError, match="is not in service: Failed"):
        endpoint.client("sagemaker-runtime").invoke_endpoint(EndpointName="broken", Body=b"1", ContentType="text/csv")
    sagemaker.delete_endpoint(EndpointName="broken")
    variant["ModelName"] = "scores"
    sagemaker.create_endpoint_config(EndpointConfigName="short", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="short", EndpointConfigName="short")
    wait_for(lambda: sagemaker.describe_endpoint(EndpointName="short"), "EndpointStatus")
    assert servers_of("short")
    sagemaker.delete_endpoint(EndpointName="short")
    deadline = time.monotonic() + 30
    while servers_of("short") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not servers_of("short")


@pytest.fixture
def variant(endpoint):
    """Create a configuration of one variant."""

    def call(name, *, model="scores"):
        one = {"VariantName": "all", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        endpoint.client("sagemaker").create_endpoint_config(EndpointConfigName=name, ProductionVariants=[one])

    return call


def test_an_endpoint_whose_archive_is_cut_short_fails_with_the_reason(endpoint, variant, tmp_path):
    (tmp_path / "model.txt").write_bytes(os.urandom(100_000))
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "model.txt", "model.txt")
    body = (tmp_path / "model.tar.gz").read_bytes()[:50_000]
    endpoint.client("s3").put_object(Bucket="bucket", Key="short/model.tar.gz", Body=body)
    sagemaker = endpoint.client("sagemaker")
    container = {
        "Image": "serving:1",
        "ModelDataUrl": "s3://bucket/short/model.tar.gz",
        "Environment": {"USECASE_NAME": "SCORES"},
    }
    sagemaker.create_model(ModelName="cut", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant("cut", model="cut")
    sagemaker.create_endpoint(EndpointName="cut", EndpointConfigName="cut")
    description = wait_for(lambda: sagemaker.describe_endpoint(EndpointName="cut"), "EndpointStatus")
    assert description["EndpointStatus"] == "Failed"
    assert "s3://bucket/short/model.tar.gz: not an archive of a model" in description["FailureReason"]


def test_an_endpoint_that_fails_unexpectedly_does_not_stay_in_creation(endpoint, variant, monkeypatch):
    def fetch(*_, **__):
        raise ValueError("an unforeseen\nfault")

    monkeypatch.setattr(fleets, "fetch_model", fetch)
    sagemaker = endpoint.client("sagemaker")
    variant("odd")
    sagemaker.create_endpoint(EndpointName="odd", EndpointConfigName="odd")
    description = wait_for(lambda: sagemaker.describe_endpoint(EndpointName="odd"), "EndpointStatus")
    assert description["EndpointStatus"] == "Failed"
    assert description["FailureReason"].endswith("cannot be used: ValueError: an unforeseen fault")


def test_an_endpoint_that_is_deleted_while_its_model_is_downloaded_starts_no_server(endpoint, variant, monkeypatch):
    begun, released, started = threading.Event(), threading.Event(), []
    fetch, start = fleets.fetch_model, fleets.ModelServer.start

    def fetch_slowly(*arguments, **options):
        begun.set()
        released.wait()
        fetch(*arguments, **options)

    def start_noted(server, **options):
        started.append(server)
        start(server, **options)

    monkeypatch.setattr(fleets, "fetch_model", fetch_slowly)
    monkeypatch.setattr(fleets.ModelServer, "start", start_noted)
    sagemaker = endpoint.client("sagemaker")
    variant("early")
    try:
        sagemaker.create_endpoint(EndpointName="early", EndpointConfigName="early")
        begun.wait()
        (thread,) = [each for each in threading.enumerate() if each.name == "endpoint-early"]
        sagemaker.delete_endpoint(EndpointName="early")
    finally:
        released.set()
    thread.join()
    assert not started
    assert not servers_of("early")


def servers_of(name):
    """Return the processes whose environment or arguments name the folder of an endpoint."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            work = str((process / "cwd").readlink())
        except OSError:
            continue
        if b"mlops_sagemaker.serving.container" in text and (
            f"/{name}-all-".encode() in text or f"/{name}-all-" in work
        ):
            found.append(process.name)
    return found
