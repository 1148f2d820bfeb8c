"""The model registry: model packages and their groups.

A version is never used twice in a group, and an update keeps what it does not name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.events import send_package
from mlops_sagemaker.emulator.endpoint.protocol.errors import ConflictError, ValidationError
from mlops_sagemaker.emulator.endpoint.protocol.listing import in_order, is_between, page
from mlops_sagemaker.emulator.endpoint.protocol.model import input_shape
from mlops_sagemaker.emulator.endpoint.protocol.validation import validated
from mlops_sagemaker.emulator.endpoint.state import PackageGroup, Region, now, present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.endpoint.surroundings import Account

    Request = Mapping[str, Any]
    Response = dict[str, Any]

_PENDING = "PendingManualApproval"
_METADATA_LIMIT = 50
_CREATED = {"after": "CreationTimeAfter", "before": "CreationTimeBefore"}
_NOT_DESCRIBED = ("Tags", "ClientToken")
_UPDATED = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
)
_SUMMARY = (
    "ModelPackageName",
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "ModelPackageStatus",
    "ModelApprovalStatus",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
)
_BATCH_SUMMARY = (*_SUMMARY[1:8], "InferenceSpecification", "ModelPackageRegistrationType")


# --- Groups -----------------------------------------------------------------------------------------------


def create_model_package_group(region: Region, request: Request) -> Response:
    """``CreateModelPackageGroup``."""
    name = request["ModelPackageGroupName"]
    arn = region.arn("model-package-group", name)
    if any(name.lower() == existing.lower() for existing in region.groups):
        raise ValidationError(f"Model Package Group already exists: {arn}")
    region.add_tags(arn, request.get("Tags"))
    region.groups[name] = PackageGroup(
        name=name,
        arn=arn,
        created=now(),
        description=request.get("ModelPackageGroupDescription"),
        configuration=request.get("ManagedConfiguration"),
    )
    return {"ModelPackageGroupArn": arn}


def describe_model_package_group(region: Region, request: Request) -> Response:
    """``DescribeModelPackageGroup``."""
    return {**_group_summary(_group(region, request["ModelPackageGroupName"])), "CreatedBy": {}}


def delete_model_package_group(region: Region, request: Request) -> Response:
    """``DeleteModelPackageGroup``; refused while it has packages."""
    group = _group(region, request["ModelPackageGroupName"])
    if any(package.get("ModelPackageGroupName") == group.name for package in region.packages.values()):
        raise ConflictError(f"Model Package Group {group.name} is not empty.")
    del region.groups[group.name]
    region.tags.pop(group.arn, None)
    return {}


def list_model_package_groups(region: Region, request: Request) -> Response:
    """``ListModelPackageGroups``."""
    matching = [
        group
        for group in region.groups.values()
        if request.get("NameContains", "") in group.name
        and is_between(request, group.created, **_CREATED)
        and request.get("CrossAccountFilterOption") != "CrossAccount"
    ]
    keys = {"Name": lambda group: group.name, "CreationTime": lambda group: group.created}
    ordered = in_order(matching, request, keys=keys, default="CreationTime")
    return page(request, [_group_summary(group) for group in ordered], name="ModelPackageGroupSummaryList")


def put_model_package_group_policy(region: Region, request: Request) -> Response:
    """``PutModelPackageGroupPolicy``; the endpoint keeps policies, and checks no permissions."""
    group = _group(region, request["ModelPackageGroupName"])
    try:
        json.loads(request["ResourcePolicy"])
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"ResourcePolicy is not JSON: {error}") from error
    group.policy = request["ResourcePolicy"]
    return {"ModelPackageGroupArn": group.arn}


def get_model_package_group_policy(region: Region, request: Request) -> Response:
    """``GetModelPackageGroupPolicy``."""
    return {"ResourcePolicy": _policy(_group(region, request["ModelPackageGroupName"]))}


def delete_model_package_group_policy(region: Region, request: Request) -> Response:
    """``DeleteModelPackageGroupPolicy``."""
    group = _group(region, request["ModelPackageGroupName"])
    _policy(group)
    group.policy = None
    return {}


def _policy(group: PackageGroup) -> str:
    if group.policy is None:
        raise ValidationError(f"Model Package Group {group.name} has no resource policy.")
    return group.policy


def _group(region: Region, name: str) -> PackageGroup:
    group = region.groups.get(name.rpartition("/")[2])
    if group is None or name not in (group.name, group.arn):
        raise ValidationError(f"Model Package Group {name} does not exist.")
    return group


def _group_summary(group: PackageGroup) -> Response:
    return present(
        {
            "ModelPackageGroupName": group.name,
            "ModelPackageGroupArn": group.arn,
            "ModelPackageGroupDescription": group.description,
            "CreationTime": group.created,
            "ModelPackageGroupStatus": "Completed",
            "ManagedConfiguration": group.configuration,
        }
    )


# --- Packages ---------------------------------------------------------------------------------------------


def create_model_package(region: Region, request: Request, *, account: Account) -> Response:
    """``CreateModelPackage``; a repeated request with the same token creates nothing."""
    token = request.get("ClientToken", "")
    if token and token in region.tokens:
        former, arn = region.tokens[token]
        if former != request:
            raise ConflictError(f"ClientToken {token} was used with other arguments.")
        return {"ModelPackageArn": arn}
    if ("ModelPackageName" in request) is ("ModelPackageGroupName" in request):
        raise ValidationError("Pass either ModelPackageName or ModelPackageGroupName.")
    create = _create_version if "ModelPackageGroupName" in request else _create_unversioned
    package = create(region, request)
    arn = package["ModelPackageArn"]
    status = {"Name": arn, "Status": "Completed"}
    region.packages[arn] = {
        **{name: value for name, value in request.items() if name not in _NOT_DESCRIBED},
        **package,
        "CreationTime": now(),
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [status], "ImageScanStatuses": [status]},
        "CertifyForMarketplace": request.get("CertifyForMarketplace", False),
        "CreatedBy": {},
    }
    if token:
        region.tokens[token] = (request, arn)
    send_package(account, region.packages[arn])
    return {"ModelPackageArn": arn}


def _create_version(region: Region, request: Request) -> Response:
    if request.get("Tags"):
        raise ValidationError("Tags cannot be used for a version: it has the tags of its Model Package Group.")
    group = _group(region, request["ModelPackageGroupName"])
    group.last += 1
    return {
        "ModelPackageArn": region.arn("model-package", f"{group.name.lower()}/{group.last}"),
        "ModelPackageGroupName": group.name,
        "ModelPackageVersion": group.last,
        "ModelApprovalStatus": request.get("ModelApprovalStatus", _PENDING),
    }


def _create_unversioned(region: Region, request: Request) -> Response:
    arn = region.arn("model-package", request["ModelPackageName"].lower())
    if arn in region.packages:
        raise ConflictError(f"Model Package already exists: {arn}")
    if "ModelApprovalStatus" in request:
        raise ValidationError("ModelApprovalStatus can be used only for a version of a Model Package Group.")
    region.add_tags(arn, request.get("Tags"))
    return {"ModelPackageArn": arn}


def describe_model_package(region: Region, request: Request) -> Response:
    """``DescribeModelPackage``."""
    return dict(_package(region, request["ModelPackageName"]))


def batch_describe_model_package(region: Region, request: Request) -> Response:
    """``BatchDescribeModelPackage``."""
    summaries, errors = {}, {}
    for arn in request["ModelPackageArnList"]:
        package = region.packages.get(arn)
        if package is None:
            errors[arn] = {"ErrorCode": "ValidationException", "ErrorResponse": f"ModelPackage {arn} does not exist."}
        else:
            summaries[arn] = {name: package[name] for name in _BATCH_SUMMARY if name in package}
    return {"ModelPackageSummaries": summaries, "BatchDescribeModelPackageErrorMap": errors}


def update_model_package(region: Region, request: Request, *, account: Account) -> Response:
    """``UpdateModelPackage``: what the request does not name is kept."""
    package = _package(region, request["ModelPackageArn"])
    if "ModelApprovalStatus" in request and "ModelPackageGroupName" not in package:
        raise ValidationError("ModelApprovalStatus can be used only for a version of a Model Package Group.")
    changed = {name: request[name] for name in _UPDATED if name in request}
    changed["CustomerMetadataProperties"] = _metadata(package, request)
    changed["AdditionalInferenceSpecifications"] = _specifications(package, request)
    package |= changed | {"LastModifiedTime": now(), "LastModifiedBy": {}}
    for name in ("CustomerMetadataProperties", "AdditionalInferenceSpecifications"):
        if not package[name]:
            del package[name]
    send_package(account, package)
    return {"ModelPackageArn": package["ModelPackageArn"]}


def _metadata(package: Request, request: Request) -> dict[str, str]:
    removed = request.get("CustomerMetadataPropertiesToRemove") or ()
    merged = {**package.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {})}
    kept = {name: value for name, value in merged.items() if name not in removed}
    if len(kept) > _METADATA_LIMIT:
        raise ValidationError(
            f"CustomerMetadataProperties would have {len(kept)} items; the limit is {_METADATA_LIMIT}"
        )
    return kept


def _specifications(package: Request, request: Request) -> list[Request]:
    existing = package.get("AdditionalInferenceSpecifications", [])
    specifications = [*existing, *request.get("AdditionalInferenceSpecificationsToAdd", [])]
    names = [each["Name"] for each in specifications]
    if len(set(names)) < len(names):
        raise ValidationError("AdditionalInferenceSpecificationsToAdd: a name is used twice")
    return specifications


def delete_model_package(region: Region, request: Request) -> Response:
    """``DeleteModelPackage``; its version is not used again."""
    package = _package(region, request["ModelPackageName"])
    del region.packages[package["ModelPackageArn"]]
    region.tags.pop(package["ModelPackageArn"], None)
    return {}


def list_model_packages(region: Region, request: Request) -> Response:
    """``ListModelPackages``."""
    matching = [package for package in region.packages.values() if _matches(region, request, package)]
    keys = {"Name": lambda package: package["ModelPackageArn"], "CreationTime": lambda package: package["CreationTime"]}
    ordered = in_order(matching, request, keys=keys, default="CreationTime")
    listed = [{name: package[name] for name in _SUMMARY if name in package} for package in ordered]
    return page(request, listed, name="ModelPackageSummaryList")


def _matches(region: Region, request: Request, package: Request) -> bool:
    group = package.get("ModelPackageGroupName")
    name = request.get("ModelPackageGroupName")
    if name is not None and name not in (group, region.arn("model-package-group", str(group))):
        return False
    kind = request.get("ModelPackageType") or ("Versioned" if name else "Unversioned")
    is_of_kind = kind == "Both" or (kind == "Versioned") is (group is not None)
    status = request.get("ModelApprovalStatus")
    return (
        is_of_kind
        and request.get("NameContains", "") in (group or package["ModelPackageName"])
        and status in (None, package.get("ModelApprovalStatus"))
        and is_between(request, package["CreationTime"], **_CREATED)
    )


def _package(region: Region, name: str) -> dict[str, Any]:
    """Return a package by ARN, by name, or by the name of its group and its version."""
    arn = name if name.startswith("arn:") else region.arn("model-package", name.lower())
    package = region.packages.get(arn)
    if package is None:
        raise ValidationError(f"ModelPackage {name} does not exist.")
    return package


def register_package(region: Region, request: Request, *, account: Account, origin: str) -> str:
    """Create the model package of a RegisterModel step and return its ARN.

    Args:
        region: state of the region.
        request: arguments of the step.
        account: receives the event.
        origin: ARN of the execution.

    Raises:
        CallError: the arguments are invalid.
    """
    values = validated(dict(request), input_shape("CreateModelPackage"))
    tags = values.pop("Tags", None)
    values["MetadataProperties"] = {"GeneratedBy": origin, **values.get("MetadataProperties", {})}
    name = str(values["ModelPackageGroupName"])
    with region.lock:
        if name not in region.groups and not name.startswith("arn:"):
            create_model_package_group(region, {"ModelPackageGroupName": name, "Tags": tags})
        arn: str = create_model_package(region, values, account=account)["ModelPackageArn"]
    return arn
