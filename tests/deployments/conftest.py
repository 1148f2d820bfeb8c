"""A workspace with model versions that are good, broken, slow or constant, and their endpoints as real processes."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlops_core.cli import cli
from mlops_core.deployments.driver import Deployer, DeploymentRequest
from mlops_core.deployments.local.target import LocalTarget
from mlops_core.deployments.plan import Stage
from mlops_core.deployments.recorded import RecordedRequest, write_requests
from mlops_core.deployments.settings import DeploymentSettings
from mlops_core.deployments.states import EndpointPhase
from mlops_core.errors import MlopsError
from mlops_core.workspace.model_versions import ApprovalStatus, ModelVersion
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

HERE = Path(__file__).parent
PLUGINS = [str(HERE / "words"), str(HERE.parent / "toy")]
USE_CASE = "WORDS"
QUICK = {"bake_s": 0, "interval_s": 0}
LIMIT_S = 60


def settings(*, shift="all-at-once", percent=10, interval_s=0.0, bake_s=0.0, alarms=None, **others):
    """Return settings whose waits are short."""
    traffic = {"shift": shift, "percent": percent, "interval_s": interval_s, "bake_s": bake_s}
    return DeploymentSettings.model_validate({"traffic": traffic, "alarms": alarms or {}, **others})


class World:
    """A workspace, and what a person does in it."""

    def __init__(self, home):
        self.home = home
        self.notes = []
        self.store = Store(home)
        self.registry = Registry(self.store)
        self.target = LocalTarget(self.store)
        self.deployer = Deployer(self.store, self.target, note=self.notes.append)
        self.ledger = self.deployer.ledger

    def register(self, behaviour="", *, limit=6, use_case=USE_CASE, recorded=(), approved=False):
        """Register a model; `recorded` has pairs of a word and the probability that it is long."""
        folder = self.store.work_folder("model") / "content"
        folder.mkdir()
        (folder / "model.txt").write_text(str(limit))
        if behaviour:
            (folder / "behaviour.txt").write_text(behaviour)
        requests = ""
        if recorded:
            kept = self.store.work_folder("requests") / "content"
            kept.mkdir()
            write_requests(kept, recorded)
            requests = self.store.artifacts.add(kept)
        version = self.registry.register(
            ModelVersion(
                use_case=use_case,
                version=0,
                run_id="20260101-000000-abcdef",
                created="2026-01-01T00:00:00.000+00:00",
                artifact=self.store.artifacts.add(folder),
                requests=requests,
            )
        )
        if approved:
            self.registry.set_status(version, ApprovalStatus.APPROVED, why="it is good")
        return version

    def deploy(self, version=None, *, stage=Stage.PRODUCTION, is_tested=False, **options):
        """Deploy a version."""
        return self.deployer.deploy(
            DeploymentRequest(
                use_case=USE_CASE,
                version=None if version is None else str(getattr(version, "version", version)),
                stage=stage,
                settings=settings(**options),
                why="a test",
                is_tested=is_tested,
            )
        )

    def status(self, endpoint="words-production"):
        return self.target.status(endpoint)

    def states(self, number=1):
        """Return the states of a deployment in the order of the ledger."""
        deployment = self.ledger.deployment(USE_CASE, number)
        entries = self.ledger.history(deployment)
        return [entry.value for entry in entries if entry.subject == f"deployment {number}"]

    def answer(self, word="word", *, endpoint="words-production", timeout_s=30):
        """Return status, body and configuration of an answer to a word."""
        port = self.target.folder(endpoint).read_state().port
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)) as connection:
            connection.request("POST", "/invocations", body=word.encode(), headers={"Content-Type": "text/plain"})
            response = connection.getresponse()
            return response.status, response.read(), response.headers.get("x-mlops-configuration")

    def process(self, endpoint="words-production"):
        """Return the process id of an endpoint; 0 where there is no process."""
        folder = self.target.folder(endpoint)
        return folder.read_state().pid if folder.has_process() else 0

    def kill(self, endpoint="words-production"):
        """Kill the process of an endpoint, and wait until it and its servers are gone."""
        pid = self.process(endpoint)
        assert pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.target.folder(endpoint).has_process())

    wait_for = staticmethod(lambda condition, limit_s=LIMIT_S: wait_for(condition, limit_s))

    def callers(self, count=2, endpoint="words-production"):
        """Return threads that send different words while they are entered."""
        return Callers(self, count, endpoint)

    def again(self):
        """Open the same workspace a second time, as another process or thread does."""
        return World(self.home)

    def mlops(self, *arguments, **options):
        """Run the command line in a process of its own."""
        return mlops(self.home, *arguments, **options)

    def close(self):
        """End every endpoint."""
        for folder in (self.home / "deployments" / "local").glob("*"):
            self.target.delete(folder.name)
        for folder in (self.home / "deployments" / "local").glob("*"):
            wait_for(lambda name=folder.name: self.target.status(name).phase is EndpointPhase.ABSENT)
            wait_for(lambda name=folder.name: not self.target.folder(name).has_process())
        self.store.close()


class Callers:
    """Threads that send different words to an endpoint until they are stopped."""

    def __init__(self, world, count=2, endpoint="words-production"):
        self.answers, self.failures = [], []
        self._world, self._endpoint, self._is_over = world, endpoint, threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,), daemon=True) for number in range(count)]

    def _call(self, number):
        count = 0
        while not self._is_over.is_set():
            count += 1
            try:
                self.answers.append(self._world.answer(f"{number}-{count}" * 3, endpoint=self._endpoint))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
            time.sleep(0.002)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)


def wait_for(condition, limit_s=LIMIT_S):
    """Wait until a condition holds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def recorded(*words, limit=6):
    """Return recorded requests with the answers of a good model."""
    sys.path.insert(0, str(HERE / "words"))
    try:
        from mlops_served_words.plugin import WordPredictor
    finally:
        sys.path.pop(0)
    predictor = object.__new__(WordPredictor)
    predictor._limit, predictor._behaviour = limit, ""
    requests = []
    for word in words:
        scores = dict(zip(WordPredictor.classes, predictor._scores(word.encode()), strict=True))
        answer = {"predictions": [{"scores": scores}]}
        requests.append(RecordedRequest(sample=word, content_type="text/plain", body=word.encode(), answer=answer))
    return requests


