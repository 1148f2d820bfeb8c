"""What is asked of the service for a plan: requests as data, without any call.

Everything that a plan creates has the name of the plan, which follows from its content. A resource of this name is used
again; one with another content was not made by this deployment.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.deployments import Shift, Stage
from mlops_sagemaker.serving.protocol import CONFIGURATION, VARIANT

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from mlops_core.deployments import DeploymentPlan
    from mlops_sagemaker.deployment.versions import PackagedModel
    from mlops_sagemaker.settings import AccountSettings

USE_CASE = "USECASE_NAME"
STOP_NAMESPACE, STOP_METRIC = "mlops/Deployments", "Stopped"
CONFIGURATION_TAG = "mlops:configuration"
NO_CONFIGURATION = "none"
"""Value of that tag until the first deployment to an endpoint has been finished."""
CANCELLED_TAG = "mlops:cancelled"
_SHORTEST_LIMIT_S = 600
_PERIOD_S = 60
_US = 1000
_CSV = ("text/csv",)
_JSON = ("application/json", "application/jsonlines")
_NOT_IN_TAGS = re.compile(r"[^\w .:/=+@-]")
_LONGEST_TAG = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A plan with everything that its requests need.

    Attributes:
        package: the version.
        account: names of the account.
        instance_type: machine of the endpoint.
        project: tags of the SageMaker project.
    """

    plan: DeploymentPlan
    package: PackagedModel
    account: AccountSettings
    instance_type: str
    project: Mapping[str, str]


def tags_of(blueprint: Blueprint) -> dict[str, str]:
    """Return the tags of model, endpoint configuration and endpoint."""
    plan = blueprint.plan
    return {
        **blueprint.account.tags,
        **plan.settings.tags,
        **blueprint.project,
        "sagemaker:deployment-stage": str(plan.stage),
        "mlops:use-case": plan.model.use_case,
        "mlops:version": str(plan.model.version),
        "mlops:artifact": plan.model.artifact,
    }


