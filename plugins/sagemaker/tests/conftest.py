"""The toy use case and the guards of this repository, and definitions compiled from the toy use case."""

import importlib.util
from pathlib import Path

import pytest

_SHARED = Path(__file__).parents[3] / "tests" / "conftest.py"
_spec = importlib.util.spec_from_file_location("mlops_shared_fixtures", _SHARED)
shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shared)
toy, workspace = shared.toy, shared.workspace
_only_loopback, _clean_environment = shared._only_loopback, shared._clean_environment


@pytest.fixture
def compiled(toy):
    """Return a function that compiles the toy use case with overrides, settings and parameters."""
    from mlops_sagemaker.compiler.definition import compile_pipeline
    from mlops_sagemaker.settings import load_settings

    from mlops_core.api import prepare_run

    def compile_toy(*overrides, settings=(), parameters=None, dataset_digest="", seed=0):
        request = prepare_run("TOY", overrides=overrides, parameters=parameters, seed=seed)
        return compile_pipeline(request, load_settings(overrides=settings), dataset_digest=dataset_digest)

    return compile_toy
