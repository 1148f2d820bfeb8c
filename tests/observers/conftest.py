"""The observer ``recorder`` is installed beside the use case TOY, and its settings are in the workspace."""

import json
import time
from pathlib import Path

import pytest

RECORDER = Path(__file__).parent / "recorder"
TOY = Path(__file__).parents[1] / "toy"


class Recorder:
    """What the observer received, and how it is to behave."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def behave(self, behaviour):
        (self.folder / "behaviour").write_text(behaviour)

    def events(self):
        path = self.folder / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def calls(self):
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, condition, limit_s=60):
        deadline = time.monotonic() + limit_s
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert condition(), self.events()


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TOY))
    monkeypatch.syspath_prepend(str(RECORDER))
    monkeypatch.setenv("PYTHONPATH", f"{TOY}:{RECORDER}")
    recorder = Recorder(tmp_path / "recorded")
    (tmp_path / "workspace").mkdir()
    settings = json.dumps({"observers": {"recorder": {"folder": str(recorder.folder)}}})
    (tmp_path / "workspace" / "workspace.yaml").write_text(settings)
    return recorder


@pytest.fixture
def workspace(tmp_path):
    return tmp_path / "workspace"
