"""``mlops deploy --runner sagemaker`` against the emulator: approval, what is created, roll-back, faults."""

import re
import threading

import pytest

from mlops_core.deployments.plan import Stage
from mlops_core.errors import DeploymentError, RunnerError, UsageError

LONG = 3000
"""A wait in seconds whose end no test waits for."""


def test_staging_takes_a_pending_version_and_production_an_approved_one_as_it_is_then(world):
    arn = world.register()
    outcome = world.deploy(arn, stage=Stage.STAGING, is_tested=True)
    assert (outcome.deployment.state, outcome.test.has_passed, outcome.test.requests) == ("in service", True, 4)
    with pytest.raises(UsageError, match="production takes approved versions only"):
        world.deploy(arn)
    world.approve(arn)
    assert world.deploy(arn, endpoint=f"{world.endpoint}p").deployment.state == "in service"
    world.approve(arn, "Rejected")
    with pytest.raises(UsageError, match="was rejected at sagemaker"):
        world.deploy(arn, endpoint=f"{world.endpoint}q")


def test_a_deployment_that_is_in_service_changes_nothing_when_it_is_repeated(world):
    arn = world.approved()
    first = world.deploy(arn)
    before = world.hosting.describe(world.endpoint)
    assert re.search(r"alarms judged nothing: at most \d requests in a minute, min_requests is 20", first.status.note)
    again = world.deploy(arn)
    assert (first.was_there, again.was_there) == (False, True)
    assert world.hosting.describe(world.endpoint)["LastModifiedTime"] == before["LastModifiedTime"]
    plan = first.deployment.plan
    assert re.fullmatch(rf"{world.endpoint}-[0-9a-f]{{12}}", plan.name)
    assert before["EndpointConfigName"] == plan.name
    arns = [before["EndpointArn"]]
    arns += [world.sagemaker.describe_endpoint_config(EndpointConfigName=plan.name)["EndpointConfigArn"]]
    arns += [world.sagemaker.describe_model(ModelName=plan.name)["ModelArn"]]
    for each in arns:
        tags = {tag["Key"]: tag["Value"] for tag in world.sagemaker.list_tags(ResourceArn=each)["Tags"]}
        assert tags["sagemaker:deployment-stage"] == "production"
        assert (tags["mlops:use-case"], tags["mlops:version"]) == ("TOY", "1")
        assert tags["mlops:artifact"] == plan.model.artifact


@pytest.fixture
def project():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_PROJECT_NAME", "birds")
        yield


@pytest.mark.usefixtures("project")
def test_everything_that_the_settings_say_is_created_and_changed_with_them(world):
    arn = world.approved(has_requests=False)
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    options = {
        "instances": 2,
        "cpus": 4,
        "memory_gb": 16,
        "autoscaling": {"min_instances": 2, "max_instances": 5, "requests_per_minute": 100},
        "capture": {"to": "s3://bucket/capture", "percent": 25},
        "network": {"subnets": ["subnet-1"], "security_groups": ["sg-1"], "is_isolated": True},
        "encryption_key": key,
        "tags": {"team": "a/b: c"},
        "environment": {"EXTRA": "1"},
    }
    with pytest.raises(
        UsageError, match=r"would cost up to 839\.50 USD a month \(2 x ml\.m5\.xlarge at 0\.23 USD an hour"
    ):
        world.deploy(arn, max_cost=500, **options)
    assert world.sagemaker.list_endpoints(NameContains=world.endpoint)["Endpoints"] == []
    outcome = world.deploy(arn, max_cost=900, **options)
    assert (round(outcome.cost.usd, 2), round(outcome.cost.max_usd, 2)) == (335.8, 839.5)
    name = outcome.deployment.plan.name
    config = world.sagemaker.describe_endpoint_config(EndpointConfigName=name)
    (variant,) = config["ProductionVariants"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.m5.xlarge", 2)
    assert (config["KmsKeyId"], config["DataCaptureConfig"]["InitialSamplingPercentage"]) == (key, 25)
    assert config["DataCaptureConfig"]["KmsKeyId"] == key
    model = world.sagemaker.describe_model(ModelName=name)
    assert model["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert (model["EnableNetworkIsolation"], model["Containers"][0]["ModelPackageName"]) == (True, arn)
    assert model["Containers"][0]["Environment"]["EXTRA"] == "1"
    tags = world.sagemaker.list_tags(ResourceArn=world.hosting.describe(world.endpoint)["EndpointArn"])["Tags"]
    assert {"Key": "team", "Value": "a/b: c"} in tags
    assert {"Key": "sagemaker:project-name", "Value": "birds"} in tags
    scaling = world.hosting.emulator.client("application-autoscaling")

    def bounds():
        targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        place = f"endpoint/{world.endpoint}/variant/AllTraffic"
        return [(each["MinCapacity"], each["MaxCapacity"]) for each in targets if each["ResourceId"] == place]

    assert bounds() == [(2, 5)]
    change = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 4}]  # as the load would
    world.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=world.endpoint, DesiredWeightsAndCapacities=change
    )
    world.deploy(arn, **{**options, "tags": {}, "capture": {"to": "s3://bucket/other", "percent": 50}})
    described = world.hosting.describe(world.endpoint)
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 4  # not back to 2
    assert described["DataCaptureConfig"]["DestinationS3Uri"] == "s3://bucket/other"
    world.deploy(arn, instances=1)  # another machine, and no scaling
    assert bounds() == []
    assert world.hosting.describe(world.endpoint)["ProductionVariants"][0]["CurrentInstanceCount"] == 1


