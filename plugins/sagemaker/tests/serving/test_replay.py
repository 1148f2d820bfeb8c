"""Requests that a real server captured, replayed by ``mlops drift check``: the alarms of the server itself."""

import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from mlops_core.errors import ExitCode
from mlops_core.evaluation.reference_statistics import ReferenceStatistics, write_reference

SHARED = Path(__file__).parents[4] / "tests"
PLUGINS = os.pathsep.join([str(SHARED / "serving" / "echo"), str(SHARED / "toy")])
MLOPS = (sys.executable, "-c", "from mlops_core.cli import main; main()")
ACCEPT = ("application/json", "text/csv", "application/jsonlines")


def answer(row):
    """Return the scores of the model, which depend on the bytes of a row alone."""
    digest = hashlib.sha256(row.encode()).digest()
    return [int.from_bytes(digest[8 * at : 8 * at + 7]) / 2**56 for at in range(3)]


def drawn(count, *, seed, shift=0.0):
    source = random.Random(seed)
    return [f"{source.gauss(shift, 1):.4f},{source.gauss(0, 1):.4f}" for _ in range(count)]


REFERENCES = {
    "describing": ("description", ("first", "second"), lambda row: tuple(map(float, row.split(",")))),
    "": ("scores", ("a", "b, c", 'd"e'), lambda row: tuple(answer(row))),
    "regression": ("scores", ("prediction",), lambda row: (sorted(answer(row))[1],)),
}


@pytest.fixture
def served(tmp_path):
    """Return a function that starts a server of a model with a reference and captures its requests."""
    with contextlib.ExitStack() as stack:

        def start(settings):
            source, features, vector = REFERENCES[settings]
            model = tmp_path / "model"
            model.mkdir()
            (model / "model.txt").write_text(settings)
            rows = drawn(120, seed=0)
            names = tuple(f"row {number}" for number in range(len(rows)))
            vectors = tuple(map(vector, rows))
            write_reference(
                model, ReferenceStatistics(features=features, vectors=vectors, samples=names, source=source)
            )
            return stack.enter_context(Serving(tmp_path, model))

        yield start


class Serving:
    """A process of ``mlops serve --capture``."""

    def __init__(self, folder, model):
        self.folder, self.model = folder, model
        self.env = {**os.environ, "PYTHONPATH": PLUGINS, "MLOPS_HOME": str(folder / "home")}
        options = ("--model", f"{model}/", "--port", "0", "--workers", "1", "--protocol", "sagemaker")
        drift = ("--state-dir", folder / "state", "--drift-false-alarms", "1 in 1 day")
        self.process = subprocess.Popen(
            [*MLOPS, "serve", "-u", "ECHO", *options, "--capture", folder / "captured", *drift,
             "--drift-requests-per-hour", "20"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.env,
        )  # fmt: skip
        self.notes = []
        self._reader = threading.Thread(target=lambda: self.notes.extend(self.process.stderr), daemon=True)

    def __enter__(self):
        notes = iter(self.process.stderr.readline, "")
        for note in notes:
            self.notes.append(note)
            if note.startswith("serving "):
                self.port = int(note.split("http://")[1].split()[0].rsplit(":", 1)[1])
            if "watching drift" in note:
                break
        self._reader.start()
        if not any("watching drift" in note for note in self.notes):
            self.__exit__()
            raise AssertionError(self.notes)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        self.process.stderr.close()

    def send(self, rows, accept):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            body = "".join(f"{row}\n" for row in rows)
            connection.request("POST", "/invocations", body, {"Content-Type": "text/csv", "Accept": accept})
            response = connection.getresponse()
            content = response.read()
            assert response.status == 200, content

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(90) == 0

    def alarms(self):
        return [json.loads(line) for line in (self.folder / "state" / "alarms.jsonl").read_text().splitlines()]

    def check(self, *arguments):
        return subprocess.run(
            [*MLOPS, "drift", "check", "-u", "ECHO", "--model", f"{self.model}/", "--days", "1", "--requests-per-hour",
             "20", "--json", *arguments, self.folder / "captured"],
            capture_output=True, text=True, check=False, env=self.env,
        )  # fmt: skip


@pytest.mark.parametrize("settings", list(REFERENCES), ids=["description", "scores", "prediction"])
def test_a_replay_of_captured_requests_raises_the_alarms_of_the_server(served, settings):
    server = served(settings)
    begun = time.time()
    rows = drawn(50, seed=1) + (drawn(60, seed=2, shift=2.5) if settings == "describing" else drawn(2, seed=3) * 30)
    for number, at in enumerate(range(0, len(rows), 5)):  # five samples each, some in single requests
        for part in [rows[at : at + 5]] if number % 3 else [[row] for row in rows[at : at + 5]]:
            server.send(part, ACCEPT[number % 3])
    server.stop()
    raised = server.alarms()
    assert raised

    done = server.check()
    assert done.returncode == ExitCode.REJECTED, done.stderr
    found = json.loads(done.stdout)
    assert (found["counts"]["samples"], found["counts"]["unreadable_lines"]) == (len(rows), 0)
    kept = ("model", "statistic", "window", "observed", "seen")
    assert [[alarm[name] for name in kept] for alarm in found["alarms"]] == [
        [alarm[name] for name in kept] for alarm in raised
    ]
    for replayed, live in zip(found["alarms"], raised, strict=True):
        assert replayed["value"] == pytest.approx(live["value"], rel=1e-6)
        assert replayed["threshold"] == live["threshold"]
        assert [each["name"] for each in replayed["features"]] == [each["name"] for each in live["features"]]
        moments = [datetime.fromisoformat(alarm["raised_at"]).timestamp() for alarm in (replayed, live)]
        assert moments[0] == pytest.approx(
            moments[1], abs=60
        )  # captured times are whole seconds, taken by another part
    times = [alarm["raised_at"] for alarm in found["alarms"]]
    assert times == sorted(times)
    assert [bool(alarm["proposal"]) for alarm in found["alarms"]] == [bool(alarm["proposal"]) for alarm in raised]
    assert found["hours"] * 3600 <= time.time() - begun + 1
    if settings == "describing":
        check_that_a_body_on_which_the_plugin_fails_is_counted(server, found)


def check_that_a_body_on_which_the_plugin_fails_is_counted(server, expected):
    first = next(path for path in sorted((server.folder / "captured").rglob("*.jsonl")) if path.stat().st_size)
    record = json.loads(first.read_text().splitlines()[0])
    record["captureData"]["endpointInput"].update(data="no,numbers\n", encoding="CSV")
    record["eventMetadata"]["eventId"] = "damaged"
    with first.open("a") as stream:
        stream.write(json.dumps(record) + "\n")
    done = server.check()
    assert done.returncode == ExitCode.REJECTED, done.stderr
    found = json.loads(done.stdout)
    assert found["counts"] == {**expected["counts"], "undescribed_requests": 1}
    assert [alarm["id"] for alarm in found["alarms"]] == [alarm["id"] for alarm in expected["alarms"]]
    assert any("1 requests made the plugin fail" in note and "no" in note for note in found["notes"])
