"""The serving container against a client that behaves as the service does."""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mlops_sagemaker.plugin import SageMakerPlugin
from mlops_sagemaker.serving.container import main, options
from mlops_sagemaker.serving.protocol import SageMakerProtocol

from mlops_core import UsageError
from mlops_core.runners import usable_cores
from mlops_core.serving import image

SHARED = Path(__file__).parents[4] / "tests"
PLUGINS = os.pathsep.join([str(SHARED / "serving" / "echo"), str(SHARED / "toy")])
PING_TIMEOUT_S = 2
CONNECT_TIMEOUT_S = 0.25
ANSWER_TIMEOUT_S = 60
START_LIMIT_S = 240
KILL_AFTER_S = 30
FORWARDED = {"content-type", "accept", "content-length", "x-amzn-sagemaker-custom-attributes"}
FORWARDED |= {"x-amzn-sagemaker-inference-id", "x-amzn-sagemaker-target-variant"}


class Platform:
    """Starts the container's command and calls it on the schedule of the service."""

    def __init__(self, model, **environ):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        variables = {"USECASE_NAME": "ECHO", "MLOPS_SERVE_MODEL": str(model), "SAGEMAKER_BIND_TO_PORT": str(self.port)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlops_sagemaker.serving.container", "serve"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": PLUGINS, **variables, **environ},
        )
        self.failed_pings = 0  # the most in a row: a busy machine may be late once
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ping_for_ever, daemon=True)

    def connect(self):
        """Connect within 250 ms, as the service does; then wait for an answer for 60 s."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CONNECT_TIMEOUT_S)
        connection.connect()
        connection.sock.settimeout(ANSWER_TIMEOUT_S)
        return contextlib.closing(connection)

    def ping(self):
        try:
            with self.connect() as connection:
                connection.sock.settimeout(PING_TIMEOUT_S)
                connection.request("GET", "/ping")
                response = connection.getresponse()
                return response.status == 200 and response.read() == b""
        except OSError:
            return False

    def wait_until_in_service(self):
        """Ping until the container answers, and then at intervals, as the service does."""
        deadline = time.monotonic() + START_LIMIT_S
        while not self.ping():
            assert time.monotonic() < deadline, "did not pass the ping health check"
            assert self.process.poll() is None, "the container ended"
            time.sleep(0.05)
        self._thread.start()
        return self

    def _ping_for_ever(self):
        failed = 0
        while not self._is_over.wait(0.2):
            failed = 0 if self.ping() else failed + 1
            self.failed_pings = max(self.failed_pings, failed)

    def invoke(self, body, **headers):
        names = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        with self.connect() as connection:
            forwarded = {name: value for name, value in names.items() if name in FORWARDED}
            connection.request("POST", "/invocations", body, forwarded)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def get(self, path):
        with self.connect() as connection:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    def stop(self):
        """Send SIGTERM, and SIGKILL after 30 s; return the exit code."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()
        self.process.terminate()
        try:
            return self.process.wait(KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return -signal.SIGKILL


@pytest.fixture
def platform(tmp_path):
    platforms = []

    def start(settings="", **environ):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "model.txt").write_text(settings)
        platforms.append(Platform(tmp_path / "model", **environ))
        return platforms[-1].wait_until_in_service()

    yield start
    for each in platforms:
        each.stop()


