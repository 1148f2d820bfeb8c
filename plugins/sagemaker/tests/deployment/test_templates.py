"""The defects of the project templates that teams copy for their deployments, one test each: ours must not have them.

The templates: https://github.com/aws-samples/sagemaker-custom-project-templates
"""

import ast
from pathlib import Path

import mlops_sagemaker.deployment
import pytest
from mlops_sagemaker.deployment.permissions import deployer_policy
from mlops_sagemaker.service.policy import actions, names_of
from mlops_sagemaker.settings import load_settings

from mlops_core.deployments.plan import Stage
from mlops_core.errors import DeploymentError, UsageError

ROLE = "arn:aws:iam::123456789012:role/example"
_ACTIONS = {"ListObjectsV2": "ListBucket", "HeadObject": "GetObject"}


def calls_of(world):
    """Return the set of the actions that the target asks for, which grows with its calls."""
    called, account = set(), world.target._account
    for service in ("sagemaker", "sagemaker-runtime", "cloudwatch", "application-autoscaling", "s3"):
        prefix = service.removesuffix("-runtime")

        def note(model, prefix=prefix, **_):
            called.add(f"{prefix}:{_ACTIONS.get(model.name, model.name)}")

        account.client(service).meta.events.register("before-call", note)
    return called


def test_the_newest_version_is_deployed_not_the_first_of_a_list_whose_order_nobody_asked_for(world):
    arns = [world.register(has_requests=False) for _ in range(3)]
    world.approve(arns[0])
    world.approve(arns[2], "Rejected")
    assert world.target.find_model("TOY", None).location == arns[1]
    assert world.deploy(stage=Stage.STAGING).deployment.plan.model.version == 2


def test_the_version_that_was_approved_is_deployed_and_a_rejection_deploys_nothing(world):
    arns = [world.approved(has_requests=False) for _ in range(2)]
    world.deploy(arns[1])
    assert world.deploy(arns[0]).deployment.plan.model.location == arns[0]  # an older one was approved again
    before = world.served()
    world.approve(arns[1], "Rejected")
    with pytest.raises(UsageError, match="was rejected"):
        world.deploy(arns[1])
    assert world.served() == before


def test_the_test_of_staging_sends_requests_and_fails_for_one_answer_to_all(world):
    constant, sound = world.register("constant"), world.register()
    with pytest.raises(DeploymentError, match="deployment test failed: the endpoint gives one answer|is 0.5; recorded"):
        world.deploy(constant, stage=Stage.STAGING, is_tested=True, alarms={"refuses_constant_answers": False})
    outcome = world.deploy(sound, stage=Stage.STAGING, is_tested=True)
    assert outcome.test.requests == 4
    metrics = world.cloudwatch.list_metrics(Namespace="AWS/SageMaker", MetricName="Invocations")["Metrics"]
    places = [{each["Name"]: each["Value"] for each in metric["Dimensions"]} for metric in metrics]
    assert outcome.deployment.plan.name in [place.get("EndpointConfigName") for place in places]


def test_a_deployment_ends_when_the_endpoint_answers_and_an_unchanged_one_is_no_error(world):
    arn = world.approved(has_requests=False)
    for was_there in (False, True):
        outcome = world.deploy(arn)
        assert outcome.was_there is was_there
        assert world.hosting.ask(world.endpoint)["predictions"]


@pytest.mark.representatives(1)
@pytest.mark.parametrize("stage", list(Stage))
def test_every_stage_has_a_canary_and_alarms_that_watch_the_new_fleet_only(world, stage):
    first, second = (world.approved(has_requests=False) for _ in range(2))
    world.deploy(first, stage=stage)
    name = world.deploy(
        second, stage=stage, shift="canary", interval_s=1, alarms={"max_p99_ms": 500}
    ).status.configuration
    config = world.hosting.describe(world.endpoint)["LastDeploymentConfig"]
    assert config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "CANARY"
    used = [each["AlarmName"] for each in config["AutoRollbackConfiguration"]["Alarms"]]
    assert used == [f"{name}-stop", f"{name}-errors", f"{name}-latency"]
    for alarm in world.cloudwatch.describe_alarms(AlarmNames=used)["MetricAlarms"]:
        assert alarm["TreatMissingData"] == "notBreaching"
        listed = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if each.get("MetricStat")]
        for metric in listed or [alarm]:
            assert {"Name": "EndpointConfigName", "Value": name} in metric["Dimensions"]


def test_a_setting_that_is_false_is_false(world):
    arn = world.approved("constant")
    alarms = {"refuses_constant_answers": False, "min_requests": 4}
    assert world.deploy(arn, bake_s=1, alarms=alarms).deployment.state == "in service"


def test_tags_that_the_service_refuses_are_an_error_that_is_shown(world):
    arn = world.approved(has_requests=False)
    with pytest.raises(UsageError, match="tags; SageMaker takes 50"):
        world.deploy(arn, tags={f"tag{n}": "x" for n in range(50)})


def test_deployments_need_boto3_alone_not_an_sdk_whose_next_release_differs():
    folder = Path(mlops_sagemaker.deployment.__file__).parent
    imported = {
        name.partition(".")[0]
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert "sagemaker" not in imported
    assert "mlops_core" in imported


def test_nothing_is_created_that_answers_without_credentials(world):
    arn = world.approved(has_requests=False)
    called = calls_of(world)
    world.deploy(arn)
    verbs = ("Create", "Put", "Update", "Add", "Register")
    changing = {call.partition(":")[2] for call in called if call.partition(":")[2].startswith(verbs)}
    assert changing == {"CreateModel", "CreateEndpointConfig", "CreateEndpoint", "PutMetricAlarm", "AddTags"}


def test_a_deployment_needs_only_what_the_printed_policy_allows(world):
    called = calls_of(world)
    first, second = world.approved("constant"), world.approved("constant")
    assert world.target.find_model("TOY", None).version == 2
    scaling = {"max_instances": 2, "requests_per_minute": 60}
    quiet = {"refuses_constant_answers": False}
    world.deploy(first, autoscaling=scaling, alarms=quiet)
    with pytest.raises(DeploymentError, match="one answer"):
        world.deploy(second, shift="canary", interval_s=900, alarms={"min_requests": 2})
    world.deploy(first, alarms=quiet)
    world.until(lambda: world.target.delete(world.endpoint).phase, lambda phase: phase == "absent")
    settings = load_settings(overrides=[f'account.role="{ROLE}"', 'account.bucket="data"'])
    document = deployer_policy(names_of("TOY", settings, pipeline="p", region="eu-west-1"))
    assert called <= actions(document) - {"iam:PassRole", "iam:CreateServiceLinkedRole"}
    unused = actions(document) - called - {"iam:PassRole", "iam:CreateServiceLinkedRole"}
    assert unused == set()
