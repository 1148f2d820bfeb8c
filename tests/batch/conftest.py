"""The use cases ECHO and SCORES as installed distributions, and ``mlops`` as a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PLUGINS = [str(TESTS / "batch" / "plugin"), str(TESTS / "serving" / "echo"), str(TESTS / "toy")]
MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


@pytest.fixture
def plugins(monkeypatch):
    for place in PLUGINS:
        monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(PLUGINS))


@pytest.fixture
def model(tmp_path, plugins):
    """A model of ECHO, whose answers depend on the content of a file alone."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.txt").write_text("echo")
    return folder


@pytest.fixture
def command(model):
    def build(*arguments, output="out.jsonl"):
        return [*MLOPS, "predict", "-u", "ECHO", "--model", "./model", "--output", output, *map(str, arguments)]

    return build


@pytest.fixture
def predict(command):
    """Run ``mlops predict --output``; return its standard output, or everything that it printed for an error."""

    def call(*arguments, code=0, output="out.jsonl"):
        done = subprocess.run(
            command(*arguments, output=output), capture_output=True, text=True, check=False, env=os.environ
        )
        assert done.returncode == code, done.stderr
        return done.stdout if not code else done.stdout + done.stderr

    return call


@pytest.fixture
def held(folder, tmp_path):
    """Let the named files of the folder wait until they are released, so that a call cannot end before it is killed.

    The other files take `pause_s` each: the journal is written once a second.
    """

    def call(*names, pause_s, suffix=b""):
        for path in folder.glob("?/*.bin"):
            path.write_bytes(b"sleep %.2f " % pause_s + (suffix or path.name.encode()))
        markers = [tmp_path / f"released-{Path(name).stem}" for name in names]
        for name, marker in zip(names, markers, strict=True):
            (folder / name).write_bytes(b"wait for " + os.fsencode(marker))
        return markers

    return call


@pytest.fixture
def folder(tmp_path):
    """Files in folders, with two that cannot be used and what is no data."""
    top = tmp_path / "in"
    for number in range(24):
        path = top / f"{number % 3}" / f"{number:02d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content %d" % number)
    (top / "rows.csv").write_bytes(b"a\nb\nc\n")
    (top / "unusable.bin").write_bytes(b"unusable")
    (top / ".hidden").mkdir()
    (top / ".hidden" / "x.bin").write_bytes(b"x")
    (top / "Thumbs.db").write_bytes(b"x")
    return top