def as_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as the service takes them; characters that it does not allow become spaces."""
    return [{"Key": key, "Value": _NOT_IN_TAGS.sub(" ", value)[:_LONGEST_TAG]} for key, value in sorted(tags.items())]


def model_request(blueprint: Blueprint) -> dict[str, Any]:
    """Return the arguments of ``CreateModel``.

    A version that nobody has approved yet is spelled out for staging, because the service may refuse it by its name.
    """
    plan, account = blueprint.plan, blueprint.account
    environment = {
        **(blueprint.package.container.get("Environment") or {}),
        USE_CASE: plan.model.use_case,
        **plan.settings.environment,
        CONFIGURATION: plan.name,
    }
    container: dict[str, Any] = {"ModelPackageName": blueprint.package.arn}
    if plan.stage is Stage.STAGING:
        container = dict(blueprint.package.container)
    request: dict[str, Any] = {
        "ModelName": plan.name,
        "ExecutionRoleArn": account.role,
        "Containers": [{**container, "Environment": environment}],
    }
    network = plan.settings.network
    subnets = network.subnets if network else account.subnets
    groups = network.security_groups if network else account.security_groups
    if subnets and groups:
        request["VpcConfig"] = {"Subnets": list(subnets), "SecurityGroupIds": list(groups)}
    if network.is_isolated if network else account.network_isolation:
        request["EnableNetworkIsolation"] = True
    return request


def configuration_request(blueprint: Blueprint) -> dict[str, Any]:
    """Return the arguments of ``CreateEndpointConfig``."""
    plan, settings = blueprint.plan, blueprint.plan.settings
    variant = {
        "VariantName": VARIANT,
        "ModelName": plan.name,
        "InstanceType": blueprint.instance_type,
        "InitialInstanceCount": settings.instances,
        "InitialVariantWeight": 1.0,
        "ContainerStartupHealthCheckTimeoutInSeconds": math.ceil(settings.start_timeout_s),
    }
    request: dict[str, Any] = {"EndpointConfigName": plan.name, "ProductionVariants": [variant]}
    key = settings.encryption_key or blueprint.account.volume_kms_key
    if key:
        request["KmsKeyId"] = key
    if settings.capture:
        request["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": settings.capture.percent,
            "DestinationS3Uri": settings.capture.to,
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": list(_CSV), "JsonContentTypes": list(_JSON)},
            **({"KmsKeyId": settings.encryption_key} if settings.encryption_key else {}),
        }
    return request


def deployment_config(plan: DeploymentPlan, *, at_once: bool) -> dict[str, Any]:
    """Return the ``DeploymentConfig`` with which the service shifts traffic and rolls back."""
    settings, traffic = plan.settings, plan.settings.traffic
    routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    if not at_once and traffic.shift is not Shift.ALL_AT_ONCE:
        is_canary = traffic.shift is Shift.CANARY
        size = {"Type": "CAPACITY_PERCENT", "Value": traffic.percent}
        routing = {
            "Type": "CANARY" if is_canary else "LINEAR",
            "CanarySize" if is_canary else "LinearStepSize": size,
            "WaitIntervalInSeconds": math.ceil(traffic.interval_s),
        }
    alarms = [stop_alarm(plan)] if at_once else alarm_names(plan)
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": 0 if at_once else math.ceil(traffic.bake_s),
            "MaximumExecutionTimeoutInSeconds": max(_SHORTEST_LIMIT_S, math.ceil(settings.timeout_s)),
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]},
    }


# --- Alarms -----------------------------------------------------------------------------------------------


def stop_alarm(plan: DeploymentPlan) -> str:
    """Return the name of the alarm with which a deployment is ended from outside."""
    return f"{plan.name}-stop"


def alarm_names(plan: DeploymentPlan) -> list[str]:
    """Return the alarms that roll a deployment back: our own, then those of the settings."""
    return [*(request["AlarmName"] for request in alarm_requests(plan)), *plan.settings.alarms.names]


def is_own_alarm(name: str, *, endpoint: str) -> bool:
    """Return whether an alarm was made by a deployment to an endpoint."""
    return re.fullmatch(rf"{re.escape(endpoint)}-[0-9a-f]{{12}}-(errors|latency|stop)", name) is not None


def alarm_requests(plan: DeploymentPlan) -> list[dict[str, Any]]:
    """Return the arguments of ``PutMetricAlarm`` for each alarm; they watch the new fleet only."""
    alarms = plan.settings.alarms
    requests = [_stop_request(plan)]
    if alarms.max_error_rate is not None:
        errors = _watched(plan, "errors", "Invocation5XXErrors", "Sum")
        requests.append(
            _judged(plan, "errors", errors, f"IF(n >= {alarms.min_requests}, errors / n, 0)", alarms.max_error_rate)
        )
    if alarms.max_p99_ms is not None:
        latency = _watched(plan, "latency", "ModelLatency", "p99")
        limit_us = _US * alarms.max_p99_ms
        requests.append(_judged(plan, "latency", latency, f"IF(n >= {alarms.min_requests}, latency, 0)", limit_us))
    return requests


def invocation_statistics(plan: DeploymentPlan, *, since: dt.datetime, until: dt.datetime) -> dict[str, Any]:
    """Return the arguments of ``GetMetricStatistics`` for the requests to the new configuration in each minute."""
    metric = _watched(plan, "n", "Invocations", "Sum")["MetricStat"]
    limits = {"StartTime": since, "EndTime": until, "Period": metric["Period"], "Statistics": ["Sum"]}
    return {**metric["Metric"], **limits}


def stop_datum(plan: DeploymentPlan) -> dict[str, Any]:
    """Return the arguments of ``PutMetricData`` that set off the alarm `stop_alarm`."""
    datum = {"MetricName": STOP_METRIC, "Dimensions": _stop_dimensions(plan), "Value": 1.0}
    return {"Namespace": STOP_NAMESPACE, "MetricData": [datum]}


def _stop_request(plan: DeploymentPlan) -> dict[str, Any]:
    return {
        "AlarmName": stop_alarm(plan),
        "AlarmDescription": f"Ends the deployment {plan.name}: put a value of 1 to this metric",
        "Namespace": STOP_NAMESPACE,
        "MetricName": STOP_METRIC,
        "Dimensions": _stop_dimensions(plan),
        "Statistic": "Maximum",
        "Period": _PERIOD_S,
        "EvaluationPeriods": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
    }


def _stop_dimensions(plan: DeploymentPlan) -> list[dict[str, str]]:
    return [{"Name": "EndpointName", "Value": plan.endpoint}, {"Name": "EndpointConfigName", "Value": plan.name}]


def _judged(plan: DeploymentPlan, kind: str, watched: dict[str, Any], expression: str, limit: float) -> dict[str, Any]:
    number = _watched(plan, "n", "Invocations", "Sum")
    return {
        "AlarmName": f"{plan.name}-{kind}",
        "AlarmDescription": f"Rolls the deployment {plan.name} back",
        "Metrics": [watched, number, {"Id": "judged", "Expression": expression, "ReturnData": True}],
        "EvaluationPeriods": 1,
        "Threshold": float(limit),
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }


def _watched(plan: DeploymentPlan, name: str, metric: str, statistic: str) -> dict[str, Any]:
    dimensions = {"EndpointName": plan.endpoint, "VariantName": VARIANT, "EndpointConfigName": plan.name}
    return {
        "Id": name,
        "ReturnData": False,
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/SageMaker",
                "MetricName": metric,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
            },
            "Period": _PERIOD_S,
            "Stat": statistic,
        },
    }


# --- Scaling ----------------------------------------------------------------------------------------------


def scalable_variant(endpoint: str) -> dict[str, str]:
    """Return how Application Auto Scaling names the variant of an endpoint."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def scaling_requests(plan: DeploymentPlan) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the arguments of ``RegisterScalableTarget`` and of ``PutScalingPolicy``; None for a fixed number."""
    scaling = plan.settings.autoscaling
    if scaling is None:
        return None
    place = scalable_variant(plan.endpoint)
    policy = {
        **place,
        "PolicyName": f"{plan.endpoint}-requests",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": float(scaling.requests_per_minute),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleInCooldown": scaling.scale_in_cooldown_s,
            "ScaleOutCooldown": scaling.scale_out_cooldown_s,
        },
    }
    return {**place, "MinCapacity": scaling.min_instances, "MaxCapacity": scaling.max_instances}, policy
