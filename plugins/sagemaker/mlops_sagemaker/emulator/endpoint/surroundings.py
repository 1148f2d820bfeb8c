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

from mlops_sagemaker.emulator.endpoint.inference.models import find_model
from mlops_sagemaker.emulator.endpoint.operations.packages import register_package
from mlops_sagemaker.emulator.endpoint.protocol.errors import CallError
from mlops_sagemaker.emulator.faults import FaultKind, StepFault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_sagemaker.emulator.endpoint.access.credentials import Credential
    from mlops_sagemaker.emulator.endpoint.state import Region
    from mlops_sagemaker.emulator.jobs.common import JobPlace
    from mlops_sagemaker.service.executions import ExecutionStep

_LOG = logging.getLogger(__name__)
_LOG_LINES = 10_000
_LOG_BATCH = 1_000
_GROUPS = {
    "Processing": "/aws/sagemaker/ProcessingJobs",
    "Training": "/aws/sagemaker/TrainingJobs",
    "Tuning": "/aws/sagemaker/TrainingJobs",
    "Transform": "/aws/sagemaker/TransformJobs",
}


class Account:
    """An account in a region of the endpoint."""

    def __init__(self, url: str, *, account: str, region: str, credential: Credential) -> None:
        """Use the endpoint at `url`."""
        self._url = url
        self._credential = credential
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
            aws_access_key_id=self._credential.access_key,
            aws_secret_access_key=self._credential.secret_key,
            config=Config(max_pool_connections=20, retries={"max_attempts": 1}),
        )

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which code in a container accesses the endpoint."""
        return {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            **self._credential.environment(),
        }

    def send_message(self, queue: str, text: str) -> None:
        """Send a message to a queue."""
        self.client("sqs").send_message(QueueUrl=queue, MessageBody=text)

    def send_event(self, kind: str, detail: Mapping[str, Any], *, resources: Sequence[str]) -> None:
        """Send an event of the service to EventBridge."""
        from moto.events.models import events_backends

        event = {
            "Source": "aws.sagemaker",
            "DetailType": kind,
            "Detail": json.dumps(detail),
            "Resources": list(resources),
            "Time": time.time(),
        }
        try:
            events_backends[self.account][self.region].put_events([event])
        except Exception:  # noqa: BLE001  a target that moto does not support must not end an execution
            _LOG.exception("event %s was not delivered", kind)

    def write_logs(self, step: ExecutionStep, folder: Path) -> None:
        """Write the last lines of a job's logs to CloudWatch."""
        self.write_job_logs(step.type, step.logs, folder)

    def write_job_logs(self, kind: str, names: Sequence[str], folder: Path) -> None:
        """Write the last lines of the logs `names` of a job to CloudWatch."""
        from moto.logs.models import logs_backends

        group = _GROUPS.get(kind)
        if group is None:
            return
        logs = logs_backends[self.account][self.region]
        if group not in logs.groups:
            logs.create_log_group(group, {})
        for name in names:
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

    def __init__(self, region: Region, account: Account) -> None:
        """Use the model registry of a region."""
        self._region = region
        self._account = account

    def register(self, request: Mapping[str, Any], place: JobPlace) -> str:
        """Create a model package and, as in the service, its group if it is missing."""
        origin = f"{place.arn_prefix}:pipeline/{place.pipeline}/execution/{place.execution_id}"
        try:
            return register_package(self._region, request, account=self._account, origin=origin)
        except CallError as error:
            reason = f"CreateModelPackage in {place.execution_id}: {error.code}: {error.message}"
            raise StepFault(FaultKind.CLIENT, reason) from error

    def create_model(self, name: str, request: Mapping[str, Any], place: JobPlace) -> str:
        """Create a model."""
        try:
            arn: str = self._account.client("sagemaker").create_model(**{**request, "ModelName": name})["ModelArn"]
        except (ClientError, BotoCoreError) as error:
            raise StepFault(FaultKind.CLIENT, f"CreateModel in {place.execution_id}: {error}") from error
        return arn

    def find_model(self, name: str) -> Mapping[str, Any] | None:
        """Return the description of a model; None if it does not exist."""
        return find_model(self._region, name)
