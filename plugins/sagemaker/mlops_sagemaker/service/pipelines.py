"""Creates, updates, starts and waits for pipelines at the service, and publishes their evaluations.

`PipelineSubmission` has the methods of the SDK's ``Pipeline`` that deployment scripts call, so the scripts accept both.
This module neither compiles nor checks definitions.
"""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.runners import RunnerError
from mlops_sagemaker.service.account import Account, call, code_of
from mlops_sagemaker.service.results import publish
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlops_sagemaker.compiler.definition import Definition

Client = Any
"""A boto3 client, which is not typed."""
Json = Any

INLINE_LIMIT = 100 * 1024
"""Maximum number of characters of a definition in a call; longer definitions are uploaded to S3."""
FINAL = ("Succeeded", "Failed", "Stopped")
_MISSING = ("ResourceNotFound", "ResourceNotFoundException", "ValidationException")
_POLL_S = (2.0, 30.0)


@dataclass(slots=True, kw_only=True)
class PipelineSubmission:
    """A compiled definition that is submitted as a pipeline.

    Attributes:
        name: name of the pipeline.
        compiled: the compiled definition.
        region: AWS region; None for the region of the AWS environment variables.
        bucket: bucket for the published evaluation, and for a definition that is too long for a call.
        parameters: parameter values for executions, in addition to the defaults of the definition.
        account: account to submit to; None for the default account in `region`.
    """

    name: str
    compiled: Definition
    region: str | None = None
    bucket: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None

    def definition(self) -> str:
        """Return the definition as compact JSON, as it is submitted."""
        return self.compiled.to_compact_text()

    def missing_parameters(self) -> tuple[str, ...]:
        """Return the parameters that have neither a default nor a value."""
        declared = self.compiled.data["Parameters"]
        return tuple(
            item["Name"] for item in declared if "DefaultValue" not in item and item["Name"] not in self.parameters
        )

    def upsert(self, role_arn: str, description: str | None = None, tags: Sequence[Json] = ()) -> Json:
        """Create the pipeline, or update it and merge its tags.

        Args:
            role_arn: ARN of the execution role.
            description: description of the pipeline.
            tags: tags such as ``{"Key": ..., "Value": ...}``.

        Raises:
            RunnerError: the service refuses.
        """
        client = self.client("sagemaker")
        request = {"PipelineName": self.name, "RoleArn": role_arn, **self._definition_argument()}
        if description:
            request["PipelineDescription"] = description
        if self.compiled.max_parallel_steps:
            request["ParallelismConfiguration"] = {"MaxParallelExecutionSteps": self.compiled.max_parallel_steps}
        existing = self._describe(client)
        if existing is not None:
            response = call(client.update_pipeline, **request)
            if tags:
                call(client.add_tags, ResourceArn=existing["PipelineArn"], Tags=list(tags))
            return response
        token = _token(self.name, self.definition(), role_arn)
        return call(client.create_pipeline, ClientRequestToken=token, Tags=list(tags), **request)

    def start(self, parameters: Mapping[str, str] | None = None, *, token: str = "") -> Execution:
        """Start an execution.

        Args:
            parameters: parameter values, in addition to those of the submission and the defaults.
            token: idempotency token of at least 32 characters; empty for none.

        Raises:
            RunnerError: a parameter has no value, or the service refuses.
        """
        values = {**self.parameters, **(parameters or {})}
        missing = [name for name in self.missing_parameters() if name not in values]
        if missing:
            raise RunnerError(
                f"no value for the parameter{'s' if len(missing) > 1 else ''} {', '.join(missing)}; compile with a "
                "default, or pass a value when starting the execution (for the image: image_uri or MLOPS_STEP_IMAGE)"
            )
        request: dict[str, Any] = {"PipelineName": self.name}
        if values:
            request["PipelineParameters"] = [{"Name": name, "Value": values[name]} for name in sorted(values)]
        if token:
            request["ClientRequestToken"] = token
        client = self.client("sagemaker")
        arn = call(client.start_pipeline_execution, **request)["PipelineExecutionArn"]
        return Execution(arn=arn, client=client)

    def client(self, service: str) -> Client:
        """Return a client of a service that retries when it is throttled."""
        return self.used_account().client(service)

    def used_account(self) -> Account:
        """Return the account that the pipeline is submitted to."""
        if self.account is None:
            self.account = Account(region=self.region)
        return self.account

    def _describe(self, client: Client) -> Json | None:
        try:
            return call(client.describe_pipeline, PipelineName=self.name)
        except RunnerError as error:
            if code_of(error) in _MISSING:
                return None
            raise

    def _definition_argument(self) -> dict[str, Any]:
        text = self.definition()
        if len(text) <= INLINE_LIMIT:
            return {"PipelineDefinition": text}
        if not self.bucket:
            raise RunnerError(f"the definition has {len(text):,} characters and must be uploaded to S3: pass a bucket")
        key = f"{self.name}/definitions/{hashlib.sha256(text.encode()).hexdigest()}.json"
        call(self.client("s3").put_object, Bucket=self.bucket, Key=key, Body=text.encode())
        return {"PipelineDefinitionS3Location": {"Bucket": self.bucket, "ObjectKey": key}}


