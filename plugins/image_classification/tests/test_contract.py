"""The contract of both use cases."""

import pytest

from mlops_core.testing import UseCaseContract


@pytest.mark.slow
@pytest.mark.one_execution
@pytest.mark.timeout(900)
class TestRoadSign(UseCaseContract):
    use_case = "ROAD_SIGN"
    config = "examples/tiny_road_sign.yaml"
    sharded_steps = ("preprocess",)
    predictor_samples = 12


@pytest.mark.slow
@pytest.mark.one_execution
@pytest.mark.timeout(900)
class TestScene(UseCaseContract):
    use_case = "SCENE"
    config = "examples/tiny_scene.yaml"
    has_groups = False  # pictures of scenes are independent; only copies are linked, which the plugin finds
    sharded_steps = ("preprocess",)
    predictor_samples = 12
