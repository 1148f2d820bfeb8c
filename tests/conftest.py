"""The toy use case as an installed distribution, a workspace, and guards that hold for every test."""

import os
import socket
from pathlib import Path

import pytest

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
def workspace(tmp_path):
    return tmp_path / "workspace"