def mlops(home, *arguments, **options):
    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(home)]
    return subprocess.run(
        [*command, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PLUGINS)},
        **options,
    )


@pytest.fixture(scope="module")
def plugins():
    """Install the use cases of this folder."""
    with pytest.MonkeyPatch.context() as patch:
        for path in PLUGINS:
            patch.syspath_prepend(path)
        patch.setenv("PYTHONPATH", os.pathsep.join(PLUGINS))
        yield


@pytest.fixture
def world(tmp_path, plugins):
    """A workspace whose endpoints are ended after the test."""
    new = World(tmp_path / "home")
    yield new
    new.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory, plugins):
    """A workspace whose production answers with a good model; several tests share it."""
    new = World(tmp_path_factory.mktemp("served") / "home")
    new.deploy(new.register(approved=True))
    yield new
    new.close()


@pytest.fixture(scope="module")
def stocked(tmp_path_factory, plugins):
    """A workspace with versions that are approved (1), pending (2), rejected (3) and gone (4), and nothing deployed."""
    new = World(tmp_path_factory.mktemp("stocked") / "home")
    new.register(approved=True)
    new.register(limit=7)
    new.registry.set_status(new.register(limit=8), ApprovalStatus.REJECTED, why="bad")
    new.store.artifacts.discard(new.register(limit=9).artifact)
    new.register(use_case="MUTE", limit=10)
    yield new
    new.close()


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, what it printed, and its error."""

    exit_code: int
    output: str
    problem: str


@pytest.fixture(scope="session")
def run():
    """Return a function that runs the command line in this process."""

    def call(world, *arguments):
        result = CliRunner().invoke(cli, ["--workspace", str(world.home), *map(str, arguments)])
        error = result.exception
        if isinstance(error, MlopsError):
            return Outcome(int(error.exit_code), result.stdout, str(error))
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def recorded_words():
    """Return a function that records requests with the answers of a good model."""
    return recorded
