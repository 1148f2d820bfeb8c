"""Requests that are recorded when a model is registered: which samples, with which answers, and when not."""

import pytest

from mlops_core import run
from mlops_core.deployments.plan import Stage
from mlops_core.deployments.recorded import MOST_REQUESTS, read_requests
from mlops_core.errors import StoreError
from mlops_core.runners.observers import SilentObserver
from mlops_core.workspace.maintenance.housekeeping import find_garbage
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store


class Notes(SilentObserver):
    """Keeps what a run notes."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def test_a_run_records_test_samples_with_the_answers_of_its_model_and_staging_repeats_them(world, recorded_words):
    notes = Notes()
    record = run("WORDS", workspace=world.home, observer=notes)
    assert [line for line in notes.lines if "requests" in line] == [
        "recording requests for the deployment test: the model is loaded and answers a few test samples"
    ]
    version = world.registry.version("WORDS", record.model_version)
    requests = read_requests(world.store, version.requests)
    assert len(requests) == MOST_REQUESTS
    assert {len(request.body) > 6 for request in requests} == {True, False}  # both classes
    for request in requests:
        (expected,) = recorded_words(request.body.decode())
        assert (request.content_type, request.answer) == ("text/plain", expected.answer)
    assert version.requests not in find_garbage(world.store, keep=0).artifacts
    assert run("WORDS", workspace=world.home).model_version == version.version  # known: nothing is recorded again
    outcome = world.deploy(stage=Stage.STAGING, is_tested=True)
    assert outcome.test.requests == MOST_REQUESTS
    assert outcome.test.has_passed


def test_requests_whose_artifact_was_changed_are_refused(world, recorded_words):
    version = world.register(recorded=recorded_words("abc"))
    body = world.store.artifacts.path(version.requests) / "body-00"
    body.chmod(0o644)
    body.write_bytes(b"another word")
    with pytest.raises(StoreError, match=r"body-00 has changed; run the use case again to record them"):
        read_requests(world.store, version.requests)


def test_a_workspace_that_keeps_no_copies_of_samples_records_nothing(tmp_path, plugins):
    home = tmp_path / "home"
    home.mkdir()
    (home / "workspace.yaml").write_text("record_requests: false\n")
    record = run("WORDS", workspace=home)
    with Store(home) as store:
        assert Registry(store).version("WORDS", record.model_version).requests == ""
