"""The bridge: the pipeline of the SageMaker SDK has the compiled definition.

The SDK (730 MB, 132 packages) does not have to be installed in the environment of the tests: MLOPS_TEST_SDK_PYTHON can
name the Python of a separate environment with ``pip install 'mlops-sagemaker[sdk]'``.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SDK_PYTHON = os.environ.get("MLOPS_TEST_SDK_PYTHON") or (
    sys.executable if importlib.util.find_spec("sagemaker") else None
)
needs_sdk = pytest.mark.skipif(
    SDK_PYTHON is None, reason="the SageMaker SDK is not installed and MLOPS_TEST_SDK_PYTHON is not set"
)
ACCOUNT = {"bucket": "a-bucket", "image": "an-image", "role": "arn:aws:iam::123456789012:role/Role"}
PROGRAM = """
import json, os, sys
from mlops_sagemaker.bridge import compile_use_case, get_pipeline, to_sagemaker_pipeline
case = json.loads(sys.argv[1])
account = case.pop("account")
before = dict(os.environ)
pipeline = to_sagemaker_pipeline("TOY", region="eu-west-1", **case, **account)
assert dict(os.environ) == before
template = get_pipeline(
    region="eu-west-1", role=account["role"], default_bucket=account["bucket"], pipeline_name="words-p-1",
    model_package_group_name="words", base_job_prefix="x", sagemaker_project_name="p", usecase_name="toy",
)
print(json.dumps({
    "name": pipeline.name, "sdk": json.loads(pipeline.definition()),
    "compiled": compile_use_case("TOY", **case, **account).data,
    "template": [template.name, json.loads(template.definition())["Parameters"]],
    "opt_out": pipeline.sagemaker_session.sagemaker_config["SageMaker"]["PythonSDK"]["Modules"]["TelemetryOptOut"],
}))
"""


def run_sdk(case):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests" / "toy"))),
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nothing listens there, so a call to AWS fails
    }
    done = subprocess.run(
        [SDK_PYTHON, "-c", PROGRAM, json.dumps(case)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_sdk
@pytest.mark.slow
@pytest.mark.parametrize("overrides", [[], ["features.scale=3"]])
def test_sdk_pipeline_has_the_compiled_definition(toy, overrides):
    result = run_sdk({"account": ACCOUNT, "overrides": overrides, "parameters": {"q_acc": "0.75"}})
    assert result["sdk"].pop("MlflowConfig") is None
    assert result["sdk"] == result["compiled"]
    assert result["name"] == "TOY"
    assert result["opt_out"] is True
    name, parameters = result["template"]
    assert name == "words-p-1"
    assert {item["Name"]: item.get("DefaultValue") for item in parameters}["ModelPackageGroupName"] == "words"


@pytest.mark.skipif(bool(importlib.util.find_spec("sagemaker")), reason="the SageMaker SDK is installed here")
def test_missing_sdk_is_reported_with_the_command_to_install_it(toy):
    from mlops_sagemaker.bridge import to_sagemaker_pipeline

    from mlops_core.errors import RunnerError

    with pytest.raises(RunnerError, match="pip install 'mlops-sagemaker.sdk.', or use `mlops compile`"):
        to_sagemaker_pipeline("TOY", **ACCOUNT)


def test_unknown_keyword_and_missing_use_case_are_refused(toy):
    from mlops_sagemaker.bridge import get_pipeline, to_sagemaker_pipeline

    from mlops_core.errors import UsageError

    with pytest.raises(UsageError, match="unknown keyword 'buket'; expected: region, role, bucket"):
        to_sagemaker_pipeline("TOY", buket="x")
    with pytest.raises(UsageError, match="pass usecase_name, or set USECASE_NAME"):
        get_pipeline(region="eu-west-1")
