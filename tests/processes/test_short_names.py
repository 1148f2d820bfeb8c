"""Sockets and temporary files of a step, however deep the workspace lies."""

import os
import tempfile
from pathlib import Path

import pytest

from mlops_core import Step
from mlops_core.errors import ExitCode
from mlops_core.processes.short_names import remove_left_over_links, short_name
from mlops_core.runners.local.processes import StepProcesses
from mlops_core.steps.context import StepRequest

STEPS = """
import multiprocessing, os, socket, tempfile
from multiprocessing.connection import Client, Listener
from multiprocessing.pool import Pool
from pathlib import Path

def double(number):
    return 2 * number

def work(context):
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        shared["a"] = 1
        assert dict(shared) == {"a": 1}
    for method in ("forkserver", "spawn", "fork"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(double, [1, 2]) == [2, 4]
    with Listener(family="AF_UNIX") as listener:
        assert len(listener.address) < 100
    deep = tempfile.mkdtemp(prefix="a-library-with-a-long-name-")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{deep}/manager.sock")
    with tempfile.NamedTemporaryFile() as file:
        (context.output("o") / "place").write_text(os.path.realpath(file.name))
"""


@pytest.fixture
def request_in(tmp_path, monkeypatch):
    """Return a function that makes a request to execute the step above in a folder with a path of some length."""
    (tmp_path / "socket_steps.py").write_text(STEPS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(length):
        folder = tmp_path / "w"
        while len(str(folder)) < length:
            folder = folder / "deep"
        for name in ("scratch", "o"):
            (folder / name).mkdir(parents=True)
        return folder, StepRequest(
            use_case="X",
            step=Step(name="work", run="socket_steps:work", outputs=("o",)),
            config={},
            parameters={},
            seed=0,
            inputs={},
            outputs={"o": folder / "o"},
            scratch=folder / "scratch",
            progress_file=folder / "progress.jsonl",
        )

    return make


@pytest.mark.parametrize("length", [0, 120, 400])
def test_sockets_work_in_a_step_whatever_the_length_of_the_path(request_in, length):
    folder, request = request_in(length)
    with StepProcesses() as processes:
        outcome = processes.run(request, folder=folder, log=folder / "log", on_progress=lambda *_: None)
    assert (outcome.exit_code, outcome.error) == (ExitCode.OK, ""), (folder / "log").read_text()
    assert (folder / "o" / "place").read_text().startswith(str(folder / "scratch"))


def test_a_short_name_leads_to_the_folder_and_disappears(tmp_path):
    folder = tmp_path / ("x" * 60)
    folder.mkdir()
    with short_name(folder) as name:
        assert len(str(name)) <= 36
        (name / "file").write_text("x")
        assert (folder / "file").read_text() == "x"
    assert not name.is_symlink()
    with short_name(Path("/")) as name:
        assert name == Path("/")


def test_what_a_killed_process_left_behind_is_removed_once_its_folder_is_gone(tmp_path):
    link = Path(tempfile.gettempdir()) / f"mlops-{os.getpid():010d}"
    (tmp_path / "scratch").mkdir()
    link.symlink_to(tmp_path / "scratch")
    remove_left_over_links()
    assert link.is_symlink()
    (tmp_path / "scratch").rmdir()
    remove_left_over_links()
    assert not link.is_symlink()
