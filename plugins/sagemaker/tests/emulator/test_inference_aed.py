"""The quantized network of AED: predict, serve, an endpoint and a batch transform give the same answers to the bit."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("moto", reason="the extra 'test' is not installed")
pytest.importorskip("mlops_aed", reason="the use case AED is not installed")
pytest.importorskip("ai_edge_litert", reason="the runtime of quantized networks is not installed")
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
ROLE = "arn:aws:iam::123456789012:role/example"
SMALL = (
    *("--set", "training.steps=60", "--set", "training.patience=60", "--set", "training.model.filters=[8, 16]"),
    *("--set", "general.operation_mode=chain_tqe"),
    *("--param", "q_clip_level_acc_threshold=0.1", "--param", "q_patch_level_acc_threshold=0.1"),
)


def run_mlops(*arguments):
    done = subprocess.run([*MLOPS, *map(str, arguments)], capture_output=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout


def scores_of(documents):
    return [each["scores"] for each in documents]


def wait_for(describe, member):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        description = describe()
        if description[member] not in ("InProgress", "Creating"):
            return description
        time.sleep(0.1)
    raise AssertionError(description)


@pytest.mark.slow_suite
def test_a_quantized_network_gives_the_same_answers_everywhere(tmp_path):
    run_mlops("--workspace", "ws", "run", "-u", "AED", *SMALL)
    run_mlops("--workspace", "ws", "models", "export", "-u", "AED", "model")
    assert list(Path("model").rglob("*.tflite"))
    clips = sorted(Path("ws").rglob("5-*.wav"))[:6]
    (tmp_path / "in").mkdir()
    for clip in clips:
        (tmp_path / "in" / clip.name).write_bytes(clip.read_bytes())
    run_mlops("predict", "-u", "AED", "--model", "./model", "in", "--output", "all.jsonl", "--workers", 2)
    predicted = scores_of(map(json.loads, Path("all.jsonl").read_text().splitlines()))
    assert len(predicted) == len(clips) > 0
    names = [f"in/{clip.name}" for clip in clips]
    assert scores_of(json.loads(run_mlops("--workspace", "ws", "predict", "-u", "AED", "--json", *names))) == predicted
    assert _served(names) == predicted
    invoked, transformed = _emulated(tmp_path, clips)
    assert invoked == predicted
    assert transformed == predicted


def _served(names):
    server = subprocess.Popen(
        [*MLOPS, "serve", "-u", "AED", "--model", "./model", "--port", "0", "--workers", "2"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = next(line for line in server.stderr if line.startswith("serving "))
        address = re.search(r"http://\S+", line)[0]
        return scores_of(json.loads(run_mlops("predict", "--endpoint", address, "--json", *names)))
    finally:
        server.terminate()
        server.communicate(timeout=60)


def _emulated(folder, clips):
    """Return what an endpoint and a batch transform answer."""
    with SageMakerEndpoint(folder / "emulator") as emulator:
        s3, sagemaker = emulator.client("s3"), emulator.client("sagemaker")
        s3.create_bucket(Bucket="bucket")
        for path in Path("model").rglob("*"):
            if path.is_file():
                s3.upload_file(str(path), "bucket", path.as_posix())
        for clip in clips:
            s3.upload_file(str(clip), "bucket", f"in/{clip.name}")
        source = {"S3Uri": "s3://bucket/model/", "S3DataType": "S3Prefix", "CompressionType": "None"}
        container = {
            "Image": "serving:1",
            "ModelDataSource": {"S3DataSource": source},
            "Environment": {"USECASE_NAME": "AED"},
        }
        sagemaker.create_model(ModelName="aed", ExecutionRoleArn=ROLE, PrimaryContainer=container)
        return _invoked(emulator, clips), _transformed(emulator, clips)


def _invoked(emulator, clips):
    sagemaker, runtime = emulator.client("sagemaker"), emulator.client("sagemaker-runtime")
    variant = {"VariantName": "all", "ModelName": "aed", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="aed", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="aed", EndpointConfigName="aed")
    description = wait_for(lambda: sagemaker.describe_endpoint(EndpointName="aed"), "EndpointStatus")
    assert description["EndpointStatus"] == "InService", description
    answers = []
    for clip in clips:
        answer = runtime.invoke_endpoint(EndpointName="aed", Body=clip.read_bytes(), ContentType="audio/wav")
        answers += json.loads(answer["Body"].read())["predictions"]
    return scores_of(answers)


def _transformed(emulator, clips):
    sagemaker, s3 = emulator.client("sagemaker"), emulator.client("s3")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in/"}}
    sagemaker.create_transform_job(
        TransformJobName="aed",
        ModelName="aed",
        TransformInput={"DataSource": source, "ContentType": "audio/wav"},
        TransformOutput={"S3OutputPath": "s3://bucket/out", "Accept": "application/jsonlines"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    description = wait_for(lambda: sagemaker.describe_transform_job(TransformJobName="aed"), "TransformJobStatus")
    assert description["TransformJobStatus"] == "Completed", description
    bodies = [s3.get_object(Bucket="bucket", Key=f"out/{clip.name}.out")["Body"].read() for clip in clips]
    return scores_of(json.loads(body) for body in bodies)
