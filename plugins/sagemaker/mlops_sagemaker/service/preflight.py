"""What is looked at in an account before a run: caller, role, bucket, image, machines, each with a fix.

Nothing is changed. What the caller may not look at is said to be unknown, not wrong.
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
    from collections.abc import Iterator, Mapping

    from mlops_sagemaker.service.account import Account
    from mlops_sagemaker.service.policy import Names
    from mlops_sagemaker.target import Target

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<repository>[a-z0-9._/-]+?)"
    r"(@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[\w.-]+))?\Z"
)
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")
_SHOWN = 5
_POLICY_FIX = "mlops sagemaker policy prints what is needed"


def examine_account(
    use_case: str, definition: Mapping[str, Any], target: Target, *, account: Account
) -> Iterator[HealthCheck]:
    """Look at everything that a run needs.

    Args:
        use_case: its name.
        definition: the compiled one, for the machines.
        target: where the run would go.
        account: to look at.
    """
    yield _packages()
    try:
        region = account.region
        caller = account.call("sts", "get_caller_identity")
    except MlopsError as error:
        yield HealthCheck(subject="credentials", is_good=False, detail=str(error), fix="sign in, and name a region")
        return
    yield HealthCheck(subject="credentials", is_good=True, detail=f"{caller['Arn']} in account {caller['Account']}")
    yield _region(account, region)
    names = names_of(use_case, target.settings, pipeline=target.pipeline, region=region)
    yield from _role(names, account, number=caller["Account"])
    yield _permissions("caller's rights", caller["Arn"], actions(policy(names, Audience.SUBMITTER)), account)
    yield _bucket(target.bucket, account, region=region)
    yield _image(target.settings.account.image or "", account, region=region)
    yield from _quotas(definition, account)


def _packages() -> HealthCheck:
    missing = [name for name in ("boto3", "obstore") if importlib.util.find_spec(name) is None]
    fix = "pip install 'mlops-sagemaker'" if missing else ""
    found = f"{', '.join(missing)} cannot be imported" if missing else "boto3 and obstore can be imported"
    return HealthCheck(subject="packages", is_good=not missing, detail=found, fix=fix)


def _region(account: Account, region: str) -> HealthCheck:
    known = account.session.get_available_regions("sagemaker")
    if region in known:
        return HealthCheck(subject="region", is_good=True, detail=f"{region} has SageMaker")
    found = f"{region} is not known to have SageMaker{did_you_mean(region, known)}"
    return HealthCheck(subject="region", is_good=False, detail=found, fix="pass another with --region")


# --- Role -------------------------------------------------------------------------------------------------


def _role(names: Names, account: Account, *, number: str) -> Iterator[HealthCheck]:
    name = names.role.rpartition("/")[2]
    if names.account != number:
        fix = f"name a role of account {number}, or sign in to the other account"
        yield HealthCheck(subject="role", is_good=False, detail=f"{names.role} is of another account", fix=fix)
        return
    try:
        role = account.call("iam", "get_role", RoleName=name)["Role"]
    except RunnerError as error:
        fix = f"create it: mlops sagemaker policy --for trust and --for role print its policies (name: {name})"
        yield _unseen("role", error, missing=("NoSuchEntity",), what=f"there is no role {name}", fix=fix)
        return
    if _trusts_service(role.get("AssumeRolePolicyDocument")):
        yield HealthCheck(subject="role", is_good=True, detail=f"{name} can be assumed by SageMaker")
    else:
        fix = "mlops sagemaker policy --for trust prints what its trust policy must say"
        yield HealthCheck(subject="role", is_good=False, detail=f"{name} cannot be assumed by SageMaker", fix=fix)
    yield _permissions("role's rights", names.role, actions(policy(names, Audience.ROLE)), account)


def _trusts_service(document: Any) -> bool:
    """Tell whether a trust policy, as JSON or as text, lets the service assume the role."""
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


def _permissions(subject: str, principal: str, wanted: frozenset[str], account: Account) -> HealthCheck:
    """Ask IAM what a principal may do; it answers without regard to the resources' own policies."""
    source = re.sub(r":sts:(.*):assumed-role/([^/]+)/.*", r":iam:\1:role/\2", principal)
    try:
        results = account.pages(
            "iam",
            "simulate_principal_policy",
            "EvaluationResults",
            PolicySourceArn=source,
            ActionNames=sorted(wanted),
        )
        denied = sorted(one["EvalActionName"] for one in results if one["EvalDecision"] != "allowed")
    except RunnerError as error:
        return _unseen(subject, error)
    if not denied:
        return HealthCheck(subject=subject, is_good=True, detail=f"all {len(wanted)} actions are allowed")
    shown = ", ".join(denied[:_SHOWN]) + (f" and {len(denied) - _SHOWN} more" if len(denied) > _SHOWN else "")
    return HealthCheck(subject=subject, is_good=False, detail=f"not allowed: {shown}", fix=_POLICY_FIX)


