"""The use case TOY of the tests of core, whose runs are sent to MLflow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
SWITCHES = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
TOY = Path(__file__).parents[3] / "tests" / "toy"


class Workspace:
    """A workspace whose observer sends to an address."""

    def __init__(self, folder, uri):
        self.folder, self.uri = folder, uri
        (folder / "workspace").mkdir()
        settings = {"observers": {"mlflow": {"uri": uri, "experiment": "rows of numbers"}}}
        (folder / "workspace" / "workspace.yaml").write_text(json.dumps(settings))

    def mlops(self, *arguments, check=True):
        environ = {**os.environ, **SWITCHES, "PYTHONPATH": str(TOY)}
        command = [*COMMAND, "--workspace", str(self.folder / "workspace"), *map(str, arguments)]
        result = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environ, cwd=self.folder, timeout=240
        )
        assert not check or result.returncode == 0, result.stderr
        return result

    def client(self):
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.uri)


@pytest.fixture
def quiet(monkeypatch):
    """MLflow reads these variables on import and leaves them as they are."""
    for name, value in SWITCHES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


@pytest.fixture
def workspace_at(tmp_path, quiet, monkeypatch):
    """Return a function that makes a workspace whose runs are sent to an address."""
    monkeypatch.chdir(tmp_path)
    return lambda uri: Workspace(tmp_path, uri)


@pytest.fixture
def workspace(tmp_path, workspace_at):
    return workspace_at(f"sqlite:///{tmp_path}/mlflow.db")
