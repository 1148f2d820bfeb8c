"""The resources of rules at the service: one CloudFormation template, and the same as input of the command line.

Each rule has a dead-letter queue: without one, an event that a target refuses is gone. The role may start this
pipeline and nothing else. A pipeline's target takes no input transformer, only parameters.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.watching import ApprovalRule, ObjectRule, PrefixRule, ProposalRule, ScheduleRule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_sagemaker.triggers.rules import EventRule

_RETRY = {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86_400}
_START = "sagemaker:StartPipelineExecution"
QUEUE, TOPIC, DEPLOY_PROJECT = "mlops-trigger-dead-letters", "mlops-proposals", "DeployProject"
_BUILDS = "arn:${AWS::Partition}:codebuild:${AWS::Region}:${AWS::AccountId}:project/"
_NOT_ALPHANUMERIC = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arns:
    """ARNs that targets name: texts for the command line, references in a template.

    Attributes:
        pipeline: prefix of the ARNs of pipelines, with a slash at its end, joined with a name by `pipeline_arn`.
        start_role: of the role that starts pipelines.
        build_role: of the role that starts the project that deploys.
        queue: of the dead-letter queue.
        topic: of the topic for proposals.
        project: of the project that deploys.
        is_template: the ARNs are references of a template.
    """

    pipeline: str
    start_role: Any
    build_role: Any
    queue: Any
    topic: Any
    project: Any
    is_template: bool = False

    def pipeline_arn(self, name: str) -> Any:
        """Return the ARN of a pipeline; names in ARNs are in lower case."""
        arn = f"{self.pipeline}{name.lower()}"
        return {"Fn::Sub": arn} if self.is_template else arn


def account_arns(account: str, region: str, *, partition: str = "aws", project: str = "mlops-deploy") -> Arns:
    """Return the ARNs in an account."""
    head = f"arn:{partition}"
    return Arns(
        pipeline=f"{head}:sagemaker:{region}:{account}:pipeline/",
        start_role=f"{head}:iam::{account}:role/mlops-start-pipelines",
        build_role=f"{head}:iam::{account}:role/mlops-start-deployments",
        queue=f"{head}:sqs:{region}:{account}:{QUEUE}",
        topic=f"{head}:sns:{region}:{account}:{TOPIC}",
        project=f"{head}:codebuild:{region}:{account}:project/{project}",
    )


def template_arns() -> Arns:
    """Return the references of a template."""
    return Arns(
        pipeline="arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:pipeline/",
        start_role=_attribute("StartPipelinesRole"),
        build_role=_attribute("StartDeploymentsRole"),
        queue=_attribute("DeadLetterQueue"),
        topic={"Ref": "ProposalTopic"},
        project={"Fn::Sub": f"{_BUILDS}${{{DEPLOY_PROJECT}}}"},
        is_template=True,
    )


def _attribute(name: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [name, "Arn"]}


# --- Targets ----------------------------------------------------------------------------------------------


def target_of(made: EventRule, arns: Arns) -> dict[str, Any]:
    """Return the target of a rule on the bus."""
    common = {"RetryPolicy": dict(_RETRY), "DeadLetterConfig": {"Arn": arns.queue}}
    rule = made.rule
    if isinstance(rule, ApprovalRule):
        return {"Id": "deploy", "Arn": arns.project, "RoleArn": arns.build_role, **_deployment(rule), **common}
    if isinstance(rule, ProposalRule):
        return {"Id": "propose", "Arn": arns.topic, **_proposal(made), **common}
    return {
        "Id": "start",
        "Arn": arns.pipeline_arn(made.pipeline),
        "RoleArn": arns.start_role,
        "SageMakerPipelineParameters": {"PipelineParameterList": _parameters(made.parameters)},
        **common,
    }


def _parameters(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


def _deployment(rule: ApprovalRule) -> dict[str, Any]:
    """Return what the project that deploys is given: the package of the event, never the latest one."""
    template = {
        "environmentVariablesOverride": [
            {"name": "MODEL_PACKAGE_ARN", "value": "<package>", "type": "PLAINTEXT"},
            {"name": "USECASE_NAME", "value": rule.use_case, "type": "PLAINTEXT"},
            {"name": "DEPLOYMENT_STAGE", "value": rule.to, "type": "PLAINTEXT"},
        ]
    }
    return {
        "InputTransformer": {
            "InputPathsMap": {"package": "$.detail.ModelPackageArn"},
            "InputTemplate": json.dumps(template),
        }
    }


def _proposal(made: EventRule) -> dict[str, Any]:
    use_case = made.rule.use_case
    if made.pattern and made.pattern["source"] == ["aws.sagemaker"]:
        paths = {"execution": "$.detail.pipelineExecutionArn", "time": "$.time"}
        text = f"{use_case}: the execution <execution> failed at <time>. See its steps, then start it again: "
    else:
        paths = {"reason": "$.detail.reason", "time": "$.time"}
        text = f"{use_case}: drift at <time>: <reason>. Look at the alarm and the new data, then retrain: "
    template = json.dumps(f"{text}mlops run --usecase {use_case} --runner sagemaker")
    return {"InputTransformer": {"InputPathsMap": paths, "InputTemplate": template}}


# --- Input of the command line ----------------------------------------------------------------------------


def command_inputs(rules: Sequence[EventRule], arns: Arns) -> dict[str, Any]:
    """Return file name -> the input of one call of the ``aws`` command line, in the order of the calls."""
    files: dict[str, Any] = {}
    files["sqs-create-queue.json"] = {
        "QueueName": QUEUE,
        "Attributes": {
            "MessageRetentionPeriod": "1209600",
            "SqsManagedSseEnabled": "true",
            "Policy": json.dumps(queue_policy(rules, arns, _rule_arns(rules, arns))),
        },
    }
    for name, (trust, policy) in _roles(rules, arns).items():
        files[f"iam-create-role-{name}.json"] = {"RoleName": name, "AssumeRolePolicyDocument": json.dumps(trust)}
        files[f"iam-put-role-policy-{name}.json"] = {
            "RoleName": name,
            "PolicyName": "targets",
            "PolicyDocument": json.dumps(policy),
        }
    if _of(rules, ProposalRule):
        files["sns-create-topic.json"] = {"Name": TOPIC, "Attributes": {"Policy": json.dumps(topic_policy(arns))}}
    for made in rules:
        if made.pattern is None:
            files[f"scheduler-create-schedule-{made.name}.json"] = {"Name": made.name, **_schedule(made, arns)}
            continue
        files[f"events-put-rule-{made.name}.json"] = {
            "Name": made.name,
            "Description": _description(made),
            "State": _state(made),
            "EventPattern": json.dumps(made.pattern),
        }
        files[f"events-put-targets-{made.name}.json"] = {"Rule": made.name, "Targets": [target_of(made, arns)]}
    return files


def command_script(files: Mapping[str, Any]) -> str:
    """Return a script that makes the calls, in order; it can be repeated."""
    lines = ["#!/usr/bin/env bash", "# Creates or updates the rules: each file is the input of one call."]
    lines += ["set -euo pipefail", 'cd "$(dirname "$0")"', ""]
    for name in files:
        service, _, rest = name.removesuffix(".json").partition("-")
        call = next(call for call in _CALLS if rest.startswith(call))
        repeated = f' || echo "{name}: exists already" >&2' if call in _CREATING else ""
        lines.append(f"aws {service} {call} --cli-input-json file://{name}{repeated}")
    return "\n".join(lines) + "\n"


_CALLS = (
    "create-queue",
    "create-role",
    "put-role-policy",
    "create-topic",
    "create-schedule",
    "put-rule",
    "put-targets",
)
_CREATING = {"create-role", "create-schedule"}


def _rule_arns(rules: Sequence[EventRule], arns: Arns) -> list[Any]:
    head = arns.queue.replace(":sqs:", ":events:").rpartition(":")[0]
    return [f"{head}:rule/{made.name}" for made in rules if made.pattern is not None]


def _roles(rules: Sequence[EventRule], arns: Arns) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    roles = {"mlops-start-pipelines": (trust_policy(), start_policy(rules, arns))}
    if _of(rules, ApprovalRule):
        roles["mlops-start-deployments"] = (trust_policy("events.amazonaws.com"), build_policy(arns))
    return roles


# --- Policies ---------------------------------------------------------------------------------------------


def trust_policy(*services: str) -> dict[str, Any]:
    """Return the trust policy of a role that the bus, or the scheduler, takes in this account only."""
    principals = list(services) or ["events.amazonaws.com", "scheduler.amazonaws.com"]
    return _policy({"Effect": "Allow", "Principal": {"Service": principals}, "Action": "sts:AssumeRole"})


def start_policy(rules: Sequence[EventRule], arns: Arns) -> dict[str, Any]:
    """Return what the role that starts pipelines may do."""
    names = sorted({made.pipeline for made in rules if made.pipeline})
    statements = [
        {"Effect": "Allow", "Action": _START, "Resource": [arns.pipeline_arn(name) for name in names]},
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": [arns.queue]},  # of the scheduler, in its name
    ]
    return _policy(*(statements if names else statements[1:]))


def build_policy(arns: Arns) -> dict[str, Any]:
    """Return what the role that starts deployments may do."""
    return _policy({"Effect": "Allow", "Action": "codebuild:StartBuild", "Resource": [arns.project]})


def queue_policy(rules: Sequence[EventRule], arns: Arns, sources: Sequence[Any]) -> dict[str, Any]:
    """Return the policy of the queue: only these rules put events into it."""
    if not sources:
        return _policy(_send(arns.queue, "scheduler.amazonaws.com"))
    statement = _send(arns.queue, "events.amazonaws.com")
    statement["Condition"] = {"ArnEquals": {"aws:SourceArn": list(sources)}}
    scheduled = [_send(arns.queue, "scheduler.amazonaws.com")] if _of(rules, ScheduleRule) else []
    return _policy(statement, *scheduled)


def _send(queue: Any, service: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": queue}


def topic_policy(arns: Arns) -> dict[str, Any]:
    """Return the policy of the topic for proposals."""
    principal = {"Service": "events.amazonaws.com"}
    return _policy({"Effect": "Allow", "Principal": principal, "Action": "sns:Publish", "Resource": arns.topic})


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


# --- The template -----------------------------------------------------------------------------------------


def template(rules: Sequence[EventRule]) -> dict[str, Any]:
    """Return a CloudFormation template with all rules and what they need."""
    resources = template_resources(rules)
    parameters = {}
    if _of(rules, ApprovalRule):
        parameters[DEPLOY_PROJECT] = {
            "Type": "String",
            "Default": "mlops-deploy",
            "Description": "Name of the CodeBuild project that deploys an approved model version.",
        }
    head = {"AWSTemplateFormatVersion": "2010-09-09", "Description": "Event rules that start pipelines of mlops."}
    return {**head, **({"Parameters": parameters} if parameters else {}), "Resources": resources}


def template_resources(rules: Sequence[EventRule]) -> dict[str, Any]:
    """Return the resources of the template by their logical ids."""
    arns = template_arns()
    ids = logical_ids(rules)
    sources = [_attribute(ids[made.name]) for made in rules if made.pattern is not None]
    resources: dict[str, Any] = {
        "DeadLetterQueue": {
            "Type": "AWS::SQS::Queue",
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {"MessageRetentionPeriod": 1_209_600, "SqsManagedSseEnabled": True},
        },
        "DeadLetterQueuePolicy": {
            "Type": "AWS::SQS::QueuePolicy",
            "Properties": {
                "Queues": [{"Ref": "DeadLetterQueue"}],
                "PolicyDocument": queue_policy(rules, arns, sources),
            },
        },
        "StartPipelinesRole": _role(trust_policy(), start_policy(rules, arns)),
    }
    if _of(rules, ApprovalRule):
        resources["StartDeploymentsRole"] = _role(trust_policy("events.amazonaws.com"), build_policy(arns))
    if _of(rules, ProposalRule):
        resources["ProposalTopic"] = {"Type": "AWS::SNS::Topic", "Properties": {"KmsMasterKeyId": "alias/aws/sns"}}
        resources["ProposalTopicPolicy"] = {
            "Type": "AWS::SNS::TopicPolicy",
            "Properties": {"Topics": [arns.topic], "PolicyDocument": topic_policy(arns)},
        }
    objects = [made.rule for made in rules if isinstance(made.rule, ObjectRule)]
    if objects:
        resources |= _trail([f"{rule.bucket}/{rule.key}" for rule in objects])
    for made in rules:
        resources[ids[made.name]] = _rule_resource(made, arns)
    return resources


def logical_ids(rules: Sequence[EventRule]) -> dict[str, str]:
    """Return rule name -> logical id: letters and digits, unique."""
    ids: dict[str, str] = {}
    for made in rules:
        words = [part for part in _NOT_ALPHANUMERIC.split(made.name) if part]
        base = "Rule" + "".join(word[:1].upper() + word[1:] for word in words)
        number = 1
        while (name := base if number == 1 else f"{base}{number}") in ids.values():
            number += 1
        ids[made.name] = name
    return ids


def _role(trust: dict[str, Any], policy: dict[str, Any]) -> dict[str, Any]:
    trust["Statement"][0]["Condition"] = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    properties = {
        "AssumeRolePolicyDocument": trust,
        "Policies": [{"PolicyName": "targets", "PolicyDocument": policy}],
    }
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def _rule_resource(made: EventRule, arns: Arns) -> dict[str, Any]:
    if made.pattern is None:
        return {"Type": "AWS::Scheduler::Schedule", "Properties": _schedule(made, arns)}
    return {
        "Type": "AWS::Events::Rule",
        "Properties": {
            "Description": _description(made),
            "State": _state(made),
            "EventPattern": made.pattern,
            "Targets": [target_of(made, arns)],
        },
    }


def _schedule(made: EventRule, arns: Arns) -> dict[str, Any]:
    rule = made.rule
    assert isinstance(rule, ScheduleRule)  # noqa: S101  for mypy: only schedules have no pattern
    target = target_of(made, arns)
    del target["Id"]
    return {
        "Description": _description(made),
        "State": _state(made),
        "ScheduleExpression": rule.expression,
        "ScheduleExpressionTimezone": rule.timezone,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": target,
    }


def _trail(objects: Sequence[str]) -> dict[str, Any]:
    """Return a trail that records writes of these objects; its own bucket is never among them."""
    bucket = {
        "Type": "AWS::S3::Bucket",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "PublicAccessBlockConfiguration": dict.fromkeys(
                ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
            ),
            "LifecycleConfiguration": {"Rules": [{"Id": "expire", "Status": "Enabled", "ExpirationInDays": 90}]},
        },
    }
    principal = {"Service": "cloudtrail.amazonaws.com"}
    logs = {"Fn::Sub": "${TrailBucket.Arn}/AWSLogs/${AWS::AccountId}/*"}
    allowed = _policy(
        {"Effect": "Allow", "Principal": principal, "Action": "s3:GetBucketAcl", "Resource": _attribute("TrailBucket")},
        {
            "Effect": "Allow",
            "Principal": principal,
            "Action": "s3:PutObject",
            "Resource": logs,
            "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
        },
    )
    selector = {
        "ReadWriteType": "WriteOnly",
        "IncludeManagementEvents": False,
        "DataResources": [
            {
                "Type": "AWS::S3::Object",
                "Values": [{"Fn::Sub": f"arn:${{AWS::Partition}}:s3:::{each}"} for each in dict.fromkeys(objects)],
            }
        ],
    }
    return {
        "TrailBucket": bucket,
        "TrailBucketPolicy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"Bucket": {"Ref": "TrailBucket"}, "PolicyDocument": allowed},
        },
        "Trail": {
            "Type": "AWS::CloudTrail::Trail",
            "DependsOn": "TrailBucketPolicy",
            "Properties": {
                "IsLogging": True,
                "S3BucketName": {"Ref": "TrailBucket"},
                "EnableLogFileValidation": True,
                "EventSelectors": [selector],
            },
        },
    }


def bucket_notes(rules: Sequence[EventRule]) -> list[str]:
    """Return what has to be done for buckets that exist, which no template may change."""
    names = sorted({made.rule.bucket for made in rules if isinstance(made.rule, PrefixRule)})
    return [
        f"let the bucket send its events: aws s3api put-bucket-notification-configuration --bucket {name} "
        "--notification-configuration '{\"EventBridgeConfiguration\": {}}' (this replaces the present notifications)"
        for name in names
    ]


def _description(made: EventRule) -> str:
    rule = made.rule
    what = f"deploy to {rule.to}" if isinstance(rule, ApprovalRule) else made.pipeline or "propose a run"
    return f"mlops: {made.rule.kind} -> {what}"[:512]


def _state(made: EventRule) -> str:
    return "ENABLED" if made.rule.is_enabled else "DISABLED"


def _of(rules: Sequence[EventRule], kind: type) -> list[EventRule]:
    return [made for made in rules if isinstance(made.rule, kind)]
