"""What azure-ai-ml makes of our jobs, and the bridge to it.

The SDK (68 MB, 61 packages) does not have to be installed in the environment of the tests: MLOPS_TEST_AZURE_PYTHON can
name the Python of a separate environment with ``pip install 'mlops-azureml[sdk]'``.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from azureml_tests import mutations
from mlops_azureml.bridge import to_azure_pipeline
from mlops_azureml.compiler.job import compile_pipeline
from mlops_azureml.settings import load_settings

from mlops_core import api
from mlops_core.runners import RunnerError

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def _has_sdk():
    try:
        return importlib.util.find_spec("azure.ai.ml") is not None
    except ModuleNotFoundError:
        return False


AZURE_PYTHON = os.environ.get("MLOPS_TEST_AZURE_PYTHON") or (sys.executable if _has_sdk() else None)
needs_sdk = pytest.mark.skipif(
    AZURE_PYTHON is None, reason="azure-ai-ml is not installed and MLOPS_TEST_AZURE_PYTHON is not set"
)
PROGRAM = """
import json, os, sys
from mlops_azureml.bridge import to_azure_pipeline
before = dict(os.environ)
job = to_azure_pipeline("TOY", overrides=["features.scale=3"], parameters={"q_acc": "0.75"})
assert dict(os.environ) == before
print("RESULT", json.dumps({
    "nodes": sorted(job.jobs), "inputs": {name: getattr(each, "_data", each) for name, each in job.inputs.items()
    if name in ("q_acc", "seed")}, "continues": job.settings.continue_on_step_failure,
    "command": job.jobs["train"].component.command, "experiment": job.experiment_name,
}, default=str))
"""


def run(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE.parent, ROOT / "tests" / "toy")))}
    command = [AZURE_PYTHON, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


@needs_sdk
def test_sdk_accepts_what_we_emit_and_refuses_what_it_can_see(toy, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "tuning" / "tuned_toy"))
    cases = {
        "toy": ("TOY", (), ()),
        "shards": (
            "TOY",
            ("features.scale=3",),
            ("workspace.image=r.azurecr.io/mlops:1", "workspace.identity=managed"),
        ),
        "serverless": ("TOY", (), ("computes.cpu=serverless", "computes.shm_gb=2")),
        "driver": ("TOY", (), ("workspace.registration=driver", "workspace.environment=azureml:mlops:3")),
        "mounted": ("TOY", (), ("data.images=azureml:images@latest", "data.labels=azureml:labels:1")),
        "tuned": ("TUNED", ("tuning.trials=5",), ()),
    }
    for name, (use_case, overrides, settings) in cases.items():
        job = compile_pipeline(api.prepare_run(use_case, overrides=overrides), load_settings(overrides=settings))
        (tmp_path / f"{name}.yml").write_text(job.to_text())
    found = run(HERE / "sdk_checks.py", tmp_path)
    assert found["emitted"] == {f"{name}.yml": "" for name in cases}
    assert found["sound"] == ""
    assert [name for name in mutations.SDK_FINDS if not found["faults"][name]] == []
    missed = [name for name, message in found["faults"].items() if not message]
    assert set(mutations.SDK_MISSES) <= set(missed)
    sys.stdout.write(f"azure-ai-ml misses {len(missed)} of {len(mutations.ALL)} seeded faults: {', '.join(missed)}\n")


@needs_sdk
def test_bridge_returns_the_job_of_the_sdk(toy):
    found = run("-c", PROGRAM)
    names = ["evaluate", "gate", "preprocess", "register_model", "tag_model", "train"]
    assert found["nodes"] == sorted([*names, *(f"preprocess_shard_{index}" for index in range(3))])
    assert found["inputs"] == {"q_acc": 0.75, "seed": 0}
    assert found["continues"] is False
    assert found["experiment"] == "toy"
    assert found["command"].startswith("python3 -m mlops_azureml.container ")


@pytest.mark.skipif(_has_sdk(), reason="azure-ai-ml is installed")
def test_missing_sdk_is_named_in_one_line(toy):
    with pytest.raises(
        RunnerError, match=r"the Azure ML SDK cannot be imported: .*; pip install 'mlops-azureml\[sdk\]'"
    ):
        to_azure_pipeline("TOY")
