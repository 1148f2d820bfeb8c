"""Checks of an account before a run: caller, role, bucket, image and quotas, each with a fix.

The checks change nothing. Anything that the caller is not allowed to read is reported as not checked, not as an error.
"""

from __future__ import annotations

import importlib.util
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlops_core import MlopsError
from mlops_core.runners import HealthCheck, RunnerError, did_you_mean
from mlops_sagemaker.service.account import code_of
from mlops_sagemaker.service.policy import Audience, actions, names_of, policy

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from mlops_sagemaker.service.account import Account
    from mlops_sagemaker.service.policy import Names
    from mlops_sagemaker.target import Target

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<repository>[a-z0-9._/-]+?)"
    r"(@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[\w.-]+))?\Z"
)
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")
_SHOWN = 5
_POLICY_FIX = "mlops sagemaker policy prints the required permissions"


def examine_account(
    use_case: str, definition: Mapping[str, Any], target: Target, *, account: Account
) -> Iterator[HealthCheck]:
    """Yield a health check for each requirement of a run.

    Args:
        use_case: name of the use case.
        definition: compiled definition, for the machine types.
        target: target of the run.
        account: account to check.
    """
    caller = yield from examine_access(account)
    if caller is None:
        return
    region = account.region
    names = names_of(use_case, target.settings, pipeline=target.pipeline, region=region)
    yield from _role(names, account, number=caller["Account"])
    yield _permissions("caller's permissions", caller["Arn"], actions(policy(names, Audience.SUBMITTER)), account)
    yield _bucket(target.bucket, account, region=region)
    yield _image(target.settings.account.image or "", account, region=region)
    yield from _quotas(definition, account)


def examine_access(account: Account) -> Generator[HealthCheck, None, Mapping[str, Any] | None]:
    """Yield a health check for packages, credentials and region; return the caller, None without credentials."""
    yield _packages()
    try:
        region = account.region
        caller: Mapping[str, Any] = account.call("sts", "get_caller_identity")
    except MlopsError as error:
        yield HealthCheck(subject="credentials", is_good=False, detail=str(error), fix="sign in, and pass --region")
        return None
    yield HealthCheck(subject="credentials", is_good=True, detail=f"{caller['Arn']} in account {caller['Account']}")
    yield _region(account, region)
    return caller


def _packages() -> HealthCheck:
    missing = [name for name in ("boto3", "obstore") if importlib.util.find_spec(name) is None]
    fix = "pip install 'mlops-sagemaker'" if missing else ""
    detail = f"cannot import {', '.join(missing)}" if missing else "boto3 and obstore are installed"
    return HealthCheck(subject="packages", is_good=not missing, detail=detail, fix=fix)


def _region(account: Account, region: str) -> HealthCheck:
    regions = account.session.get_available_regions("sagemaker")
    if region in regions:
        return HealthCheck(subject="region", is_good=True, detail=f"SageMaker is available in {region}")
    detail = f"SageMaker is not known to be available in {region}{did_you_mean(region, regions)}"
    return HealthCheck(subject="region", is_good=False, detail=detail, fix="pass another region with --region")


# --- Role -------------------------------------------------------------------------------------------------


def _role(names: Names, account: Account, *, number: str) -> Iterator[HealthCheck]:
    name = names.role.rpartition("/")[2]
    if names.account != number:
        fix = f"pass a role of account {number} with --role, or sign in to the other account"
        yield HealthCheck(subject="role", is_good=False, detail=f"{names.role} belongs to another account", fix=fix)
        return
    try:
        role = account.call("iam", "get_role", RoleName=name)["Role"]
    except RunnerError as error:
        fix = f"create {name}; mlops sagemaker policy --for trust and --for role print its policies"
        yield _failed("role", error, missing=("NoSuchEntity",), detail=f"role {name} does not exist", fix=fix)
        return
    if _trusts_service(role.get("AssumeRolePolicyDocument")):
        yield HealthCheck(subject="role", is_good=True, detail=f"SageMaker can assume {name}")
    else:
        fix = "mlops sagemaker policy --for trust prints the required trust policy"
        yield HealthCheck(subject="role", is_good=False, detail=f"SageMaker cannot assume {name}", fix=fix)
    yield _permissions("role's permissions", names.role, actions(policy(names, Audience.ROLE)), account)


def _trusts_service(document: Any) -> bool:
    """Return whether a trust policy, as JSON types or text, allows the service to assume the role."""
    if isinstance(document, str):
        document = json.loads(unquote(document))
    for statement in _several((document or {}).get("Statement")):
        principal = statement.get("Principal")
        services = principal if principal == "*" else (principal or {}).get("Service")
        is_named = any(service in ("*", "sagemaker.amazonaws.com") for service in _several(services))
        if statement.get("Effect") == "Allow" and "sts:AssumeRole" in _several(statement.get("Action")) and is_named:
            return True
    return False


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _permissions(subject: str, principal: str, required: frozenset[str], account: Account) -> HealthCheck:
    """Check the permissions of a principal by IAM's simulation, which ignores resource policies."""
    source = re.sub(r":sts:(.*):assumed-role/([^/]+)/.*", r":iam:\1:role/\2", principal)
    try:
        results = account.pages(
            "iam",
            "simulate_principal_policy",
            "EvaluationResults",
            PolicySourceArn=source,
            ActionNames=sorted(required),
        )
        denied = sorted(one["EvalActionName"] for one in results if one["EvalDecision"] != "allowed")
    except RunnerError as error:
        return _failed(subject, error)
    if not denied:
        return HealthCheck(subject=subject, is_good=True, detail=f"all {len(required)} actions are allowed")
    shown = ", ".join(denied[:_SHOWN]) + (f" and {len(denied) - _SHOWN} more" if len(denied) > _SHOWN else "")
    return HealthCheck(subject=subject, is_good=False, detail=f"not allowed: {shown}", fix=_POLICY_FIX)