@dataclass(slots=True, kw_only=True)
class Execution:
    """An execution of a pipeline.

    Attributes:
        arn: ARN of the execution.
        client: SageMaker client.
    """

    arn: str
    client: Client

    def describe(self) -> Json:
        """Return the service's description."""
        return call(self.client.describe_pipeline_execution, PipelineExecutionArn=self.arn)

    def list_steps(self) -> list[Json]:
        """Return all steps, in the order of their start."""
        steps: list[Json] = []
        request = {"PipelineExecutionArn": self.arn, "SortOrder": "Ascending"}
        while True:
            page = call(self.client.list_pipeline_execution_steps, **request)
            steps += page.get("PipelineExecutionSteps", [])
            if not page.get("NextToken"):
                return steps
            request["NextToken"] = page["NextToken"]


def wait_for(execution: Any, *, timeout_s: float | None = None, pause: Callable[[float], None] = time.sleep) -> Json:
    """Wait until an execution has ended and return its description.

    The interval between polls grows from 2 to 30 seconds.

    Args:
        execution: an `Execution`, or an execution of the SDK.
        timeout_s: maximum time to wait, in seconds; None for no limit.
        pause: waits for a number of seconds.

    Raises:
        RunnerError: the execution has not ended in time; it continues at the service.
    """
    start = time.monotonic()
    wait_s = _POLL_S[0]
    while True:
        description = execution.describe()
        status = description["PipelineExecutionStatus"]
        if status in FINAL:
            return description
        if timeout_s is not None and time.monotonic() - start + wait_s > timeout_s:
            raise RunnerError(
                f"execution {execution.arn} has status {status} after {timeout_s:g} s; it continues at the service"
            )
        pause(wait_s * random.uniform(0.9, 1.1))  # noqa: S311  so that many scripts do not poll at the same time
        wait_s = min(wait_s * 1.5, _POLL_S[1])


def failure_of(description: Json, steps: Sequence[Json]) -> str:
    """Return the reason why an execution failed, from its first failed step; empty if it succeeded."""
    status = description["PipelineExecutionStatus"]
    if status == "Succeeded":
        return ""
    for step in steps:
        if step.get("StepStatus") == "Failed":
            reason = step.get("FailureReason") or "no reason given"
            return f"the execution ended with status {status}: step '{step['StepName']}': {reason}"
    reason = description.get("FailureReason") or "no step failed"
    return f"the execution ended with status {status}: {reason}"


def publish_evaluation(pipeline: PipelineSubmission, steps: Sequence[Json], *, folder: Path | None = None) -> int:
    """Copy the evaluation of an execution to ``evaluation/build/`` of the bucket and, if given, to a folder.

    Args:
        pipeline: submission that names the bucket.
        steps: steps of the execution.
        folder: folder to copy to, which is created; None for no copy.

    Returns:
        The number of files; 0 if the evaluation step did not succeed.

    Raises:
        RunnerError: S3 or the service refuses.
    """
    uri = _evaluation_uri(pipeline, steps)
    if not uri:
        return 0
    return publish(pipeline.used_account(), uri, bucket=pipeline.bucket or S3Uri.parse(uri).bucket, folder=folder)


def _evaluation_uri(pipeline: PipelineSubmission, steps: Sequence[Json]) -> str:
    """Return the URI of the evaluation, which may be that of an earlier execution if the step was reused."""
    from mlops_core.runners import EVALUATION_OUTPUT

    client = pipeline.client("sagemaker")
    for step in reversed(list(steps)):
        arn = (step.get("Metadata") or {}).get("ProcessingJob", {}).get("Arn", "")
        if not arn or step.get("StepStatus") != "Succeeded":
            continue
        job = call(client.describe_processing_job, ProcessingJobName=arn.rpartition("/")[2])
        for output in job.get("ProcessingOutputConfig", {}).get("Outputs", []):
            if output["OutputName"] == EVALUATION_OUTPUT:
                return str(output["S3Output"]["S3Uri"])
    return ""


def _token(*parts: str) -> str:
    """Return an idempotency token that is equal for equal requests."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
