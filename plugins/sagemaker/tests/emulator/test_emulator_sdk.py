"""Definitions written by the SageMaker SDK are executed unchanged, including code with ``/opt/ml`` in its source."""

import json
import tarfile
import textwrap
from pathlib import Path

import pytest
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.execution import PipelineExecution, Surroundings
from mlops_sagemaker.emulator.history import FolderHistory
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers, can_mount
from mlops_sagemaker.emulator.jobs.registration import FolderRegistrar
from mlops_sagemaker.emulator.objects import FolderObjects

DEFINITIONS = Path(__file__).parents[1] / "definitions"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/example/execution/e1"

PREPARE = """
    from pathlib import Path
    text = Path("/opt/ml/processing/input/data/numbers.csv").read_text()
    Path("/opt/ml/processing/output/train/train.csv").write_text(text)
"""
TRAIN = """
    import argparse, json, os
    from pathlib import Path
    parser = argparse.ArgumentParser()
    parser.add_argument("--factor", type=float)
    numbers = [int(line) for line in Path("/opt/ml/input/data/train/train.csv").read_text().split()]
    mean = parser.parse_args().factor * sum(numbers) / len(numbers)
    Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps({"mean": mean}))
"""
EVALUATE = """
    import json, sys, tarfile
    with tarfile.open("/opt/ml/processing/model/model.tar.gz") as tar:
        mean = json.load(tar.extractfile("model.json"))["mean"]
    assert sys.argv[1] == "--limit"
    with open("/opt/ml/processing/evaluation/evaluation.json", "w") as stream:
        json.dump({"regression_metrics": {"mean": {"value": mean}}}, stream)
"""
DRIVER = """
    #!/bin/bash
    set -e
    factor=$(python3 -c 'import json; print(json.load(open("/opt/ml/input/config/hyperparameters.json"))["factor"])')
    cd /opt/ml/input/data/code
    python3 train.py --factor "$factor"
"""

needs_mounts = pytest.mark.skipif(
    not can_mount(), reason="this system does not allow mount namespaces, and the scripts use /opt/ml"
)


def execute(root, name, files, **parameters):
    for key, text in files.items():
        path = root / "s3" / "example-bucket" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    definition = parse_definition((DEFINITIONS / name).read_text())
    history = FolderHistory(root / "executions")
    return PipelineExecution(
        definition,
        arn=ARN,
        pipeline="example",
        values=definition.values(parameters),
        surroundings=Surroundings(
            objects=FolderObjects(root / "s3"),
            containers=ProcessContainers(has_mounts=True),
            registrar=FolderRegistrar(root / "packages"),
            history=history,
            folder=history.execution_folder("e1"),
        ),
    ).carry_out()


FILES = {
    "data/numbers.csv": "1\n2\n3\n",
    "code/prepare.py": PREPARE,
    "code/evaluate.py": EVALUATE,
    "example/example-1/input/code/train.py": TRAIN,
    "example/example-1/input/sm_drivers/sm_train.sh": DRIVER,
}


def packed(tmp_path):
    """Write the training script to an archive like that of SDK 2, and return the other files."""
    folder = tmp_path / "s3" / "example-bucket" / "example" / "code"
    folder.mkdir(parents=True)
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(TRAIN))
    with tarfile.open(folder / "sourcedir.tar.gz", "w:gz") as tar:
        tar.add(script, arcname="train.py")
    return {name: text for name, text in FILES.items() if not name.startswith("example/")}


@needs_mounts
def test_definition_of_sdk_2_is_executed_and_registers_its_model(tmp_path):
    record = execute(tmp_path, "written_by_sdk_v2.json", packed(tmp_path), ModelApprovalStatus="Approved")
    names = ("Prepare", "Train", "Evaluate", "Judge", "Register-RegisterModel")
    assert [(step.name, str(step.status), step.failure) for step in record.steps] == [
        (name, "Succeeded", "") for name in names
    ]
    package = json.loads((tmp_path / "packages" / "Example" / "1.json").read_text())
    assert package["ModelApprovalStatus"] == "Approved"
    model = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert model == record.step("Train").properties["ModelArtifacts"]["S3ModelArtifacts"]
    assert (tmp_path / "s3" / "example-bucket" / "out" / "e1" / "train" / "train.csv").exists()


@needs_mounts
def test_definition_of_sdk_3_is_executed(tmp_path):
    record = execute(tmp_path, "written_by_sdk_v3.json", FILES)
    assert [(step.name, str(step.status), step.failure) for step in record.steps] == [
        (name, "Succeeded", "") for name in ("Prepare", "Train", "Evaluate", "Judge")
    ]
    report = json.loads((tmp_path / "s3" / "example-bucket" / "evaluation" / "evaluation.json").read_text())
    assert report == {"regression_metrics": {"mean": {"value": 4.0}}}
    assert record.step("Judge").properties == {"Outcome": "True"}


@needs_mounts
def test_gate_of_a_definition_of_sdk_3_rejects_with_its_message(tmp_path):
    record = execute(tmp_path, "written_by_sdk_v3.json", FILES, MeanLimit="3.5")
    assert record.status == "Failed"
    assert record.step("Reject").failure == "mean above 3.5"