# --- Bucket, image, machines ------------------------------------------------------------------------------


def _bucket(name: str, account: Account, *, region: str) -> HealthCheck:
    try:
        description = account.call("s3", "head_bucket", Bucket=name)
    except RunnerError as error:
        if code_of(error) in _DENIED:
            detail = f"{name} belongs to another account, or access is denied"
            return HealthCheck(subject="bucket", is_good=False, detail=detail, fix=f"pass your own, or: {_POLICY_FIX}")
        fix = f"aws s3 mb s3://{name} --region {region}, or pass another bucket"
        missing = ("404", "NoSuchBucket")
        return _failed("bucket", error, missing=missing, detail=f"bucket {name} does not exist", fix=fix)
    place = description.get("BucketRegion") or region
    if place != region:
        fix = f"pass --region {place}, or a bucket in {region}"
        return HealthCheck(subject="bucket", is_good=False, detail=f"{name} is in {place}, not in {region}", fix=fix)
    return HealthCheck(subject="bucket", is_good=True, detail=f"{name} exists in {place}")


def _image(uri: str, account: Account, *, region: str) -> HealthCheck:
    parts = _ECR.match(uri)
    if parts is None:
        fix = "push it to ECR: ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG"
        return HealthCheck(subject="image", is_good=False, detail=f"{uri!r} is not an ECR image", fix=fix)
    if parts["region"] != region:
        detail = f"{uri} is in {parts['region']}; jobs in {region} cannot pull it"
        return HealthCheck(subject="image", is_good=False, detail=detail, fix=f"push it to ECR in {region}")
    image = {"imageDigest": parts["digest"]} if parts["digest"] else {"imageTag": parts["tag"] or "latest"}
    try:
        details = account.call(
            "ecr",
            "describe_images",
            registryId=parts["account"],
            repositoryName=parts["repository"],
            imageIds=[image],
        )["imageDetails"]
    except RunnerError as error:
        missing = ("ImageNotFoundException", "RepositoryNotFoundException")
        fix = "write its build context with mlops package, build and push it, and pass it with --image"
        return _failed("image", error, missing=missing, detail=f"image {uri} does not exist", fix=fix)
    size_mb = (details[0].get("imageSizeInBytes") or 0) / 1e6
    return HealthCheck(subject="image", is_good=True, detail=f"{uri} exists, {size_mb:.0f} MB")


def _quotas(definition: Mapping[str, Any], account: Account) -> Iterator[HealthCheck]:
    counts = _machines(definition)
    try:
        quotas = {
            quota["QuotaName"]: float(quota["Value"])
            for quota in account.pages("service-quotas", "list_service_quotas", "Quotas", ServiceCode="sagemaker")
        }
    except RunnerError as error:
        yield _failed("quotas", error)
        return
    for name, count in sorted(counts.items()):
        value = quotas.get(name)
        if value is None:
            yield HealthCheck(
                subject="quota", is_good=True, detail=f"{name}: {count} needed; the service lists no quota"
            )
            continue
        is_good = value >= count
        fix = "" if is_good else "request an increase in Service Quotas, or choose another instance_type for the step"
        yield HealthCheck(
            subject="quota", is_good=is_good, detail=f"{name}: {count} needed, {value:g} allowed", fix=fix
        )


def _machines(definition: Mapping[str, Any]) -> dict[str, int]:
    """Return the maximum number of machines that a step uses, by the name of the quota."""
    counts: dict[str, int] = {}
    for step in definition["Steps"]:
        arguments = step.get("Arguments", {})
        cluster = arguments.get("ResourceConfig") or arguments.get("ProcessingResources", {}).get("ClusterConfig")
        if not cluster:
            continue
        kind = "processing job" if step["Type"] == "Processing" else "training job"
        kind = f"spot {kind}" if arguments.get("EnableManagedSpotTraining") else kind
        name = f"{cluster['InstanceType']} for {kind} usage"
        counts[name] = max(counts.get(name, 0), int(cluster["InstanceCount"]))
    return counts


def _failed(
    subject: str, error: RunnerError, *, missing: tuple[str, ...] = (), detail: str = "", fix: str = ""
) -> HealthCheck:
    """Return the check of a subject that does not exist or, for any other error, could not be checked."""
    if code_of(error) in missing:
        return HealthCheck(subject=subject, is_good=False, detail=detail, fix=fix)
    return HealthCheck(subject=subject, is_good=True, detail=f"not checked: {error}")
