"""A compiled pipeline at the service: created or updated, started, waited for, its evaluation brought back.

`PipelineSubmission` has the methods of the SDK's ``Pipeline`` that deployment scripts call, so both can be used by the
entry points. Nothing here compiles or checks.
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
"""A boto3 client: made at run time, without types of its own."""
Json = Any

INLINE_LIMIT = 100 * 1024
"""Characters of a definition that are sent within the call; longer ones go to S3."""
FINAL = ("Succeeded", "Failed", "Stopped")
_MISSING = ("ResourceNotFound", "ResourceNotFoundException", "ValidationException")
_POLL_S = (2.0, 30.0)


@dataclass(slots=True, kw_only=True)
class PipelineSubmission:
    """A definition with the name under which it is submitted.

    Attributes:
        name: of the pipeline.
        compiled: its definition.
        region: of the account; the usual variables of AWS decide where it is None.
        bucket: for a definition that is too long for a call, and for the published evaluation.
        parameters: values for an execution, besides the definition's defaults.
        account: at whose service it is; a new one where it is None.
    """

    name: str
    compiled: Definition
    region: str | None = None
    bucket: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None

    def definition(self) -> str:
        """Return the definition as it is submitted."""
        return self.compiled.to_compact_text()

    def missing_parameters(self) -> tuple[str, ...]:
        """Return the parameters that have no value yet."""
        declared = self.compiled.data["Parameters"]
        return tuple(
            item["Name"] for item in declared if "DefaultValue" not in item and item["Name"] not in self.parameters
        )

    def upsert(self, role_arn: str, description: str | None = None, tags: Sequence[Json] = ()) -> Json:
        """Create the pipeline, or update it where it exists; merge the tags.

        Args:
            role_arn: of the role that carries out the pipeline.
            description: for people.
            tags: ``{"Key": ..., "Value": ...}``.

        Raises:
            RunnerError: the service refuses it.
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
            parameters: values besides those of the pipeline and the definition's defaults.
            token: a second call with the same one starts nothing; at least 32 characters, empty for none.

        Raises:
            RunnerError: a parameter has no value, or the service refuses it.
        """
        values = {**self.parameters, **(parameters or {})}
        missing = [name for name in self.missing_parameters() if name not in values]
        if missing:
            raise RunnerError(
                f"no value for the parameter{'s' if len(missing) > 1 else ''} {', '.join(missing)}; compile with a "
                "default, or pass it when the execution is started (the image: image_uri, or MLOPS_STEP_IMAGE)"
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
        """Return a client of the service, which tries again when it is throttled."""
        return self.used_account().client(service)

    def used_account(self) -> Account:
        """Return the account at whose service the pipeline is."""
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
            raise RunnerError(f"the definition has {len(text):,} characters and must go to S3: name a bucket")
        key = f"{self.name}/definitions/{hashlib.sha256(text.encode()).hexdigest()}.json"
        call(self.client("s3").put_object, Bucket=self.bucket, Key=key, Body=text.encode())
        return {"PipelineDefinitionS3Location": {"Bucket": self.bucket, "ObjectKey": key}}


@dataclass(slots=True, kw_only=True)
class Execution:
    """One execution of a pipeline.

    Attributes:
        arn: its name.
        client: of SageMaker.
    """

    arn: str
    client: Client

    def describe(self) -> Json:
        """Return the service's description."""
        return call(self.client.describe_pipeline_execution, PipelineExecutionArn=self.arn)

    def list_steps(self) -> list[Json]:
        """Return all steps, in the order of their start, from as many pages as there are."""
        steps: list[Json] = []
        request = {"PipelineExecutionArn": self.arn, "SortOrder": "Ascending"}
        while True:
            page = call(self.client.list_pipeline_execution_steps, **request)
            steps += page.get("PipelineExecutionSteps", [])
            if not page.get("NextToken"):
                return steps
            request["NextToken"] = page["NextToken"]


def wait_for(execution: Any, *, timeout_s: float | None = None, pause: Callable[[float], None] = time.sleep) -> Json:
    """Wait until an execution (ours or the SDK's) has ended and return its description.

    There is no limit but the one that is given; the pause between two questions grows to half a minute.

    Args:
        execution: has ``describe()``.
        timeout_s: None for no limit.
        pause: waits for a number of seconds.

    Raises:
        RunnerError: it has not ended in time; it goes on at the service.
    """
    began = time.monotonic()
    wait_s = _POLL_S[0]
    while True:
        found = execution.describe()
        if found["PipelineExecutionStatus"] in FINAL:
            return found
        if timeout_s is not None and time.monotonic() - began + wait_s > timeout_s:
            raise RunnerError(
                f"the execution {execution.arn} is {found['PipelineExecutionStatus']} after {timeout_s:g} s; it goes on"
            )
        pause(wait_s * random.uniform(0.9, 1.1))  # noqa: S311  so that many scripts do not ask at the same moment
        wait_s = min(wait_s * 1.5, _POLL_S[1])


def failure_of(description: Json, steps: Sequence[Json]) -> str:
    """Return why an execution failed: the first failed step's reason; empty when it succeeded."""
    status = description["PipelineExecutionStatus"]
    if status == "Succeeded":
        return ""
    for step in steps:
        if step.get("StepStatus") == "Failed":
            reason = step.get("FailureReason") or "no reason is given"
            return f"the execution ended as {status}: step '{step['StepName']}': {reason}"
    reason = description.get("FailureReason") or "no step failed"
    return f"the execution ended as {status}: {reason}"


def publish_evaluation(pipeline: PipelineSubmission, steps: Sequence[Json], *, folder: Path | None = None) -> int:
    """Copy the execution's evaluation to ``evaluation/build/`` of the bucket and, where asked for, to a folder.

    Each execution writes to a place of its own, so two of them never mix; this gives the last one its well-known place.

    Args:
        pipeline: names the bucket.
        steps: of the execution.
        folder: made where it does not exist.

    Returns:
        How many files there were; 0 when the evaluation did not come to its end.

    Raises:
        RunnerError: S3 or the service refuses.
    """
    uri = _evaluation_uri(pipeline, steps)
    if not uri:
        return 0
    return publish(pipeline.used_account(), uri, bucket=pipeline.bucket or S3Uri.parse(uri).bucket, folder=folder)


def _evaluation_uri(pipeline: PipelineSubmission, steps: Sequence[Json]) -> str:
    """Return where the execution, or the earlier one from which the step was reused, left its evaluation."""
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
    """Return the same token for the same request, so that a repeated call makes nothing twice."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
