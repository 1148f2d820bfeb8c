"""Endpoints of the emulator: deployments shift real traffic between real processes, and alarms roll them back."""

import datetime as dt
import json
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("moto", reason="the extra 'test' is not installed")
from botocore.exceptions import ClientError
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint
from sagemaker_tests.hosting import BUCKET, ROLE, Hosting, SmallServers, blue_green

from mlops_core import UsageError

LONG = 3600
"""A wait in seconds; three minutes at the time scale of these tests, and none of them waits for its end."""


@pytest.fixture(scope="module")
def hosting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endpoint")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[4] / "tests" / "toy"))
        with SageMakerEndpoint(folder, containers=SmallServers(), time_scale=0.05) as endpoint:
            yield Hosting(endpoint)


def stage(hosting, endpoint):
    pending = hosting.describe(endpoint).get("PendingDeploymentSummary")
    return pending["ProductionVariants"][0]["VariantStatus"][0]["Status"] if pending else None


def test_a_canary_gets_its_share_and_an_alarm_on_its_errors_returns_all_traffic(hosting):
    hosting.deploy("good")
    hosting.deploy("failing", "status=500")
    assert hosting.create("Errors", "good")["EndpointStatus"] == "InService"
    dimensions = {"EndpointName": "Errors", "VariantName": "AllTraffic", "EndpointConfigName": "failing"}
    hosting.alarm("errors", "Invocation5XXErrors", threshold=2, dimensions=dimensions, Period=LONG)
    assert hosting.alarm_state("errors") == "OK"
    hosting.update("Errors", "failing", blue_green("CANARY", wait=LONG, size=10), alarms=["errors"])
    hosting.until(lambda: stage(hosting, "Errors"), lambda it: it == "Baking")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        hosting.update("Errors", "good")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        hosting.sagemaker.delete_endpoint(EndpointName="Errors")
    outcomes = [hosting.outcome("Errors") for _ in range(10)]
    assert (outcomes.count(500), outcomes.count("good")) == (1, 9)
    assert stage(hosting, "Errors") == "Baking"  # one error is below the threshold
    hosting.until(lambda: (hosting.outcome("Errors"), stage(hosting, "Errors")), lambda it: it[1] != "Baking")
    description = hosting.settled("Errors")
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", "good")
    assert description["FailureReason"].endswith("went into alarm: errors")
    assert "PendingDeploymentSummary" not in description
    assert hosting.models("Errors", 12) == {"good": 12}


