"""The toy use case and the guards of this repository, and a loopback endpoint that injects faults."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest


def _load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


shared = _load(Path(__file__).parents[3] / "tests" / "conftest.py", "mlops_shared_fixtures_of_azureml")
toy, workspace, call = shared.toy, shared.workspace, shared.call
_only_loopback, _clean_environment = shared._only_loopback, shared._clean_environment


faulty = _load(Path(__file__).with_name("faulty_endpoint.py"), "faulty_endpoint")
_TESTS = Path(__file__).parents[3] / "tests"


@pytest.fixture
def environ(_clean_environment):
    """Yield a monkeypatch for variables that is undone before the environment is compared."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def _served(tmp_path_factory):
    """Yield an endpoint; the processes that it starts can import the toy use cases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (_TESTS / "toy", _TESTS / "tuning" / "tuned_toy"))))
        with faulty.FaultyEndpoint(tmp_path_factory.mktemp("endpoint"), max_parallel=2) as served:
            yield served


@pytest.fixture
def endpoint(_served, environ):
    """Return the endpoint of the module without faults; the environment is that of its clients."""
    for name, value in _served.environment().items():
        environ.setenv(name, value)
    environ.setenv("AZUREML_MAX_ATTEMPTS", "3")
    _served.faults, _served.seen, _served.answers = [], [], {}
    lifetime_s = _served.access.lifetime_s
    yield _served
    _served.faults, _served.answers = [], {}
    _served.access.lifetime_s = lifetime_s
