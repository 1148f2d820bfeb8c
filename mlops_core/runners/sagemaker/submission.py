"""A compiled pipeline at the service: created or updated, started, waited for, its evaluation brought back.

`CompiledPipeline` has the methods of the SDK's ``Pipeline`` that deployment scripts call, so both can be used by the
entry points. boto3 is imported when the first call is made. Nothing here compiles or checks.
"""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.errors import RunnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_core.runners.sagemaker.compilation import Definition

Client = Any
"""A boto3 client: made at run time, without types of its own."""
Json = Any

INLINE_LIMIT = 100 * 1024
"""Characters of a definition that are sent within the call; longer ones go to S3."""
FINAL = ("Succeeded", "Failed", "Stopped")
PUBLISHED_PREFIX = "evaluation/build/"
"""Where deployment scripts look for the evaluation of the last execution."""
_MISSING = ("ResourceNotFound", "ResourceNotFoundException", "ValidationException")
_POLL_S = (2.0, 30.0)


@dataclass(slots=True, kw_only=True)
class CompiledPipeline:
    """A definition with the name under which it is submitted.

    Attributes:
        name: of the pipeline.
        compiled: its definition.
        region: of the account; the usual variables of AWS decide where it is None.
        bucket: for a definition that is too long for a call, and for the published evaluation.
        parameters: values for an execution, besides the definition's defaults.
        session: a boto3 session; a new one where it is None.
    """

    name: str
    compiled: Definition
    region: str | None = None
    bucket: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    session: Any = None

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
            response = _call(client.update_pipeline, **request)
            if tags:
                _call(client.add_tags, ResourceArn=existing["PipelineArn"], Tags=list(tags))
            return response
        token = _token(self.name, self.definition(), role_arn)
        return _call(client.create_pipeline, ClientRequestToken=token, Tags=list(tags), **request)

    def start(self, parameters: Mapping[str, str] | None = None) -> Execution:
        """Start an execution.

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
        client = self.client("sagemaker")
        arn = _call(client.start_pipeline_execution, **request)["PipelineExecutionArn"]
        return Execution(arn=arn, client=client)

    def client(self, service: str) -> Client:
        """Return a client of the service, which tries again when it is throttled."""
        from botocore.config import Config

        config = Config(retries={"mode": "adaptive", "max_attempts": 10})
        return _session(self).client(service, config=config)

    def _describe(self, client: Client) -> Json | None:
        try:
            return _call(client.describe_pipeline, PipelineName=self.name)
        except RunnerError as error:
            if _code(error.__cause__) in _MISSING:
                return None
            raise

    def _definition_argument(self) -> dict[str, Any]:
        text = self.definition()
        if len(text) <= INLINE_LIMIT:
            return {"PipelineDefinition": text}
        if not self.bucket:
            raise RunnerError(f"the definition has {len(text):,} characters and must go to S3: name a bucket")
        key = f"{self.name}/definitions/{hashlib.sha256(text.encode()).hexdigest()}.json"
        _call(self.client("s3").put_object, Bucket=self.bucket, Key=key, Body=text.encode())
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
        return _call(self.client.describe_pipeline_execution, PipelineExecutionArn=self.arn)

    def list_steps(self) -> list[Json]:
        """Return all steps, in the order of their start, from as many pages as there are."""
        steps: list[Json] = []
        request = {"PipelineExecutionArn": self.arn, "SortOrder": "Ascending"}
        while True:
            page = _call(self.client.list_pipeline_execution_steps, **request)
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


def publish_evaluation(pipeline: CompiledPipeline, steps: Sequence[Json], *, folder: Path | None = None) -> int:
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
    s3 = pipeline.client("s3")
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/") + "/"
    count = 0
    for key in _keys(s3, bucket, prefix):
        name = key.removeprefix(prefix)
        source = {"Bucket": bucket, "Key": key}
        _call(s3.copy_object, Bucket=bucket, Key=f"{PUBLISHED_PREFIX}{name}", CopySource=source)
        if folder is not None:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_call(s3.get_object, **source)["Body"].read())
        count += 1
    return count


def _evaluation_uri(pipeline: CompiledPipeline, steps: Sequence[Json]) -> str:
    """Return where the execution, or the earlier one from which the step was reused, left its evaluation."""
    from mlops_core.pipeline import EVALUATION_OUTPUT

    client = pipeline.client("sagemaker")
    for step in reversed(list(steps)):
        arn = (step.get("Metadata") or {}).get("ProcessingJob", {}).get("Arn", "")
        if not arn or step.get("StepStatus") != "Succeeded":
            continue
        job = _call(client.describe_processing_job, ProcessingJobName=arn.rpartition("/")[2])
        for output in job.get("ProcessingOutputConfig", {}).get("Outputs", []):
            if output["OutputName"] == EVALUATION_OUTPUT:
                return str(output["S3Output"]["S3Uri"])
    return ""


def _keys(s3: Client, bucket: str, prefix: str) -> Iterator[str]:
    request = {"Bucket": bucket, "Prefix": prefix}
    while True:
        page = _call(s3.list_objects_v2, **request)
        yield from (item["Key"] for item in page.get("Contents", ()))
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _session(pipeline: CompiledPipeline) -> Any:
    if pipeline.session is None:
        try:
            import boto3
        except ImportError as error:
            raise RunnerError(f"boto3 cannot be imported: {error}; pip install 'mlops-core[aws]'") from error
        pipeline.session = boto3.Session(region_name=pipeline.region)
    return pipeline.session


def _token(*parts: str) -> str:
    """Return the same token for the same request, so that a repeated call makes nothing twice."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _call(method: Callable[..., Any], **request: Any) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return method(**request)
    except (ClientError, BotoCoreError) as error:
        raise _service_error(error) from error


def _code(error: BaseException | None) -> str:
    """Return the service's code of an error; empty when it did not come from the service."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _service_error(error: Exception) -> RunnerError:
    text = " ".join(str(error).split())
    if _code(error) in ("ExpiredToken", "ExpiredTokenException", "RequestExpired"):
        return RunnerError(f"the credentials have expired: {text}; sign in again and repeat the command")
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return RunnerError(f"{text}; sign in, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if type(error).__name__ == "NoRegionError":
        return RunnerError(f"{text}; set AWS_REGION, or pass the region")
    return RunnerError(text)