def test_an_alarm_on_the_latency_returns_all_traffic_from_a_slow_model(hosting):
    hosting.deploy("quick")
    hosting.deploy("slow", "name=slow sleep=0.4")
    hosting.create("Latency", "quick")
    dimensions = {"EndpointName": "Latency", "VariantName": "AllTraffic", "EndpointConfigName": "slow"}
    hosting.alarm("latency", "ModelLatency", threshold=300_000, statistic="p99", dimensions=dimensions)
    hosting.update("Latency", "slow", blue_green("LINEAR", wait=LONG // 4, size=50, bake=0), alarms=["latency"])
    hosting.until(lambda: stage(hosting, "Latency"), lambda it: it == "Baking")
    hosting.until(lambda: hosting.ask("Latency")["model"], lambda name: name == "slow")
    description = hosting.settled("Latency")
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", "quick")
    assert description["FailureReason"].endswith("went into alarm: latency")


@pytest.mark.representatives(1)
@pytest.mark.parametrize(
    ("policy", "stages"),
    [
        (None, ["Creating", "ActivatingTraffic", "Deleting"]),
        (
            blue_green("LINEAR", wait=5, size=40, bake=5),
            ["Creating", *["ActivatingTraffic", "Baking"] * 3, "Deleting"],
        ),
        (
            blue_green("CANARY", wait=5, size=20, bake=0),
            ["Creating", "ActivatingTraffic", "Baking", "ActivatingTraffic", "Deleting"],
        ),
        (
            {
                "RollingUpdatePolicy": {
                    "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                    "WaitIntervalInSeconds": 5,
                }
            },
            ["Creating", *["ActivatingTraffic", "Baking"] * 2, "Deleting"],
        ),
        (blue_green("ALL_AT_ONCE", bake=5), ["Creating", "ActivatingTraffic", "Baking", "Deleting"]),
    ],
)
def test_no_request_fails_while_traffic_moves_and_each_stage_is_an_event(hosting, policy, stages, request):
    number = request.node.callspec.indices["policy"]
    before, after, endpoint = f"before{number}", f"after{number}", f"Shift{number}"
    hosting.deploy(before, f"name={before} sleep=0.02")
    hosting.deploy(after)
    hosting.create(endpoint, before)
    queue, events = hosting.emulator.client("sqs"), hosting.emulator.client("events")
    url = queue.create_queue(QueueName=endpoint)["QueueUrl"]
    arn = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.sagemaker"], "detail": {"EndpointName": [endpoint]}}
    events.put_rule(Name=endpoint, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=endpoint, Targets=[{"Id": "queue", "Arn": arn}])
    ended, answers = threading.Event(), []

    def ask():
        while not ended.is_set():
            try:
                answers.append(hosting.ask(endpoint)["model"])
            except Exception as error:  # noqa: BLE001  counted
                answers.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    hosting.until(lambda: answers, bool)
    hosting.update(endpoint, after, policy)
    description = hosting.settled(endpoint)
    hosting.until(lambda: answers[-1], lambda name: name == after)
    ended.set()
    for thread in threads:
        thread.join()
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", after)
    assert set(answers) == {before, after}
    assert hosting.models(endpoint, 5) == {after: 5}
    received = []

    def receive():
        for message in queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ()):
            received.append(json.loads(message["Body"]))
            queue.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [event["detail"]["EndpointStatus"] for event in received]

    hosting.until(receive, lambda it: "IN_SERVICE" in it)
    deployments = [each["detail"] for each in received if "Deployment" in each["detail-type"]]
    summaries = [each["PendingDeploymentSummary"]["ProductionVariants"][0] for each in deployments]
    assert [each["VariantStatus"][0]["Status"] for each in summaries] == stages
    assert {each["EndpointStatus"] for each in deployments} == {"UPDATING"}


def test_a_new_fleet_that_does_not_become_ready_leaves_the_old_one_in_service(hosting):
    hosting.deploy("ready")
    hosting.model("unready", "unready")
    hosting.configuration("unready", hosting.variant("unready", ContainerStartupHealthCheckTimeoutInSeconds=60))
    hosting.model("broken", "unready")
    hosting.s3.delete_object(Bucket=BUCKET, Key="broken/model.txt")
    hosting.configuration("broken", hosting.variant("broken"))
    hosting.create("Ready", "ready")
    hosting.update("Ready", "broken", blue_green("CANARY", wait=LONG, size=10))
    description = hosting.settled("Ready")
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", "ready")
    assert "The primary container for production variant AllTraffic cannot be used" in description["FailureReason"]
    assert hosting.models("Ready", 3) == {"ready": 3}


def test_an_alarm_that_fires_already_ends_a_deployment_before_traffic_moves(hosting):
    hosting.deploy("calm")
    hosting.deploy("next")
    hosting.create("Calm", "calm")
    hosting.alarm("fires", "Anything", namespace="Own", dimensions={})
    hosting.cloudwatch.set_alarm_state(AlarmName="fires", StateValue="ALARM", StateReason="by hand")
    assert hosting.alarm_state("fires") == "ALARM"
    hosting.update("Calm", "next", blue_green("ALL_AT_ONCE", bake=LONG), alarms=["fires"])
    description = hosting.settled("Calm")
    assert description["EndpointConfigName"] == "calm"
    assert "went into alarm: fires" in description["FailureReason"]
    hosting.cloudwatch.put_metric_data(Namespace="Own", MetricData=[{"MetricName": "Anything", "Value": 0}])
    assert hosting.alarm_state("fires") == "OK"  # data decide again
    hosting.update("Calm", "next", blue_green("ALL_AT_ONCE"), alarms=["fires"])
    assert hosting.settled("Calm")["EndpointConfigName"] == "next"


@pytest.mark.parametrize(
    ("more", "values", "state"),
    [
        ({}, [3], "ALARM"),
        ({}, [1], "OK"),
        ({"Statistic": "Average"}, [1, 2], "OK"),
        ({"Statistic": "Maximum"}, [1, 2], "ALARM"),
        ({"Statistic": "SampleCount"}, [0, 0], "ALARM"),
        ({"ComparisonOperator": "LessThanThreshold"}, [1], "ALARM"),
        ({"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, [5], "OK"),
        ({"EvaluationPeriods": 3, "TreatMissingData": "breaching", "DatapointsToAlarm": 2}, [], "ALARM"),
        ({"TreatMissingData": "notBreaching"}, [], "OK"),
        ({}, [], "INSUFFICIENT_DATA"),
    ],
)
def test_data_decide_about_the_state_of_an_alarm(hosting, more, values, state, request):
    name = f"data-{request.node.callspec.indices['state']}-{len(values)}-{'-'.join(map(str, more.values()))}"
    hosting.cloudwatch.put_metric_alarm(
        AlarmName=name,
        **{
            "Namespace": "Own",
            "MetricName": name,
            "Statistic": "Sum",
            "Period": 3600,
            "EvaluationPeriods": 1,
            "Threshold": 2,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            **more,
        },
    )
    if values:
        data = [{"MetricName": name, "Values": [float(each) for each in values]}]
        hosting.cloudwatch.put_metric_data(Namespace="Own", MetricData=data)
    assert hosting.alarm_state(name) == state


def test_requests_and_answers_are_captured_as_the_configuration_says(hosting):
    hosting.model("captured")
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 50,
        "DestinationS3Uri": f"s3://{BUCKET}/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    hosting.configuration("captured", hosting.variant("captured"), DataCaptureConfig=capture)
    description = hosting.create("Captured", "captured")
    assert description["DataCaptureConfig"]["CaptureStatus"] == "Started"
    for number in range(4):
        hosting.ask("Captured", body=b"\xff%d" % number, InferenceId=f"id-{number}", CustomAttributes="trace=7")

    def lines():
        listed = hosting.s3.list_objects_v2(Bucket=BUCKET, Prefix="capture/").get("Contents", ())
        bodies = {item["Key"]: hosting.s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read() for item in listed}
        return [(key, json.loads(line)) for key, body in sorted(bodies.items()) for line in body.splitlines()]

    written = hosting.until(lines, lambda it: len(it) == 2)
    key, line = written[0]
    assert key.startswith("capture/Captured/AllTraffic/20")
    assert key.count("/") == 7
    assert line["captureData"]["endpointInput"] == {
        "observedContentType": "text/csv",
        "mode": "INPUT",
        "data": "/zE=",
        "encoding": "BASE64",
    }
    assert line["captureData"]["endpointOutput"]["encoding"] == "JSON"
    assert json.loads(line["captureData"]["endpointOutput"]["data"])["model"] == "captured"
    assert [each["eventMetadata"]["inferenceId"] for _, each in written] == ["id-1", "id-3"]
    assert line["eventMetadata"]["customAttributes"] == ["trace=7"]

    from mlops_sagemaker.serving import PROTOCOL

    exchange = PROTOCOL.read_captured(line)  # what drift detection and the deployment test read
    assert (exchange.body, exchange.answer_type) == (b"\xff1", "application/json")


def test_variants_get_requests_by_weight_and_weights_can_be_changed(hosting):
    hosting.model("heavy")
    hosting.model("light")
    hosting.configuration(
        "weights",
        hosting.variant("heavy", name="heavy", InitialVariantWeight=3),
        hosting.variant("light", name="light", InitialVariantWeight=1),
    )
    hosting.create("Weights", "weights")
    assert hosting.models("Weights", 8) == {"heavy": 6, "light": 2}
    assert hosting.ask("Weights", TargetVariant="light")["model"] == "light"
    now = dt.datetime.now(dt.UTC)
    hour = {"StartTime": now - dt.timedelta(hours=1), "EndTime": now + dt.timedelta(minutes=1), "Period": 7200}
    dimensions = [{"Name": "EndpointName", "Value": "Weights"}, {"Name": "VariantName", "Value": "light"}]
    metric = {"Namespace": "AWS/SageMaker", "MetricName": "Invocations", "Dimensions": dimensions}
    counted = hosting.cloudwatch.get_metric_statistics(**metric, **hour, Statistics=["Sum", "SampleCount"])
    assert [(each["Sum"], each["SampleCount"]) for each in counted["Datapoints"]] == [(3, 3)]
    change = [{"VariantName": "light", "DesiredWeight": 0, "DesiredInstanceCount": 4}]
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName="Weights", DesiredWeightsAndCapacities=change)
    assert hosting.models("Weights", 5) == {"heavy": 5}
    hosting.configuration("weights-2", hosting.variant("light", name="light"), hosting.variant("heavy", name="heavy"))
    hosting.update("Weights", "weights-2", RetainAllVariantProperties=True)
    variants = {each["VariantName"]: each for each in hosting.settled("Weights")["ProductionVariants"]}
    assert (variants["light"]["CurrentInstanceCount"], variants["light"]["CurrentWeight"]) == (4, 0)
    hosting.sagemaker.add_tags(
        ResourceArn=hosting.describe("Weights")["EndpointArn"], Tags=[{"Key": "stage", "Value": "staging"}]
    )
    listed = hosting.sagemaker.list_tags(ResourceArn=hosting.describe("Weights")["EndpointArn"])["Tags"]
    assert listed == [{"Key": "stage", "Value": "staging"}]


def test_a_shadow_variant_gets_copies_and_its_answers_reach_nobody(hosting):
    hosting.model("seen")
    hosting.model("shadow", "status=500")
    hosting.configuration(
        "shadowed",
        hosting.variant("seen", name="seen", InitialVariantWeight=2),
        ShadowProductionVariants=[hosting.variant("shadow", name="shadow", InitialVariantWeight=1)],
    )
    description = hosting.create("Shadowed", "shadowed")
    assert [each["VariantName"] for each in description["ShadowProductionVariants"]] == ["shadow"]
    assert hosting.models("Shadowed", 4) == {"seen": 4}
    dimensions = {"EndpointName": "Shadowed", "VariantName": "shadow"}
    hosting.alarm("shadow", "Invocation5XXErrors", threshold=2, dimensions=dimensions, Period=3600)
    hosting.until(lambda: hosting.alarm_state("shadow"), lambda it: it == "ALARM")  # every other request


def test_an_asynchronous_endpoint_answers_in_s3_and_streams_are_event_streams(hosting):
    hosting.model("later")
    output = {"S3OutputPath": f"s3://{BUCKET}/out", "S3FailurePath": f"s3://{BUCKET}/failed"}
    hosting.configuration(
        "later", hosting.variant("later"), AsyncInferenceConfig={"OutputConfig": output, "ClientConfig": {}}
    )
    hosting.create("Later", "later")
    hosting.s3.put_object(Bucket=BUCKET, Key="in/1.csv", Body=b"7")
    call = {"EndpointName": "Later", "ContentType": "text/csv"}
    accepted = hosting.runtime.invoke_endpoint_async(**call, InputLocation=f"s3://{BUCKET}/in/1.csv", InferenceId="a")
    assert accepted["InferenceId"] == "a"
    lost = hosting.runtime.invoke_endpoint_async(**call, InputLocation=f"s3://{BUCKET}/in/2.csv")

    def content(uri):
        key = uri.removeprefix(f"s3://{BUCKET}/")
        found = hosting.s3.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents", ())
        return hosting.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() if found else b""

    assert json.loads(hosting.until(lambda: content(accepted["OutputLocation"]), bool))["body"] == "7"
    assert b"NoSuchKey" in hosting.until(lambda: content(lost["FailureLocation"]), bool)
    with pytest.raises(ClientError, match="use InvokeEndpointAsync"):
        hosting.ask("Later")
    hosting.deploy("streaming")
    hosting.create("Streaming", "streaming")
    answer = hosting.runtime.invoke_endpoint_with_response_stream(
        EndpointName="Streaming", Body=b"5", ContentType="text/csv"
    )
    parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    assert json.loads(b"".join(parts))["model"] == "streaming"
    assert answer["InvokedProductionVariant"] == "AllTraffic"


def test_only_variants_scale_and_a_scaled_one_cannot_change_its_machines(hosting):
    hosting.deploy("scaled")
    hosting.create("Scaled", "scaled")
    scaling = hosting.emulator.client("application-autoscaling")
    place = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/Scaled/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    tracking = {
        "TargetValue": 100.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    }
    policy = {
        **place,
        "PolicyName": "load",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": tracking,
    }
    with pytest.raises(ClientError, match="SageMaker variant not found"):
        scaling.register_scalable_target(
            **{**place, "ResourceId": "endpoint/Scaled/variant/other"}, MinCapacity=1, MaxCapacity=2
        )
    with pytest.raises(ClientError, match="Maximum capacity cannot be less than minimum"):
        scaling.register_scalable_target(**place, MinCapacity=3, MaxCapacity=2)
    with pytest.raises(ClientError, match="No scalable target registered"):
        scaling.put_scaling_policy(**policy)
    scaling.register_scalable_target(**place, MinCapacity=1, MaxCapacity=3)
    scaling.put_scaling_policy(**policy)
    hosting.configuration("larger", hosting.variant("scaled", InstanceType="ml.m5.xlarge"))
    with pytest.raises(ClientError, match="must be deregistered as scalable targets"):
        hosting.update("Scaled", "larger")
    hosting.sagemaker.delete_endpoint(EndpointName="Scaled")
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []


@pytest.mark.parametrize(
    ("values", "state"),
    [({"n": [1] * 19, "e": [19]}, "OK"), ({"n": [1] * 20, "e": [1]}, "OK"), ({"n": [1] * 20, "e": [2]}, "ALARM")],
)
def test_an_expression_over_metrics_decides_about_the_state_of_an_alarm(hosting, values, state, request):
    name = f"rate{request.node.callspec.indices['state']}"
    metrics = [
        {
            "Id": each,
            "ReturnData": False,
            "MetricStat": {
                "Metric": {"Namespace": "Own", "MetricName": f"{name}-{each}"},
                "Period": 3600,
                "Stat": "Sum",
            },
        }
        for each in ("e", "n")
    ]
    rate = {"Id": "rate", "Expression": "IF(n >= 20, e / n, 0)", "ReturnData": True}
    common = {"EvaluationPeriods": 1, "Threshold": 0.09, "ComparisonOperator": "GreaterThanThreshold"}
    hosting.cloudwatch.put_metric_alarm(AlarmName=name, Metrics=[*metrics, rate], **common)
    assert hosting.alarm_state(name) == "INSUFFICIENT_DATA"
    for each, listed in values.items():
        data = [{"MetricName": f"{name}-{each}", "Values": [float(value) for value in listed]}]
        hosting.cloudwatch.put_metric_data(Namespace="Own", MetricData=data)
    assert hosting.alarm_state(name) == state
    for expression, message in (("e / other", "names other"), ("RATE(e)", "RATE.* is not supported"), ("e /", "valid")):
        wrong = {**rate, "Expression": expression}
        with pytest.raises(ClientError, match=message):
            hosting.cloudwatch.put_metric_alarm(AlarmName=name, Metrics=[*metrics, wrong], **common)


@pytest.fixture(scope="module")
def refusing(hosting):
    hosting.deploy("old")
    hosting.deploy("new")
    hosting.configuration("renamed", hosting.variant("new", name="other"))
    hosting.create("Refusing", "old")
    return hosting


def canary(size, *, wait=10, **more):
    return blue_green("CANARY", wait=wait, size=size, **more)


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        ("update", ("Nowhere", "new"), "Could not find endpoint"),
        ("update", ("Refusing", "nothing"), "Could not find endpoint configuration"),
        ("update", ("Refusing", "new", canary(60)), "CanarySize must be at most 50 %"),
        ("update", ("Refusing", "new", blue_green("LINEAR", size=5)), "LinearStepSize must be 10% to 50%"),
        ("update", ("Refusing", "new", blue_green("CANARY")), "CanarySize belongs to the type CANARY"),
        ("update", ("Refusing", "renamed", canary(10)), "must have the same variants; it has other"),
        (
            "update",
            ("Refusing", "new", canary(10, wait=3600, MaximumExecutionTimeoutInSeconds=600)),
            "must exceed all waits together, 3600 s",
        ),
        ("create", ("Refusing", "new"), "Cannot create already existing endpoint"),
        ("create", ("Other", "nothing"), "Could not find endpoint configuration"),
        ("create", ("x" * 64, "new"), "less than or equal to 63"),
        ("deploy", ("old",), "Cannot create already existing model"),
    ],
)
def test_what_the_service_refuses_is_refused_with_its_own_error_code(refusing, call, arguments, message):
    with pytest.raises(ClientError, match=message) as caught:
        getattr(refusing, call)(*arguments)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert refusing.describe("Refusing")["EndpointConfigName"] == "old"


