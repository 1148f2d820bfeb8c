"""The contract of the use case."""

import pytest

from mlops_core.testing import UseCaseContract


@pytest.mark.slow
@pytest.mark.one_execution
@pytest.mark.timeout(900)
class TestSymbolDetection(UseCaseContract):
    use_case = "SYMBOL_DETECTION"
    config = "examples/tiny_symbol_detection.yaml"
    has_groups = False  # sheets are independent; only copies are linked, which the plugin finds
    predictor_samples = 6
