"""The events that the service sends to EventBridge: new states of executions, model packages and endpoints.

The members are those of the documentation:
https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.endpoint.state import Execution
    from mlops_sagemaker.emulator.endpoint.surroundings import Account

_STATUS_CHANGE = "SageMaker Model Building Pipeline Execution Status Change"
_PACKAGE_CHANGE = "SageMaker Model Package State Change"
_ENDPOINT_CHANGE = "SageMaker Endpoint State Change"
_DEPLOYMENT_CHANGE = "SageMaker Endpoint Deployment State Change"
_ENDPOINT_MEMBERS = (
    *("EndpointName", "EndpointArn", "EndpointConfigName", "ProductionVariants", "DataCaptureConfig", "FailureReason"),
    *("CreationTime", "LastModifiedTime", "PendingDeploymentSummary"),
)
_PACKAGE_MEMBERS: dict[str, Any] = {
    "ModelPackageGroupName": None,
    "ModelPackageVersion": None,
    "ModelPackageArn": None,
    "CreationTime": None,
    "InferenceSpecification": {},
    "ModelPackageStatus": None,
    "ModelPackageStatusDetails": {},
    "CertifyForMarketplace": False,
    "ModelApprovalStatus": None,
    "MetadataProperties": {},
    "ModelMetrics": {},
    "LastModifiedTime": None,
}
"""The members of the event for a model package, with their values if the package has none."""


def send_status(account: Account, execution: Execution, *, previous: str) -> None:
    """Send the event for a new status of an execution."""
    record = execution.record
    detail = {
        "pipelineArn": execution.pipeline.arn,
        "pipelineExecutionArn": execution.arn,
        "pipelineExecutionDisplayName": execution.display_name,
        "pipelineExecutionDescription": execution.description,
        "currentPipelineExecutionStatus": str(record.status),
        "previousPipelineExecutionStatus": previous,
        "executionStartTime": _short(dt.datetime.fromisoformat(record.start)),
        "executionEndTime": _short(dt.datetime.fromisoformat(record.end)) if record.end else None,
    }
    present = {name: value for name, value in detail.items() if value}
    account.send_event(_STATUS_CHANGE, present, resources=[execution.pipeline.arn, execution.arn])


def send_package(account: Account, package: Mapping[str, Any]) -> None:
    """Send the event for a new model package or a new state of one."""
    modified = package.get("LastModifiedTime") or package["CreationTime"]
    values = {**package, "LastModifiedTime": modified}
    detail = {name: values.get(name, default) for name, default in _PACKAGE_MEMBERS.items()}
    detail |= {name: _short(detail[name]) for name in ("CreationTime", "LastModifiedTime")}
    present = {name: value for name, value in detail.items() if value is not None}
    account.send_event(_PACKAGE_CHANGE, present, resources=[package["ModelPackageArn"]])


def send_endpoint(account: Account, endpoint: Mapping[str, Any], *, tags: Mapping[str, str]) -> None:
    """Send the event for a new status of an endpoint, given as ``DescribeEndpoint`` describes it."""
    detail = {**_endpoint_detail(endpoint), "Tags": dict(tags)}
    account.send_event(_ENDPOINT_CHANGE, detail, resources=[endpoint["EndpointArn"]])


def send_deployment(account: Account, endpoint: Mapping[str, Any]) -> None:
    """Send the event for a new stage of the deployment of an endpoint."""
    account.send_event(_DEPLOYMENT_CHANGE, _endpoint_detail(endpoint), resources=[endpoint["EndpointArn"]])


def _endpoint_detail(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description with times in milliseconds, and the status as events spell it: ``IN_SERVICE``."""
    status = "".join(f"_{each}" if each.isupper() else each for each in endpoint["EndpointStatus"]).strip("_").upper()
    detail = {name: _in_milliseconds(endpoint[name]) for name in _ENDPOINT_MEMBERS if name in endpoint}
    return {**detail, "EndpointStatus": status}


def _in_milliseconds(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return int(value.timestamp() * 1000)
    if isinstance(value, dict):
        return {name: _in_milliseconds(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_in_milliseconds(inner) for inner in value]
    return value


def _short(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
