"""Fixtures of tests that deploy to the emulator: small model servers, and helpers that wait and count."""

import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from botocore.exceptions import ClientError
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers

SERVER = Path(__file__).with_name("small_server.py")
ROLE = "arn:aws:iam::123456789012:role/example"
BUCKET = "bucket"


class SmallServers(ProcessContainers):
    """Starts `small_server.py` in place of the serving image."""

    def run(self, order):
        return super().run(replace(order, command=("python3", "-S", str(SERVER))))


class Hosting:
    """boto3 clients of an emulator, and what the tests do with them again and again."""

    def __init__(self, endpoint):
        self.emulator = endpoint
        self.sagemaker = endpoint.client("sagemaker")
        self.runtime = endpoint.client("sagemaker-runtime")
        self.cloudwatch = endpoint.client("cloudwatch")
        self.s3 = endpoint.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)

    def model(self, name, words=None):
        """Create a model whose server behaves as the words say."""
        self.s3.put_object(Bucket=BUCKET, Key=f"{name}/model.txt", Body=(words or f"name={name}").encode())
        source = {"S3Uri": f"s3://{BUCKET}/{name}/", "S3DataType": "S3Prefix", "CompressionType": "None"}
        container = {
            "Image": "serving:1",
            "ModelDataSource": {"S3DataSource": source},
            "Environment": {"USECASE_NAME": "TOY"},
        }
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)

    def variant(self, model, *, name="AllTraffic", **more):
        machine = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        return {"VariantName": name, "ModelName": model, **machine, **more}

    def configuration(self, name, *variants, **more):
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=list(variants), **more)

    def deploy(self, name, words=None):
        """Create a model and a configuration of the same name."""
        self.model(name, words)
        self.configuration(name, self.variant(name))

    def create(self, endpoint, configuration):
        self.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=configuration)
        return self.settled(endpoint)

    def update(self, endpoint, configuration, policy=None, *, alarms=(), **more):
        config = {}
        if policy:
            config = {"DeploymentConfig": policy}
            if alarms:
                policy["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
        self.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=configuration, **config, **more)

    def describe(self, endpoint):
        return self.sagemaker.describe_endpoint(EndpointName=endpoint)

    def settled(self, endpoint):
        return self.until(
            lambda: self.describe(endpoint), lambda it: it["EndpointStatus"] in ("InService", "Failed"), what=endpoint
        )

    def until(self, look, is_enough, *, what="a condition", limit_s=60):
        """Look again and again until it is enough; return what was seen."""
        deadline = time.monotonic() + limit_s
        while not is_enough(seen := look()):
            assert time.monotonic() < deadline, f"{what}: {seen}"
            time.sleep(0.02)
        return seen

    def ask(self, endpoint, body=b"1", **more):
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType="text/csv", **more)
        with closing(answer["Body"]) as stream:
            return json.loads(stream.read())

    def outcome(self, endpoint):
        """Return the model that answered a request, or the status of the error."""
        try:
            return self.ask(endpoint)["model"]
        except ClientError as error:
            return error.response["OriginalStatusCode"]

    def models(self, endpoint, count):
        """Return how many of `count` requests each model answered."""
        names = [self.ask(endpoint)["model"] for _ in range(count)]
        return {name: names.count(name) for name in set(names)}

    def alarm(self, name, metric, *, threshold=1, statistic="Sum", **more):
        """Create an alarm; its period is a minute of the emulator."""
        dimensions = [{"Name": key, "Value": value} for key, value in more.pop("dimensions").items()]
        kind = "ExtendedStatistic" if statistic.startswith("p") else "Statistic"
        self.cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace=more.pop("namespace", "AWS/SageMaker"),
            MetricName=metric,
            Dimensions=dimensions,
            EvaluationPeriods=1,
            Threshold=threshold,
            **{
                "Period": 60,
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "TreatMissingData": "notBreaching",
                kind: statistic,
                **more,
            },
        )

    def alarm_state(self, name):
        (alarm,) = self.cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return alarm["StateValue"]


def blue_green(kind, *, wait=0, bake=0, size=None, **more):
    """Return a deployment configuration."""
    sizes = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
    routing = {"Type": kind, "WaitIntervalInSeconds": wait}
    if size is not None:
        routing[sizes[kind]] = {"Type": "CAPACITY_PERCENT", "Value": size}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": bake, **more}
    return {"BlueGreenUpdatePolicy": policy}
