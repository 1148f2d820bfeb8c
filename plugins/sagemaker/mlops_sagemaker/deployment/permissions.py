"""The policy for the user who deploys: `mlops deploy --runner sagemaker`.

Endpoints, configurations, models and alarms are named after the endpoint, which is ``<use case>-<stage>`` unless
``deployments.yaml`` says otherwise. A test compares the actions with the calls of a deployment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_sagemaker.service.policy import VERSION, key_statements, require_role

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_sagemaker.service.policy import Names

Json = dict[str, Any]
_SERVICE = "sagemaker.amazonaws.com"
_SCALING = "sagemaker.application-autoscaling.amazonaws.com"
_KINDS = {"Model": "model", "EndpointConfig": "endpoint-config", "Endpoint": "endpoint"}


def deployer_policy(names: Names) -> Json:
    """Return the policy document.

    Raises:
        UsageError: the ARN of the role is unknown.
    """
    require_role(names)
    return {"Version": VERSION, "Statement": [*_statements(names), *key_statements(names)]}


def _statements(names: Names) -> Iterator[Json]:
    endpoint = names.group.lower() if names.group != "*" else ""
    made = [names.arn("sagemaker", f"{kind}/{endpoint}-*" if endpoint else f"{kind}/*") for kind in _KINDS.values()]
    verbs = [f"{verb}{kind}" for kind in _KINDS for verb in ("Create", "Describe")]
    changing = ["UpdateEndpoint", "DeleteEndpoint", "InvokeEndpoint", "AddTags", "DeleteTags", "ListTags"]
    yield _allow("Endpoints", [f"sagemaker:{verb}" for verb in (*verbs, *changing)], made)
    groups = [
        names.arn("sagemaker", f"model-package{rest}")
        for group in dict.fromkeys((names.group.lower(), names.group))
        for rest in (f"-group/{group}", f"/{group}/*")
    ]
    yield _allow("Versions", ["sagemaker:ListModelPackages", "sagemaker:DescribeModelPackage"], groups)
    alarms = [f"cloudwatch:{verb}" for verb in ("PutMetricAlarm", "DeleteAlarms", "SetAlarmState")]
    yield _allow("Alarms", alarms, [names.arn("cloudwatch", f"alarm:{endpoint}-*" if endpoint else "alarm:*")])
    yield _allow("AlarmStates", ["cloudwatch:DescribeAlarms"], [names.arn("cloudwatch", "alarm:*")])
    metrics = _allow("Stops", ["cloudwatch:PutMetricData"], ["*"])
    yield metrics | {"Condition": {"StringEquals": {"cloudwatch:namespace": "mlops/Deployments"}}}
    yield _allow("Requests", ["cloudwatch:GetMetricStatistics"], ["*"])
    yield from _scaling(names)
    yield _allow("PassRole", ["iam:PassRole"], [names.role]) | {
        "Condition": {"StringEquals": {"iam:PassedToService": _SERVICE}}
    }
    yield from _models(names)


def _scaling(names: Names) -> Iterator[Json]:
    verbs = ("RegisterScalableTarget", "DeregisterScalableTarget", "DescribeScalableTargets", "PutScalingPolicy")
    actions = [f"application-autoscaling:{verb}" for verb in verbs]
    yield _allow("Scaling", actions, [names.arn("application-autoscaling", "scalable-target/*")])
    role = f"arn:{names.partition}:iam::{names.account}:role/aws-service-role/{_SCALING}/*"
    yield _allow("ScalingRole", ["iam:CreateServiceLinkedRole"], [role]) | {
        "Condition": {"StringLike": {"iam:AWSServiceName": _SCALING}}
    }


def _models(names: Names) -> Iterator[Json]:
    """Allow reading the files of models, whose digest is recorded."""
    results = f"{names.use_case}/executions/"
    own = {"StringEquals": {"aws:ResourceAccount": names.account}} if names.bucket == "*" else {}
    listing = {"StringLike": {"s3:prefix": [f"{results}*"]}} | own
    yield _allow("Listings", ["s3:ListBucket"], [f"arn:{names.partition}:s3:::{names.bucket}"]) | {"Condition": listing}
    reading = _allow("Models", ["s3:GetObject"], names.objects(results))
    yield reading | ({"Condition": own} if own else {})


def _allow(name: str, actions: Sequence[str], resources: Sequence[str]) -> Json:
    return {"Sid": name, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
