"""The toy use case as an installed distribution, a workspace, and guards that hold for every test."""

import contextlib
import io
import os
import shutil
import socket
from pathlib import Path

import pytest

import mlops_core
from mlops_core.integrity import CoreWatch

TOY = Path(__file__).parent / "toy"


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(("127.", "::1", "localhost")):
            pytest.fail(f"a test connects to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith(("AWS_", "USECASE_", "MLOPS_HOME"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    yield
    changed = {k for k in {*before, *os.environ} if before.get(k) != os.environ.get(k)} - {
        "PYTEST_CURRENT_TEST",
        "PYTHONPATH",
        "MLOPS_HOME",
    }
    assert not changed, f"the test changed the environment: {changed}"


@pytest.fixture
def toy(monkeypatch):
    """The use case TOY is installed, here and in the processes that are started."""
    monkeypatch.syspath_prepend(str(TOY))
    monkeypatch.setenv("PYTHONPATH", str(TOY))
    return "TOY"


@pytest.fixture
def core_may_change(monkeypatch):
    """A test may replace parts of core in this process; what a plugin replaces is not noticed either."""
    monkeypatch.setattr("mlops_core.use_cases.registration.core_watch", CoreWatch)


@pytest.fixture
def workspace(tmp_path):
    return tmp_path / "workspace"


@pytest.fixture(scope="session")
def _finished(tmp_path_factory):
    """A workspace with one finished run of TOY, which nobody changes."""
    folder = tmp_path_factory.mktemp("finished") / "workspace"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("USECASE_", "MLOPS_HOME"))]:
            patch.delenv(name)
        patch.syspath_prepend(str(TOY))
        patch.setenv("PYTHONPATH", str(TOY))
        assert mlops_core.run("TOY", workspace=folder).status == "accepted"
    return folder, _times(folder)


@pytest.fixture
def ran(_finished, toy, workspace):
    """The record of a run of TOY with its defaults; the workspace is a copy of the one in which it was carried out.

    The record names the data set in that other workspace: a test that changes the data carries out a run of its own.
    """
    folder, files = _finished
    assert _times(folder) == files, "a test has changed the workspace of which the others get a copy"
    shutil.copytree(folder, workspace, symlinks=True)
    return mlops_core.open_run(workspace=workspace)


def _times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("datasets/*/*")}


@pytest.fixture
def call():
    """Return a function that carries out a command in this process; it returns its exit code, output and errors.

    Starting a process for each command takes most of the time of a test; that `mlops` is a program that ends with these
    codes and writes to these streams is what tests/cli/test_streams.py shows.
    """
    from mlops_core.cli import _exit_code

    def carry_out(*arguments, **environ):
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            for name, value in environ.items():
                patch.setenv(name, value)
            code = _exit_code([str(argument) for argument in arguments])
        return code, *(stream.buffer.getvalue().decode() for stream in (out, err))

    return carry_out
