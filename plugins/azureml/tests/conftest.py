"""The toy use case and the guards of this repository, and a loopback endpoint that injects faults."""

import importlib.util
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


@pytest.fixture
def environ(_clean_environment):
    """Yield a monkeypatch for variables that is undone before the environment is compared."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture
def endpoint(tmp_path, environ):
    """Yield a loopback endpoint with faults; the environment is that of its clients."""
    faulty = _load(Path(__file__).with_name("faulty_endpoint.py"), "faulty_endpoint")
    with faulty.FaultyEndpoint(tmp_path / "endpoint", max_parallel=2) as served:
        for name, value in served.environment().items():
            environ.setenv(name, value)
        environ.setenv("AZUREML_MAX_ATTEMPTS", "3")
        yield served
