"""Least-privilege IAM policies: for the user who submits and follows a pipeline, and for the execution role.

Each statement names its resources as narrowly as IAM allows. A test compares the actions with the calls of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError
from mlops_sagemaker.compiler.definition import model_package_group
from mlops_sagemaker.service.results import PUBLISHED_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_sagemaker.settings import CompileSettings

Json = dict[str, Any]
VERSION = "2012-10-17"
_SERVICE = "sagemaker.amazonaws.com"
_SERVING_LOG_GROUPS = ("/aws/sagemaker/TransformJobs", "/aws/sagemaker/Endpoints")
_LOG_GROUPS = ("/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TrainingJobs")


class Audience(StrEnum):
    """The principal of a policy."""

    SUBMITTER = "submitter"
    ROLE = "role"
    TRUST = "trust"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names in a policy; ``*`` for unknown names, except for the role.

    Attributes:
        pipeline: name of the pipeline at the service.
        use_case: key prefix of the results.
        group: model package group.
        bucket: bucket for data and results.
        role: ARN of the execution role.
        region: AWS region.
        image: URI of the step image.
        settings: settings of encryption and network.
    """

    pipeline: str
    use_case: str
    group: str
    bucket: str
    role: str
    region: str
    image: str
    settings: CompileSettings

    @property
    def account(self) -> str:
        """The account number, from the ARN of the role."""
        return self.role.split(":")[4] if self.role.count(":") >= 5 else "*"

    @property
    def partition(self) -> str:
        """The AWS partition, for example ``aws`` or ``aws-cn``."""
        return self.role.split(":")[1] if self.role.count(":") >= 5 else "aws"

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource in the account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def objects(self, *prefixes: str) -> list[str]:
        """Return the ARNs of the objects with the given key prefixes in the bucket."""
        return [f"arn:{self.partition}:s3:::{self.bucket}/{prefix}*" for prefix in prefixes]


_LIST_TRIALS, _SEARCHES = "ListTrainingJobsForHyperParameterTuningJob", "hyper-parameter-tuning-job/pipelines-*"


def names_of(use_case: str, settings: CompileSettings, *, pipeline: str, region: str) -> Names:
    """Return the names of the pipeline of a use case."""
    account = settings.account
    return Names(
        pipeline=pipeline,
        use_case=account.prefix or use_case.lower(),
        group=account.model_package_group or model_package_group(use_case),
        bucket=account.bucket or "*",
        role=account.role or "*",
        region=region or "*",
        image=account.image or "",
        settings=settings,
    )


def policy(names: Names, audience: Audience) -> Json:
    """Return a policy document.

    Raises:
        UsageError: the ARN of the role is unknown: a policy without it would hold for every role, or every account.
    """
    require_role(names)
    statements = {Audience.SUBMITTER: _submitter, Audience.ROLE: _role, Audience.TRUST: _trust}[audience](names)
    return {"Version": VERSION, "Statement": list(statements)}


def require_role(names: Names) -> None:
    """Raise for an unknown role.

    Raises:
        UsageError: a policy without it would hold for every role, or every account.
    """
    if names.role == "*":
        raise UsageError(
            "no role: every policy names the role or its account; pass it with --role, set account.role in the "
            "settings file, or set the variable SAGEMAKER_PIPELINE_ROLE_ARN"
        )


def actions(document: Json) -> frozenset[str]:
    """Return all actions that a policy document allows."""
    return frozenset(action for statement in document["Statement"] for action in statement["Action"])


def _trust(names: Names) -> Iterator[Json]:
    """Let the service assume the role, for pipelines and jobs of the role's own account only (confused deputy)."""
    condition = {
        "StringEquals": {"aws:SourceAccount": names.account},
        "ArnLike": {"aws:SourceArn": names.arn("sagemaker", "*")},
    }
    service = {"Service": _SERVICE}
    yield {"Effect": "Allow", "Principal": service, "Action": "sts:AssumeRole", "Condition": condition}


# --- Submitter --------------------------------------------------------------------------------------------