@pytest.mark.representatives(2)
@pytest.mark.parametrize(
    ("words", "alarms", "reason"),
    [
        ("status=500", {"max_error_rate": 0.1, "min_requests": 3}, "went into alarm: .*-errors"),
        ("sleep=0.3", {"max_p99_ms": 150, "min_requests": 3}, "went into alarm: .*-latency"),
        ("constant", {"min_requests": 4}, "the new model gives one answer to [2-4] different requests"),
    ],
)
def test_a_canary_that_fails_is_slow_or_gives_one_answer_is_rolled_back(world, words, alarms, reason):
    good, bad = world.approved(), world.approved(words)
    world.deploy(good)
    before = world.served()
    with pytest.raises(DeploymentError, match=f"was rolled back: .*{reason}.*answers as before"):
        world.deploy(bad, shift="canary", interval_s=LONG, alarms=alarms, timeout_s=2 * LONG)
    assert world.served() == before
    assert {world.hosting.outcome(world.endpoint) for _ in range(6)} == {world.hosting.ask(world.endpoint)["model"]}
    assert world.deployer.ledger.deployments("TOY")[0].state == "rolled back"


@pytest.mark.representatives(1)
@pytest.mark.parametrize("shift", ["canary", "linear"])
def test_traffic_moves_in_steps_to_a_sound_model_and_old_configurations_stay_for_a_rollback(world, shift):
    first, second = world.approved(), world.approved()
    world.deploy(first)
    old = world.served()
    outcome = world.deploy(second, shift=shift, interval_s=1, bake_s=1)
    new = world.served()
    assert (outcome.deployment.state, outcome.deployment.replaces) == ("in service", old)
    assert any("shifting" in note for note in world.notes)
    names = [each["EndpointConfigName"] for each in world.configurations()]
    assert {old, new} <= set(names)
    alarms = world.cloudwatch.describe_alarms(AlarmNamePrefix=f"{world.endpoint}-")["MetricAlarms"]
    assert {alarm["AlarmName"].rpartition("-")[0] for alarm in alarms} == {new}
    back = world.deployer.roll_back("TOY", Stage.PRODUCTION, why="by hand")
    assert (world.served(), back.deployment.plan.name) == (old, old)


def test_a_deployment_under_way_is_ended_by_hand(world):
    first, second = world.approved(), world.approved()
    world.deploy(first)
    old = world.served()
    request = world.request(second, shift="canary", interval_s=LONG, timeout_s=2 * LONG)
    plan = world.deployer.plan(request)
    world.deployer.ledger.plan(plan, runner="sagemaker", why="a test", replaces=old)
    world.target.begin(plan)
    outcome = world.deployer.roll_back("TOY", Stage.PRODUCTION, why="Müller's order; stop")
    assert (outcome.deployment.state, world.served()) == ("rolled back", old)
    assert "order" in outcome.deployment.why


def test_the_first_deployment_is_watched_too_and_a_failed_one_leaves_nothing_that_blocks_the_next(world):
    bad, constant, good = world.approved("unready"), world.approved("constant"), world.approved()
    world.hosting.s3.delete_object(Bucket="bucket", Key=_key(world, bad))
    with pytest.raises(UsageError, match="the files of the model are gone"):
        world.deploy(bad)
    with pytest.raises(RunnerError, match="one answer to [2-4] different requests"):
        world.deploy(constant, bake_s=LONG, alarms={"min_requests": 4}, timeout_s=2 * LONG)
    assert world.deploy(good).deployment.state == "in service"


def _key(world, arn):
    containers = world.sagemaker.describe_model_package(ModelPackageName=arn)["InferenceSpecification"]["Containers"]
    return containers[0]["ModelDataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://bucket/") + "model.txt"


