"""What is looked at in an account before a run: caller, role, bucket, image, machines, each with a cure.

Nothing is changed. What the caller may not look at is said to be unknown, not wrong.
"""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlops_core.errors import MlopsError, RunnerError, did_you_mean
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
_POLICY_CURE = "mlops sagemaker policy prints what is needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        subject: what.
        is_good: nothing has to be done, or nothing can be said.
        found: in words.
        cure: what to do; empty when nothing has to be done.
    """

    subject: str
    is_good: bool
    found: str
    cure: str = ""


def examine_account(
    use_case: str, definition: Mapping[str, Any], target: Target, *, account: Account
) -> Iterator[Check]:
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
        yield Check(subject="credentials", is_good=False, found=str(error), cure="sign in, and name a region")
        return
    yield Check(subject="credentials", is_good=True, found=f"{caller['Arn']} in account {caller['Account']}")
    yield _region(account, region)
    names = names_of(use_case, target.settings, pipeline=target.pipeline, region=region)
    yield from _role(names, account, number=caller["Account"])
    yield _permissions("caller's rights", caller["Arn"], actions(policy(names, Audience.SUBMITTER)), account)
    yield _bucket(target.bucket, account, region=region)
    yield _image(target.settings.account.image or "", account, region=region)
    yield from _quotas(definition, account)


def _packages() -> Check:
    missing = [name for name in ("boto3", "obstore") if importlib.util.find_spec(name) is None]
    cure = "pip install 'mlops-sagemaker'" if missing else ""
    found = f"{', '.join(missing)} cannot be imported" if missing else "boto3 and obstore can be imported"
    return Check(subject="packages", is_good=not missing, found=found, cure=cure)


def _region(account: Account, region: str) -> Check:
    known = account.session.get_available_regions("sagemaker")
    if region in known:
        return Check(subject="region", is_good=True, found=f"{region} has SageMaker")
    found = f"{region} is not known to have SageMaker{did_you_mean(region, known)}"
    return Check(subject="region", is_good=False, found=found, cure="pass another with --region")


# --- Role -------------------------------------------------------------------------------------------------


def _role(names: Names, account: Account, *, number: str) -> Iterator[Check]:
    name = names.role.rpartition("/")[2]
    if names.account != number:
        cure = f"name a role of account {number}, or sign in to the other account"
        yield Check(subject="role", is_good=False, found=f"{names.role} is of another account", cure=cure)
        return
    try:
        role = account.call("iam", "get_role", RoleName=name)["Role"]
    except RunnerError as error:
        cure = f"create it: mlops sagemaker policy --for trust and --for role print its policies (name: {name})"
        yield _unseen("role", error, missing=("NoSuchEntity",), what=f"there is no role {name}", cure=cure)
        return
    if _trusts_service(role.get("AssumeRolePolicyDocument")):
        yield Check(subject="role", is_good=True, found=f"{name} can be assumed by SageMaker")
    else:
        cure = "mlops sagemaker policy --for trust prints what its trust policy must say"
        yield Check(subject="role", is_good=False, found=f"{name} cannot be assumed by SageMaker", cure=cure)
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


def _permissions(subject: str, principal: str, wanted: frozenset[str], account: Account) -> Check:
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
        return Check(subject=subject, is_good=True, found=f"all {len(wanted)} actions are allowed")
    shown = ", ".join(denied[:_SHOWN]) + (f" and {len(denied) - _SHOWN} more" if len(denied) > _SHOWN else "")
    return Check(subject=subject, is_good=False, found=f"not allowed: {shown}", cure=_POLICY_CURE)


# --- Bucket, image, machines ------------------------------------------------------------------------------


def _bucket(name: str, account: Account, *, region: str) -> Check:
    try:
        found = account.call("s3", "head_bucket", Bucket=name)
    except RunnerError as error:
        if code_of(error) in _DENIED:
            text = f"{name} is another account's, or may not be read"
            return Check(subject="bucket", is_good=False, found=text, cure=f"name your own, or: {_POLICY_CURE}")
        cure = f"aws s3 mb s3://{name} --region {region}, or name another"
        return _unseen("bucket", error, missing=("404", "NoSuchBucket"), what=f"there is no bucket {name}", cure=cure)
    place = found.get("BucketRegion") or region
    if place != region:
        cure = f"pass --region {place}, or name a bucket of {region}"
        return Check(subject="bucket", is_good=False, found=f"{name} is in {place}, not in {region}", cure=cure)
    return Check(subject="bucket", is_good=True, found=f"{name} is there, in {place}")


def _image(uri: str, account: Account, *, region: str) -> Check:
    parts = _ECR.match(uri)
    if parts is None:
        cure = "push it to ECR: ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG"
        return Check(subject="image", is_good=False, found=f"{uri!r} is not in ECR, where jobs get it", cure=cure)
    if parts["region"] != region:
        found = f"{uri} is in {parts['region']}; jobs in {region} cannot get it"
        return Check(subject="image", is_good=False, found=found, cure=f"push it to ECR of {region}")
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
        cure = "mlops package writes what docker build needs; build, push, and name it with --image"
        return _unseen("image", error, missing=missing, what=f"there is no image {uri}", cure=cure)
    size_mb = (details[0].get("imageSizeInBytes") or 0) / 1e6
    return Check(subject="image", is_good=True, found=f"{uri} is there, {size_mb:.0f} MB")


def _quotas(definition: Mapping[str, Any], account: Account) -> Iterator[Check]:
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
            yield Check(subject="quota", is_good=True, found=f"{name}: {count} needed; the service names no quota")
            continue
        is_good = value >= count
        cure = "" if is_good else "request an increase in Service Quotas, or choose another machine for the step"
        yield Check(subject="quota", is_good=is_good, found=f"{name}: {count} needed, {value:g} allowed", cure=cure)


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
    subject: str, error: RunnerError, *, missing: tuple[str, ...] = (), what: str = "", cure: str = ""
) -> Check:
    """Return that something is not there; that it is unknown, where the caller may not look."""
    if code_of(error) in missing:
        return Check(subject=subject, is_good=False, found=what, cure=cure)
    return Check(subject=subject, is_good=True, found=f"not looked at: {error}")


__all__ = ["Check", "examine_account"]
