"""The environment of an execution in the endpoint: S3, model registry, queues, logs and events.

Containers access the endpoint over loopback, as they access AWS in the service. Logs and events, which the service
writes itself, are written directly to the state of moto.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_sagemaker.emulator.faults import FaultKind, StepFault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_sagemaker.emulator.jobs.common import JobPlace
    from mlops_sagemaker.service.executions import ExecutionRecord, ExecutionStep

_LOG = logging.getLogger(__name__)
_SECRET = "loopback"  # noqa: S105  not a secret: moto does not check it
_LOG_LINES = 10_000
_LOG_BATCH = 1_000
_GROUPS = {
    "Processing": "/aws/sagemaker/ProcessingJobs",
    "Training": "/aws/sagemaker/TrainingJobs",
    "Tuning": "/aws/sagemaker/TrainingJobs",
}


class Account:
    """An account in a region of the endpoint."""

    def __init__(self, url: str, *, account: str, region: str) -> None:
        """Use the endpoint at `url`."""
        self._url = url
        self.account = account
        self.region = region

    def client(self, service: str) -> Any:
        """Return a boto3 client for a service of the endpoint."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self._url,
            region_name=self.region,
            aws_access_key_id=self.account,
            aws_secret_access_key=_SECRET,
            config=Config(max_pool_connections=20, retries={"max_attempts": 1}),
        )

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which code in a container accesses the endpoint."""
        return {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
        }

    def send_event(self, kind: str, detail: Mapping[str, Any], *, resource: str) -> None:
        """Send an event of the service to EventBridge."""
        from moto.events.models import events_backends

        event = {
            "Source": "aws.sagemaker",
            "DetailType": kind,
            "Detail": json.dumps(detail),
            "Resources": [resource],
            "Time": time.time(),
        }
        try:
            events_backends[self.account][self.region].put_events([event])
        except Exception:  # noqa: BLE001  a target that moto does not support must not end an execution
            _LOG.exception("event %s was not delivered", kind)

    def send_status(self, record: ExecutionRecord, *, previous: str) -> None:
        """Send the event for a new status of an execution."""
        detail = {
            "pipelineArn": record.arn.partition("/execution/")[0],
            "pipelineExecutionArn": record.arn,
            "currentPipelineExecutionStatus": str(record.status),
            "previousPipelineExecutionStatus": previous,
            "executionStartTime": record.start,
            "executionEndTime": record.end,
        }
        self.send_event(
            "SageMaker Model Building Pipeline Execution Status Change",
            {name: value for name, value in detail.items() if value},
            resource=record.arn,
        )

    def send_package(self, package: Mapping[str, Any]) -> None:
        """Send the event for a new model package or a new approval status."""
        names = (
            "ModelPackageGroupName",
            "ModelPackageVersion",
            "ModelPackageArn",
            "ModelPackageStatus",
            "ModelApprovalStatus",
        )
        detail = {name: package[name] for name in names if package.get(name) is not None}
        self.send_event("SageMaker Model Package State Change", detail, resource=package["ModelPackageArn"])

    def write_logs(self, step: ExecutionStep, folder: Path) -> None:
        """Write the last lines of a job's logs to CloudWatch."""
        from moto.logs.models import logs_backends

        group = _GROUPS.get(step.type)
        if group is None:
            return
        logs = logs_backends[self.account][self.region]
        if group not in logs.groups:
            logs.create_log_group(group, {})
        for name in step.logs:
            path = folder / name
            if path.exists():
                job, _, host = name.removesuffix(".log").rpartition(".")
                _put_lines(logs, group, f"{job}/{host}-{time.time_ns() // 1_000_000}", path)


def _put_lines(logs: Any, group: str, stream: str, path: Path) -> None:
    now = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line]
    events = [{"timestamp": now, "message": line} for line in lines[-_LOG_LINES:]]
    logs.create_log_stream(group, stream)
    for start in range(0, len(events), _LOG_BATCH):
        logs.put_log_events(group, stream, events[start : start + _LOG_BATCH])


class EndpointRegistrar:
    """Creates model packages and models in the endpoint."""

    def __init__(self, account: Account) -> None:
        """Use the model registry of an account."""
        self._account = account
        self._client = account.client("sagemaker")

    def register(self, request: Mapping[str, Any], place: JobPlace) -> str:
        """Create a model package and, as in the service, its group if it is missing."""
        try:
            self._create_group(str(request["ModelPackageGroupName"]))
            arn: str = self._client.create_model_package(**request)["ModelPackageArn"]
            package = self._client.describe_model_package(ModelPackageName=arn)
        except (ClientError, BotoCoreError) as error:
            raise StepFault(FaultKind.CLIENT, f"CreateModelPackage in {place.execution_id}: {error}") from error
        self._account.send_package({**package, "ModelPackageArn": arn})
        return arn

    def _create_group(self, name: str) -> None:
        groups = self._client.get_paginator("list_model_package_groups").paginate(NameContains=name)
        existing = {group["ModelPackageGroupName"] for page in groups for group in page["ModelPackageGroupSummaryList"]}
        if name not in existing:
            self._client.create_model_package_group(ModelPackageGroupName=name)

    def create_model(self, name: str, request: Mapping[str, Any], place: JobPlace) -> str:
        """Create a model."""
        try:
            arn: str = self._client.create_model(**{**request, "ModelName": name})["ModelArn"]
        except (ClientError, BotoCoreError) as error:
            raise StepFault(FaultKind.CLIENT, f"CreateModel in {place.execution_id}: {error}") from error
        return arn