def _submitter(names: Names) -> Iterator[Json]:
    pipelines = [names.arn("sagemaker", f"pipeline/{name}") for name in _cased(names.pipeline)]
    yield _allow(
        "Pipeline",
        _sagemaker("CreatePipeline", "UpdatePipeline", "DescribePipeline", "StartPipelineExecution"),
        *pipelines,
    )
    yield _allow("Tags", _sagemaker("AddTags"), *pipelines)
    executions = _sagemaker(
        "DescribePipelineExecution",
        "ListPipelineExecutionSteps",
        "RetryPipelineExecution",
        "StopPipelineExecution",
    )
    yield _allow("Executions", executions, *(f"{pipeline}/execution/*" for pipeline in pipelines))
    yield _allow("Jobs", _sagemaker("DescribeProcessingJob"), names.arn("sagemaker", "processing-job/pipelines-*"))
    yield _allow("Trainings", _sagemaker("DescribeTrainingJob"), names.arn("sagemaker", "training-job/pipelines-*"))
    yield _allow("Searches", _sagemaker(_LIST_TRIALS), names.arn("sagemaker", _SEARCHES))
    packages = [names.arn("sagemaker", f"model-package/{group}/*") for group in _cased(names.group)]
    yield _allow("ModelPackages", _sagemaker("DescribeModelPackage"), *packages)
    yield _pass_role(names)
    yield from _submitter_data(names)
    groups = [names.arn("logs", f"log-group:{group}:*") for group in _log_groups(names)]
    yield _allow("Logs", ["logs:DescribeLogStreams", "logs:GetLogEvents"], *groups)
    yield from key_statements(names)


def _submitter_data(names: Names) -> Iterator[Json]:
    prefixes = ("train/datasets/", f"{names.use_case}/executions/", PUBLISHED_PREFIX)
    yield _list_bucket(names, *prefixes)
    moving = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListMultipartUploadParts"]
    yield _objects(names, "Data", moving, "train/datasets/")
    yield _objects(names, "Results", ["s3:GetObject"], f"{names.use_case}/executions/")
    yield _objects(names, "Curves", ["s3:PutObject"], f"{names.use_case}/executions/*/tensorboard/")
    yield _objects(
        names, "EvaluationAndDefinitions", ["s3:PutObject"], PUBLISHED_PREFIX, f"{names.pipeline}/definitions/"
    )
    # The service reads a long definition with the permissions of the caller.
    yield _objects(names, "LongDefinitions", ["s3:GetObject"], f"{names.pipeline}/definitions/")


def _log_groups(names: Names) -> tuple[str, ...]:
    return (*_LOG_GROUPS, *(_SERVING_LOG_GROUPS if names.settings.inference.image else ()))


# --- The role ---------------------------------------------------------------------------------------------


def _role(names: Names) -> Iterator[Json]:
    jobs = ("processing", "training")
    making = [f"{verb}{kind.capitalize()}Job" for kind in jobs for verb in ("Create", "Describe", "Stop")]
    arns = [names.arn("sagemaker", f"{kind}-job/pipelines-*") for kind in jobs]
    yield _allow("Jobs", _sagemaker(*making, "AddTags"), *arns)
    yield from _batches(names)
    searching = [f"{verb}HyperParameterTuningJob" for verb in ("Create", "Describe", "Stop")]
    yield _allow("Searches", _sagemaker(*searching, _LIST_TRIALS, "AddTags"), names.arn("sagemaker", _SEARCHES))
    packages = [
        names.arn("sagemaker", f"model-package{rest}")
        for group in _cased(names.group)
        for rest in (f"-group/{group}", f"/{group}", f"/{group}/*")
    ]
    registering = _sagemaker(
        "CreateModelPackage", "CreateModelPackageGroup", "DescribeModelPackage", "DescribeModelPackageGroup"
    )
    yield _allow("ModelPackages", registering, *packages)
    yield _pass_role(names)
    results = f"{names.use_case}/executions/"
    yield _list_bucket(names, "train/datasets/", results)
    yield _objects(names, "Data", ["s3:GetObject"], "train/datasets/", results)
    yield _objects(names, "Results", ["s3:PutObject", "s3:AbortMultipartUpload"], results)
    yield from _image(names)
    groups = [names.arn("logs", f"log-group:{group}*") for group in _log_groups(names)]
    writing = [f"logs:{verb}" for verb in ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")]
    yield _allow("Logs", writing, *groups)
    metrics = _allow("Metrics", ["cloudwatch:PutMetricData"], "*")
    yield metrics | {"Condition": {"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*"]}}}
    if names.settings.inference.image:  # the service rolls back an endpoint with the permissions of its role
        yield _allow("Alarms", ["cloudwatch:DescribeAlarms"], names.arn("cloudwatch", "alarm:*"))
    yield from key_statements(names)
    yield from _network(names)


