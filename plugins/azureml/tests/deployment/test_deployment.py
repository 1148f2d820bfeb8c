"""Managed online endpoints in a workspace on loopback, whose deployments are servers of models as processes."""

import importlib.util
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("azure.identity", reason="azure-identity is not installed")
pytest.importorskip("cryptography", reason="the extra 'emulator' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from mlops_azureml.deployment.requests import deployment_name, deployment_yaml, endpoint_yaml
from mlops_azureml.options import AzureMlOptions
from mlops_azureml.plugin import AZUREML

from mlops_core.deployments import (
    ApprovalStatus,
    DeploymentPlan,
    DeploymentSettings,
    EndpointPhase,
    EndpointRequest,
    ModelReference,
    Stage,
)
from mlops_core.deployments.driver import Deployer
from mlops_core.errors import DeploymentError, UsageError

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[4] / "tests" / "deployments"
ENDPOINT = "words-production"


def _worlds():
    spec = importlib.util.spec_from_file_location("worlds_of_deployments", TESTS / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def world(endpoint, workspace, environ, monkeypatch):
    """Yield a workspace whose models are registered in the workspace of the endpoint, too."""
    for folder in (TESTS / "words", TESTS.parent / "toy"):
        monkeypatch.syspath_prepend(str(folder))
    environ.setenv("PYTHONPATH", os.pathsep.join(map(str, (TESTS / "words", TESTS.parent / "toy"))))
    environ.setenv("MLOPS_SERVING_IMAGE", "registry.azurecr.io/words-serving:1")
    environ.setenv("MODEL_BASE_NAME", f"words-{time.monotonic_ns()}")  # versions of its own
    module = _worlds()
    world = module.World(workspace)
    world.recorded = module.recorded
    world.azure = AZUREML.deployment_target(world.store, AzureMlOptions())
    world.deployer = Deployer(world.store, world.azure, note=world.notes.append)
    world.endpoint = endpoint
    yield world
    for name in (ENDPOINT, "words-staging"):
        world.azure.delete(name)
    world.store.close()


def register(world, behaviour="", *, limit=6, approval="approved"):
    """Register a model in both registries, with recorded requests; return the version."""
    recorded = world.recorded("a", "word", "a longer word", limit=limit)
    version = world.register(behaviour, limit=limit, recorded=recorded, approved=approval == "approved")
    name = os.environ["MODEL_BASE_NAME"]
    path = f"models/{name}/{version.version}"
    folder = world.endpoint.blobs.container_folder("workspaceblobstore") / path
    shutil.copytree(world.store.artifacts.path(version.artifact), folder, copy_function=shutil.copyfile)
    tags = {"use_case": "WORDS", "approval": approval}
    uri = f"azureml://datastores/workspaceblobstore/paths/{path}/"
    world.endpoint.state.put_version("models", name, str(version.version), {"modelUri": uri, "tags": tags})
    return version


def ask(world, word, endpoint=ENDPOINT):
    request = EndpointRequest(body=word.encode(), content_type="text/plain")
    return world.azure.invoke(endpoint, request, timeout_s=30)


def test_first_model_is_deployed_and_a_better_one_replaces_it_share_by_share(world):
    first = world.deploy(register(world, limit=6))
    assert first.status.serves(first.deployment.plan.name)
    assert first.cost.usd > 0
    assert ask(world, "word").status == 200
    assert ask(world, "word").configuration == first.deployment.plan.name
    second = world.deploy(register(world, limit=3), shift="canary", percent=20)
    states = [each for each in world.states(2) if each in ("shifting", "baking", "in service")]
    assert states[-1] == "in service"
    assert "shifting" in states
    assert second.status.serves(second.deployment.plan.name)
    assert ask(world, "word").configuration == second.deployment.plan.name
    assert len(world.endpoint._inference._endpoints[ENDPOINT].deployments) == 1  # the old one is gone
    again = world.deploy(second.deployment.plan.model.version, shift="canary", percent=20)
    assert again.was_there
    back = world.deployer.roll_back("WORDS", Stage.PRODUCTION, why="the first was better")
    assert back.status.serves(first.deployment.plan.name)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("unloadable", "did not start"), ("failing", "requests failed, more than max_error_rate")],
)
def test_broken_model_is_rolled_back_and_the_endpoint_answers_as_before(world, behaviour, reason):
    first = world.deploy(register(world))
    with pytest.raises(DeploymentError, match=f"was rolled back: .*{reason}"):
        world.deploy(register(world, behaviour), shift="linear", percent=20, alarms={"min_requests": 3})
    status = world.azure.status(ENDPOINT)
    assert status.serves(first.deployment.plan.name)
    assert ask(world, "word").configuration == first.deployment.plan.name


def test_recorded_requests_are_the_test_of_staging(world):
    good = world.deploy(register(world), stage=Stage.STAGING, is_tested=True)
    assert good.test is not None
    assert good.test.has_passed, good.test
    assert world.azure.delete("words-staging").phase is EndpointPhase.ABSENT


def test_version_without_approval_does_not_reach_production(world):
    version = register(world, approval="pending")
    with pytest.raises(UsageError, match="production takes approved versions only"):
        world.deploy(version)
    assert world.azure.status(ENDPOINT).phase is EndpointPhase.ABSENT


def test_what_the_service_lacks_is_refused_by_name_before_anything_is_created(world, environ):
    version = register(world)
    with pytest.raises(UsageError) as caught:
        world.deploy(
            version,
            capture={"to": "somewhere"},
            network={"subnets": ["a"]},
            encryption_key="key",
            alarms={"names": ["mine"]},
            endpoint="a-name-that-is-much-longer-than-32-characters",
        )
    text = f"{caught.value} {getattr(caught.value, 'problems', ())}"
    for name in ("capture", "network", "encryption_key", "alarms.names", "is not a valid name here"):
        assert name in text
    environ.delenv("MLOPS_SERVING_IMAGE")
    world.azure = AZUREML.deployment_target(world.store, AzureMlOptions())
    world.deployer = Deployer(world.store, world.azure, note=world.notes.append)
    with pytest.raises(UsageError, match="no serving image: build it with mlops package"):
        world.deploy(version)
    assert world.azure.status(ENDPOINT).phase is EndpointPhase.ABSENT


def test_yaml_says_the_same_as_the_requests():
    model = ModelReference(use_case="WORDS", version=3, artifact="a" * 64, approval=ApprovalStatus.APPROVED)
    plan = DeploymentPlan(stage=Stage.PRODUCTION, model=model, settings=DeploymentSettings(instances=2))
    deployment = yaml.safe_load(deployment_yaml(plan, model="azureml:words:3", image="r.azurecr.io/s:1"))
    assert deployment["name"] == deployment_name(plan)
    assert deployment["endpoint_name"] == "words-production"
    assert deployment["instance_count"] == 2
    assert deployment["environment"]["inference_config"]["scoring_route"] == {"path": "/invocations", "port": 5001}
    endpoint = yaml.safe_load(endpoint_yaml(plan, traffic={"blue": 90, "green": 10}))
    assert endpoint["traffic"] == {"blue": 90, "green": 10}
    assert endpoint["auth_mode"] == "key"