def test_configurations_and_alarms_that_cannot_work_are_refused(refusing):
    delete, variant = refusing.sagemaker.delete_endpoint_config, refusing.variant
    with pytest.raises(ClientError, match="Cannot delete endpoint configuration .* that an endpoint uses"):
        delete(EndpointConfigName="old")
    with pytest.raises(ClientError, match="alarm missing does not exist"):
        refusing.update("Refusing", "new", canary(10), alarms=["missing"])
    with pytest.raises(ClientError, match="Could not find model"):
        refusing.configuration("c", variant("nothing"))
    with pytest.raises(ClientError, match="already existing endpoint configuration"):
        refusing.configuration("old", variant("old"))
    with pytest.raises(ClientError, match="exactly one shadow and one production variant"):
        refusing.configuration(
            "c", variant("old"), variant("new", name="b"), ShadowProductionVariants=[variant("new", name="s")]
        )
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
    with pytest.raises(ClientError, match="ServerlessConfig is not supported by this endpoint"):
        refusing.configuration("c", {"VariantName": "a", "ModelName": "old", "ServerlessConfig": serverless})
    container = {"ModelPackageName": "arn:aws:sagemaker:us-east-1:123456789012:model-package/g/1"}
    with pytest.raises(ClientError, match="ModelPackage .* does not exist"):
        refusing.sagemaker.create_model(ModelName="c", ExecutionRoleArn=ROLE, Containers=[container])
    with pytest.raises(ClientError, match="ComparisonOperator .* is not supported by this endpoint"):
        refusing.alarm("c", "m", dimensions={}, ComparisonOperator="GreaterThanUpperThreshold")
    with pytest.raises(ClientError, match="not found"):
        refusing.ask("Nowhere")
    delete(EndpointConfigName="renamed")
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        delete(EndpointConfigName="renamed")