def _batches(names: Names) -> Iterator[Json]:
    """Allow batch predictions, which need the image that serves models."""
    if not names.settings.inference.image:
        return
    verbs = [f"{verb}TransformJob" for verb in ("Create", "Describe", "Stop")]
    models = [f"{verb}Model" for verb in ("Create", "Describe")]
    arns = [names.arn("sagemaker", f"{kind}/pipelines-*") for kind in ("transform-job", "model")]
    yield _allow("BatchPredictions", _sagemaker(*verbs, *models, "AddTags"), *arns)


def _image(names: Names) -> Iterator[Json]:
    images = (names.image, names.settings.inference.image or names.image)
    repositories = sorted({each.partition("/")[2].partition("@")[0].partition(":")[0] or "*" for each in images})
    pulling = [f"ecr:{verb}" for verb in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")]
    yield _allow("Image", pulling, *(names.arn("ecr", f"repository/{each}") for each in repositories))
    yield _allow("Registry", ["ecr:GetAuthorizationToken"], "*")


def _network(names: Names) -> Iterator[Json]:
    if not names.settings.account.subnets:
        return
    verbs = [
        f"Describe{resource}" for resource in ("DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs")
    ]
    for resource in ("NetworkInterface", "NetworkInterfacePermission"):
        verbs += [f"Create{resource}", f"Delete{resource}"]
    yield _allow("PrivateNetwork", [f"ec2:{verb}" for verb in verbs], "*")


# --- Both -------------------------------------------------------------------------------------------------


def key_statements(names: Names) -> Iterator[Json]:
    """Yield the statements for the use of the keys; an alias is a condition, since a policy cannot name it."""
    account = names.settings.account
    keys = sorted({key for key in (account.kms_key, account.volume_kms_key) if key})
    using = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
    for label, is_alias in (("Keys", False), ("KeysByAlias", True)):
        chosen = [key for key in keys if _is_alias(key) is is_alias]
        if not chosen:
            continue
        arns = [names.arn("kms", "key/*")] if is_alias else [_key_arn(key, names) for key in chosen]
        aliases = [f"alias/{key.partition('alias/')[2]}" for key in chosen] if is_alias else []
        condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": aliases}} if is_alias else {}
        yield _allow(label, using, *arns) | ({"Condition": condition} if condition else {})
        granting = condition | {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        yield _allow(f"{label}Grants", ["kms:CreateGrant"], *arns) | {"Condition": granting}


def _is_alias(key: str) -> bool:
    return key.startswith("alias/") or ":alias/" in key


def _key_arn(key: str, names: Names) -> str:
    return key if key.startswith("arn:") else names.arn("kms", f"key/{key}")


def _pass_role(names: Names) -> Json:
    condition = {"StringEquals": {"iam:PassedToService": _SERVICE}}
    return _allow("PassRole", ["iam:PassRole"], names.role) | {"Condition": condition}


def _list_bucket(names: Names, *prefixes: str) -> Json:
    condition = {"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in prefixes]}} | _own_buckets(names)
    return _allow("Listings", ["s3:ListBucket"], f"arn:{names.partition}:s3:::{names.bucket}") | {
        "Condition": condition
    }


def _objects(names: Names, sid: str, actions: Sequence[str], *prefixes: str) -> Json:
    condition = _own_buckets(names)
    return _allow(sid, actions, *names.objects(*prefixes)) | ({"Condition": condition} if condition else {})


def _own_buckets(names: Names) -> Json:
    """Return the condition that keeps an unknown bucket within the account; empty if the bucket is known."""
    return {"StringEquals": {"aws:ResourceAccount": names.account}} if names.bucket == "*" else {}


def _allow(name: str, actions: Sequence[str], *resources: str) -> Json:
    return {"Sid": name, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _cased(name: str) -> tuple[str, ...]:
    """Return the forms of a name in ARNs: the service writes some of them in lower case."""
    return tuple(dict.fromkeys((name.lower(), name)))


def _sagemaker(*verbs: str) -> list[str]:
    return [f"sagemaker:{verb}" for verb in verbs]