def test_the_container_meets_the_schedule_of_the_service(platform):
    service = platform("heavy", SAGEMAKER_MODEL_SERVER_WORKERS="2")
    answers = [service.invoke(b"%d" % n, content_type="text/csv")[0] for n in range(20)]
    assert answers == [200] * 20
    threads = [
        threading.Thread(target=service.invoke, args=(b"sleep 0.5",), kwargs={"content_type": "text/csv"})
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert service.failed_pings < 2
    assert service.stop() == 0


def test_a_batch_transform_learns_the_strategy_and_n_lines_give_n_lines(platform):
    service = platform(SAGEMAKER_MODEL_SERVER_WORKERS="1", SAGEMAKER_MAX_PAYLOAD_IN_MB="3", SAGEMAKER_BATCH="true")
    assert service.get("/execution-parameters") == {
        "MaxConcurrentTransforms": 1,
        "BatchStrategy": "SINGLE_RECORD",  # ECHO takes single files, too
        "MaxPayloadInMB": 3,
    }
    status, _, body = service.invoke(b"1,2\n3,4\n5,6\n", content_type="text/csv", accept="text/csv")
    assert (status, body.count(b"\n")) == (200, 3)


def test_custom_attributes_return_and_unknown_headers_do_not_matter(platform):
    service = platform(SAGEMAKER_MODEL_SERVER_WORKERS="1", SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="text/csv")
    status, headers, _ = service.invoke(
        b"x",
        content_type="text/csv",
        x_amzn_sagemaker_custom_attributes="trace=1; c000b4f9",
        x_amzn_sagemaker_target_variant="AllTraffic",
    )
    assert status == 200
    assert headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1; c000b4f9"
    assert headers["content-type"].startswith("text/csv")
    status, _, body = service.invoke(b"x", content_type="text/csv", x_amzn_sagemaker_custom_attributes="a" * 1025)
    assert status == 400
    assert "at most 1024" in json.loads(body)["error"]
    assert service.invoke(b"x", content_type="audio/wav")[0] == 415


def test_requests_are_captured_in_the_format_of_data_capture(platform, tmp_path):
    folder = tmp_path / "captured"
    service = platform(SAGEMAKER_MODEL_SERVER_WORKERS="1", MLOPS_CAPTURE=str(folder))
    sent = bytes(range(256))
    answers = [
        service.invoke(sent, content_type="application/octet-stream", x_amzn_sagemaker_inference_id="id-1"),
        service.invoke(b"1,2\n", content_type="text/csv", accept="text/csv"),
    ]
    assert service.stop() == 0
    files = sorted(folder.rglob("*.jsonl"))
    assert files[0].relative_to(folder).parts[:2] == ("echo", "AllTraffic")
    assert len(files[0].relative_to(folder).parts) == 7
    binary, table = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert binary["eventVersion"] == "0"
    assert set(binary["eventMetadata"]) == {"eventId", "inferenceId", "inferenceTime", "mlopsModel"}
    assert binary["eventMetadata"]["inferenceId"] == "id-1"
    assert binary["captureData"]["endpointInput"] == {
        "observedContentType": "application/octet-stream",
        "mode": "INPUT",
        "data": base64.b64encode(sent).decode(),
        "encoding": "BASE64",
    }
    output = binary["captureData"]["endpointOutput"]
    assert (output["mode"], output["encoding"], output["data"].encode()) == ("OUTPUT", "JSON", answers[0][2])
    assert table["captureData"]["endpointInput"]["data"] == "1,2\n"
    assert table["captureData"]["endpointOutput"]["encoding"] == "CSV"
    assert "inferenceId" not in table["eventMetadata"]
    read = SageMakerProtocol().read_captured(binary)
    assert (read.body, read.answer, read.model) == (sent, answers[0][2], binary["eventMetadata"]["mlopsModel"])
    assert read.model.startswith("ECHO ")
    assert SageMakerProtocol().read_captured(table).answer == answers[1][2]


def test_lines_of_the_services_own_data_capture_are_read():
    line = {
        "captureData": {
            "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": "a,0.5", "encoding": "CSV"}
        },
        "eventMetadata": {"eventId": "e-1", "inferenceTime": "2026-05-01T10:00:00Z"},
        "eventVersion": "0",
    }
    read = SageMakerProtocol().read_captured(line)
    assert (read.request_id, read.received.isoformat(), read.answer) == ("e-1", "2026-05-01T10:00:00+00:00", b"a,0.5")
    assert (read.body, read.model) == (b"", "")
    assert SageMakerProtocol().read_captured({"time": 1}) is None
    for damaged in (
        {**line, "captureData": {}},
        {**line, "eventMetadata": {"eventId": "e"}},
        {**line, "captureData": 7},
    ):
        with pytest.raises(ValueError, match="data capture is damaged"):
            SageMakerProtocol().read_captured(damaged)


def test_variables_set_the_options():
    environ = {
        "SAGEMAKER_BIND_TO_PORT": "9000",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "3",
        "SAGEMAKER_MODEL_SERVER_TIMEOUT": "3600",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "100",
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "40",
    }
    chosen = options(environ)
    assert (chosen.host, chosen.port, chosen.workers, chosen.protocol) == ("0.0.0.0", 9000, 3, "sagemaker")
    assert (chosen.timeout_s, chosen.max_body_bytes, chosen.logs_requests) == (59, 100 << 20, False)
    assert options({**environ, "SAGEMAKER_BATCH": "true"}).timeout_s == 3600
    batch = {"SAGEMAKER_BATCH": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "100"}
    assert options(batch).workers == min(100, usable_cores())
    assert (options(batch).max_waiting, options({}).max_waiting) == (100, None)
    assert options({**batch, "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "7"}).max_waiting == 7
    assert (options({}).port, options({}).workers, options({}).timeout_s) == (8080, None, 55)
    with pytest.raises(UsageError, match="SAGEMAKER_BIND_TO_PORT is 'http'"):
        options({"SAGEMAKER_BIND_TO_PORT": "http"})


def test_wrong_starts_are_one_line(capsys, monkeypatch, tmp_path):
    assert main(["train"]) == 2
    assert main(["serve"]) == 2
    with monkeypatch.context() as patch:
        patch.setenv("USECASE_NAME", "ABALONE")
        patch.setenv("MLOPS_SERVE_MODEL", str(tmp_path / "none"))
        assert main(["serve"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "has no command 'train'" in lines[0]
    assert "USECASE_NAME is not set" in lines[1]
    assert "does not exist" in lines[2]
    assert len(lines) == 3


def test_the_script_of_the_image_serves(tmp_path):
    script = Path(__file__).parents[4] / "entrypoints" / "serve.py"
    assert script.read_text() == image._template("serve.py", {"module": "mlops_sagemaker.serving.container"})
    assert SageMakerPlugin().container_image().serving_module == "mlops_sagemaker.serving.container"
    done = subprocess.run([sys.executable, script, "train"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "this image serves a model and has no command 'train'" in done.stderr
