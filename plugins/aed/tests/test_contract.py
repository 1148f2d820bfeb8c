"""The contract of every use case, on audio event detection."""

import pytest

from mlops_core.testing import UseCaseContract


@pytest.mark.slow
@pytest.mark.one_execution
@pytest.mark.timeout(600)
class TestAed(UseCaseContract):
    use_case = "AED"
    config = "examples/tiny.yaml"
    untrained = ("training.steps=1",)
    sharded_steps = ("preprocess",)
    predictor_samples = 8