# --- Bucket, image, machines ------------------------------------------------------------------------------


def _bucket(name: str, account: Account, *, region: str) -> HealthCheck:
    try:
        found = account.call("s3", "head_bucket", Bucket=name)
    except RunnerError as error:
        if code_of(error) in _DENIED:
            text = f"{name} is another account's, or may not be read"
            return HealthCheck(subject="bucket", is_good=False, detail=text, fix=f"name your own, or: {_POLICY_FIX}")
        fix = f"aws s3 mb s3://{name} --region {region}, or name another"
        return _unseen("bucket", error, missing=("404", "NoSuchBucket"), what=f"there is no bucket {name}", fix=fix)
    place = found.get("BucketRegion") or region
    if place != region:
        fix = f"pass --region {place}, or name a bucket of {region}"
        return HealthCheck(subject="bucket", is_good=False, detail=f"{name} is in {place}, not in {region}", fix=fix)
    return HealthCheck(subject="bucket", is_good=True, detail=f"{name} is there, in {place}")


def _image(uri: str, account: Account, *, region: str) -> HealthCheck:
    parts = _ECR.match(uri)
    if parts is None:
        fix = "push it to ECR: ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG"
        return HealthCheck(subject="image", is_good=False, detail=f"{uri!r} is not in ECR, where jobs get it", fix=fix)
    if parts["region"] != region:
        found = f"{uri} is in {parts['region']}; jobs in {region} cannot get it"
        return HealthCheck(subject="image", is_good=False, detail=found, fix=f"push it to ECR of {region}")
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
        fix = "mlops package writes what docker build needs; build, push, and name it with --image"
        return _unseen("image", error, missing=missing, what=f"there is no image {uri}", fix=fix)
    size_mb = (details[0].get("imageSizeInBytes") or 0) / 1e6
    return HealthCheck(subject="image", is_good=True, detail=f"{uri} is there, {size_mb:.0f} MB")


def _quotas(definition: Mapping[str, Any], account: Account) -> Iterator[HealthCheck]:
    wanted = _machines(definition)
    try:
        found = {
            quota["QuotaName"]: float(quota["Value"])
            for quota in account.pages("service-quotas", "list_service_quotas", "Quotas", ServiceCode="sagemaker")
        }
    except RunnerError as error:
        yield _unseen("quotas", error)
        return
    for name, count in sorted(wanted.items()):
        value = found.get(name)
        if value is None:
            yield HealthCheck(
                subject="quota", is_good=True, detail=f"{name}: {count} needed; the service names no quota"
            )
            continue
        is_good = value >= count
        fix = "" if is_good else "request an increase in Service Quotas, or choose another machine for the step"
        yield HealthCheck(
            subject="quota", is_good=is_good, detail=f"{name}: {count} needed, {value:g} allowed", fix=fix
        )


def _machines(definition: Mapping[str, Any]) -> dict[str, int]:
    """Return the name of a quota -> machines that one step needs at once; the largest of all steps."""
    found: dict[str, int] = {}
    for step in definition["Steps"]:
        arguments = step.get("Arguments", {})
        cluster = arguments.get("ResourceConfig") or arguments.get("ProcessingResources", {}).get("ClusterConfig")
        if not cluster:
            continue
        kind = "processing job" if step["Type"] == "Processing" else "training job"
        kind = f"spot {kind}" if arguments.get("EnableManagedSpotTraining") else kind
        name = f"{cluster['InstanceType']} for {kind} usage"
        found[name] = max(found.get(name, 0), int(cluster["InstanceCount"]))
    return found


def _unseen(
    subject: str, error: RunnerError, *, missing: tuple[str, ...] = (), what: str = "", fix: str = ""
) -> HealthCheck:
    """Return that something is not there; that it is unknown, where the caller may not look."""
    if code_of(error) in missing:
        return HealthCheck(subject=subject, is_good=False, detail=what, fix=fix)
    return HealthCheck(subject=subject, is_good=True, detail=f"not looked at: {error}")
