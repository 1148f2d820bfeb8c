"""Servers as real processes on the loopback interface, and a client that knows nothing of theirs."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PLUGINS = os.pathsep.join([str(HERE / "echo"), str(HERE.parent / "toy")])
COMMAND = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


class Server:
    """A process of ``mlops serve``, with what it printed."""

    def __init__(self, *arguments, env=None, command=None, reads_output=True):
        environ = {**os.environ, "PYTHONPATH": PLUGINS, **(env or {})}
        self.process = subprocess.Popen(
            command or [*COMMAND, "serve", "--usecase", "ECHO", "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        )
        self.notes, self.lines, self._readers = [], [], []
        streams = [(self.process.stderr, self.notes), (self.process.stdout, self.lines)]
        for stream, target in streams if reads_output else streams[:1]:
            thread = threading.Thread(target=self._read, args=(stream, target), daemon=True)
            thread.start()
            self._readers.append(thread)
        self.port = None

    @staticmethod
    def _read(stream, target):
        for line in stream:
            target.append(line.rstrip("\n"))

    def wait_until_ready(self, limit_s=120):
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and self.process.poll() is None:
            for note in self.notes:
                if note.startswith("serving "):
                    self.port = int(note.split("http://")[1].split()[0].rsplit(":", 1)[1])
                    return self
            time.sleep(0.01)
        raise AssertionError(f"not ready: {self.notes}, exit code {self.process.poll()}")

    def wait_for_note(self, text, limit_s=120):
        """Tell whether a line with this text is in the log; it may be read later than the answer that it explains."""
        deadline = time.monotonic() + limit_s
        while not (is_there := any(text in note for note in self.notes)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return is_there

    def workers(self):
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def connection(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def send(self, body=b"x", *, method="POST", path="/invocations", timeout=60, **headers):
        """Return status, headers and body of the response."""
        names = {"content_type": "application/octet-stream"} | headers
        sent = {name.replace("_", "-"): value for name, value in names.items() if value is not None}
        with contextlib.closing(self.connection(timeout)) as connection:
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def get(self, path, **headers):
        return self.send(None, method="GET", path=path, content_type=None, **headers)

    def metric(self, name):
        for line in self.get("/metrics")[2].decode().splitlines():
            if line.startswith(f"mlops_serving_{name} "):
                return float(line.split()[1])
        raise AssertionError(name)

    def wait_for_metric(self, name, value, limit_s=120):
        """Return whether a metric has this value within the limit."""
        deadline = time.monotonic() + limit_s
        while not (is_equal := self.metric(name) == value) and time.monotonic() < deadline:
            time.sleep(0.01)
        return is_equal

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(90)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            for thread in self._readers:
                thread.join(30)
            self.process.stdout.close()
            self.process.stderr.close()

    def log(self):
        return [json.loads(line) for line in self.lines]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """Return a function that makes a model with settings."""

    def make(settings=""):
        folder = tmp_path_factory.mktemp("model")
        (folder / "model.txt").write_text(settings)
        return folder

    return make


@pytest.fixture
def start(model_folder):
    """Return a function that starts a server; all are ended after the test."""
    servers = []

    def start_server(*arguments, settings="", is_ready=True, **options):
        server = Server("--model", f"{model_folder(settings)}/", *arguments, **options)
        servers.append(server)
        return server.wait_until_ready() if is_ready else server

    yield start_server
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(model_folder):
    """A server with two workers that several tests share."""
    shared = Server("--model", f"{model_folder()}/", "--workers", "2").wait_until_ready()
    yield shared
    assert shared.stop() == 0
