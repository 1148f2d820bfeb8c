"""The toy use case and the guards of this repository, and definitions compiled from the toy use case."""

import pytest
from shared_fixtures import _clean_environment, _only_loopback, toy, workspace

__all__ = ["_clean_environment", "_only_loopback", "toy", "workspace"]


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