def test_a_deleted_endpoint_leaves_no_process_and_frees_its_name(hosting):
    hosting.deploy("brief")
    hosting.create("Brief", "brief")
    (server,) = [variant.server for variant in hosting.emulator._endpoints.find(_Region(), "Brief").fleet.variants]
    hosting.sagemaker.delete_endpoint(EndpointName="Brief")
    hosting.until(
        lambda: [each["EndpointName"] for each in hosting.sagemaker.list_endpoints(NameContains="Brief")["Endpoints"]],
        lambda names: not names,
    )
    assert not server.is_alive
    with pytest.raises(ClientError, match="Could not find endpoint"):
        hosting.describe("Brief")
    assert hosting.create("Brief", "brief")["EndpointStatus"] == "InService"


class _Region:
    name = "us-east-1"


@pytest.mark.parametrize("scale", [0, -1, 2, float("nan")])
def test_a_time_scale_that_is_not_one_is_refused(tmp_path, scale):
    with pytest.raises(UsageError, match="time scale"):
        SageMakerEndpoint(tmp_path, time_scale=scale)


def test_alarms_look_at_the_last_periods_only(hosting):
    hosting.alarm("brief", "Brief", namespace="Own", dimensions={})
    hosting.cloudwatch.put_metric_data(Namespace="Own", MetricData=[{"MetricName": "Brief", "Value": 1}])
    old = time.time() - 3600
    hosting.until(lambda: hosting.alarm_state("brief"), lambda state: state == "OK")  # a period takes 3 s here
    hosting.cloudwatch.put_metric_data(
        Namespace="Own", MetricData=[{"MetricName": "Brief", "Value": 9, "Timestamp": old}]
    )
    assert hosting.alarm_state("brief") == "OK"