def test_an_endpoint_that_could_not_be_created_is_made_again(world):
    arn = world.approved()
    plan = world.deployer.plan(world.request(arn))
    world.hosting.model(f"{world.endpoint}-unready", "unready")
    variant = world.hosting.variant(
        f"{world.endpoint}-unready",
        ContainerStartupHealthCheckTimeoutInSeconds=60,
        ModelDataDownloadTimeoutInSeconds=60,
    )
    world.hosting.s3.delete_object(Bucket="bucket", Key=f"{world.endpoint}-unready/model.txt")
    world.hosting.configuration("by-hand-" + world.endpoint, variant)
    assert world.hosting.create(world.endpoint, "by-hand-" + world.endpoint)["EndpointStatus"] == "Failed"
    assert world.target.status(plan.endpoint).phase == "failed"
    assert world.deploy(arn).deployment.state == "in service"
    assert world.target.delete(world.endpoint).phase in ("deleting", "absent")
    world.until(lambda: world.target.delete(world.endpoint).phase, lambda phase: phase == "absent")
    assert world.cloudwatch.describe_alarms(AlarmNamePrefix=f"{world.endpoint}-")["MetricAlarms"] == []


def test_two_deployments_at_once_leave_one_of_the_two_and_tell_the_other(world, same_account):
    base, one, two = world.approved(), world.approved(), world.approved()
    world.deploy(base)
    barrier, outcomes = threading.Barrier(2), []

    def deploy(home, arn):
        with same_account(home) as other:
            barrier.wait()
            try:
                outcomes.append(other.deploy(arn, shift="canary", interval_s=1).deployment.plan.name)
            except (RunnerError, UsageError) as error:
                outcomes.append(error)

    threads = [threading.Thread(target=deploy, args=pair) for pair in (("one", one), ("two", two))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = [each for each in outcomes if isinstance(each, Exception)]
    assert len(outcomes) == 2
    assert world.served() in outcomes
    for error in errors:  # none if one had ended before the other began
        assert "is being changed to" in str(error)
        assert "\n" not in str(error)


@pytest.mark.representatives(2)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "x" * 64}, r"endpoint 'x+' has 64 characters; expected at most 50"),
        ({"shift": "linear", "percent": 5}, "traffic.percent is 5; SageMaker takes linear steps of 10 to 50 %"),
        ({"start_timeout_s": 30}, "start_timeout_s is 30; SageMaker takes 60 to 3600 s"),
        ({"capture": {"to": "folder"}}, "capture.to is 'folder'; SageMaker writes to an s3:// URI only"),
        ({"network": {"subnets": ["subnet-1"]}}, "takes subnets and security_groups together"),
        ({"alarms": {"names": ["nothing"]}}, "alarm 'nothing' does not exist"),
        ({"alarms": {"names": ["firing"]}}, "alarm 'firing' is firing already"),
        ({"environment": {"USECASE_NAME": "X"}}, "USECASE_NAME is set by the deployment"),
        ({"tags": {"aws:x": "1"}}, "tag 'aws:x': not aws:"),
        ({"gpus": 1}, r"no machine of the version \(ml.m5.large, ml.m5.xlarge\) has"),
        ({"alarms": {"names": [f"a{n}" for n in range(9)]}}, "alarms.names lists 9 alarms; SageMaker takes 8"),
    ],
)
def test_what_the_service_lacks_or_refuses_is_one_line_before_anything_is_created(world, options, message):
    arn = world.approved(has_requests=False)
    world.hosting.alarm("firing", "Anything", namespace="Own", dimensions={})
    world.cloudwatch.set_alarm_state(AlarmName="firing", StateValue="ALARM", StateReason="by hand")
    with pytest.raises(UsageError) as caught:
        world.deploy(arn, **options)
    text = "; ".join([str(caught.value), *map(str, getattr(caught.value, "problems", ()))])
    assert re.search(message, text)
    assert "\n" not in str(caught.value) or caught.value.problems
    assert world.configurations() == []


def test_a_version_that_was_deleted_or_is_of_another_group_is_one_line(world):
    arn, last = world.approved(has_requests=False), world.approved(has_requests=False)
    world.sagemaker.delete_model_package(ModelPackageName=arn)
    for wanted in (arn, "1"):
        with pytest.raises(UsageError, match="was deleted; deploy another version"):
            world.deploy(wanted)
    with pytest.raises(UsageError, match="belongs to group 'other', not to"):
        world.deploy(last.replace(world.group.lower(), "other"))
    with pytest.raises(UsageError, match="is not the ARN of a version"):
        world.deploy("arn:aws:s3:::bucket")
