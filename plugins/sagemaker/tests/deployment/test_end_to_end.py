"""From training to production against the emulator: `mlops run`, staging with its test, approval, production."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("moto", reason="the extra 'test' is not installed")
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

TESTS = Path(__file__).parents[4] / "tests"
PLUGINS = [str(TESTS / "deployments" / "words"), str(TESTS / "toy")]
ROLE = "arn:aws:iam::123456789012:role/example"


@pytest.fixture
def emulator(tmp_path):
    """An emulator whose jobs and endpoints are real processes of the use case WORDS."""
    with pytest.MonkeyPatch.context() as patch:
        for place in PLUGINS:
            patch.syspath_prepend(place)
        patch.setenv("PYTHONPATH", os.pathsep.join(PLUGINS))
        with SageMakerEndpoint(tmp_path / "emulator") as running:
            running.client("s3").create_bucket(Bucket="bucket")
            yield running


@pytest.mark.slow_suite
def test_a_trained_model_is_tested_in_staging_approved_and_answers_in_production(emulator, tmp_path):
    account = {"SAGEMAKER_PIPELINE_ROLE_ARN": ROLE, "ARTIFACT_BUCKET": "bucket", "MLOPS_STEP_IMAGE": "image:1"}
    environment = {**os.environ, **emulator.environment(), **account, "USECASE_NAME": "WORDS"}

    def mlops(*arguments, code=0):
        program = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(tmp_path / "ws")]
        command = [*program, *arguments]
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    mlops("run", "--runner", "sagemaker")
    quick = ("--runner", "sagemaker", "--set", "production.traffic.bake_s=0", "--set", "staging.traffic.bake_s=0")
    staged = json.loads(mlops("deploy", "--to", "staging", *quick, "--json").stdout)
    assert (staged["state"], staged["test"]["has_passed"]) == ("in service", True)
    assert staged["test"]["requests"] >= 2
    refused = mlops("deploy", "--to", "production", *quick, code=2)
    assert "production takes approved versions only" in refused.stderr
    sagemaker = emulator.client("sagemaker")
    (package,) = sagemaker.list_model_packages(ModelPackageGroupName="WORDS")["ModelPackageSummaryList"]
    arn = package["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    mlops("deploy", "--to", "production", "--model", arn, *quick)
    tested = mlops("deployments", "test", "--to", "production", "--runner", "sagemaker").stdout
    assert "the deployment test passed" in tested
    answer = emulator.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="words-production", Body=b"word", ContentType="text/plain"
    )
    with answer["Body"] as body:
        assert json.loads(body.read())["predictions"]
    mlops("deployments", "delete", "--to", "production", "--why", "done", "--runner", "sagemaker")
    assert [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]] == ["words-staging"]


def test_a_deployment_without_credentials_is_one_line_that_says_what_to_do(tmp_path):
    program = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(tmp_path / "ws")]
    command = [*program, "deploy", "-u", "WORDS", "--to", "staging", "--runner", "sagemaker", "--region", "eu-west-1"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "PYTHONPATH": os.pathsep.join(PLUGINS),
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("\n") == 1
    assert "Unable to locate credentials; sign in, or set AWS_PROFILE" in done.stderr
