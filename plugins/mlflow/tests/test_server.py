"""A real tracking server: `mlflow server` with SQLite, killed in the middle of a run and started again."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

PYTHON = os.environ.get("MLOPS_TEST_MLFLOW_PYTHON", "")
"""The interpreter of an environment with MLflow's server, which is not among the dependencies of the tests."""

pytestmark = [
    pytest.mark.slow_suite,
    pytest.mark.skipif(not PYTHON, reason="MLOPS_TEST_MLFLOW_PYTHON is not set"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of MLflow's own dependencies
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class Server:
    """The server's process; its data outlives it."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process = None

    def start(self):
        command = [PYTHON, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        stores = ["--backend-store-uri", f"sqlite:///{self.folder}/db"]
        stores += ["--artifacts-destination", f"{self.folder}/files"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command + stores, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 240
        while not self._is_up():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.2)

    def _is_up(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    def kill(self):
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path, quiet):
    server = Server(tmp_path / "server")
    server.start()
    yield server
    server.kill()


def test_nothing_is_lost_when_the_server_is_killed_and_started_again(server, workspace_at):
    workspace = workspace_at(server.uri)
    workspace.mlops("run", "--usecase", "TOY", "--set", "training.behaviour=history")
    workspace.mlops("observers", "flush", "mlflow")
    server.kill()
    workspace.mlops("run", "--usecase", "TOY", "--set", "training.bias=0.1")
    assert workspace.mlops("observers", "flush", "mlflow", check=False).returncode == 4
    server.start()
    workspace.mlops("observers", "flush", "mlflow")

    client = workspace.client()
    (experiment,) = (found for found in client.search_experiments() if found.name == "rows of numbers")
    runs = client.search_runs([experiment.experiment_id])
    ours = {run.data.tags["mlops.run_id"]: run for run in runs if "mlops.step" not in run.data.tags}
    records = [json.loads(path.read_text()) for path in Path("workspace/runs").glob("*/run.json")]
    assert set(ours) == {record["run_id"] for record in records}
    assert {run.info.status for run in ours.values()} == {"FINISHED"}
    assert len(runs) - len(ours) == 2 * 4
    versions = client.search_model_versions("name = 'TOY'")
    assert {version.tags["run"] for version in versions} == set(ours)
    (state,) = json.loads(workspace.mlops("observers", "list", "--json").stdout)
    assert (state["waiting"], state["failed"], state["dropped"], state["unread"]) == (0, 0, 0, 0)
