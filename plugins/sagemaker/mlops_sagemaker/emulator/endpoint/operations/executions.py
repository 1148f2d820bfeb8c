"""The operations for executions of pipelines."""

from __future__ import annotations

import json
import secrets
import string
from typing import TYPE_CHECKING, Any

from mlops_core.runners import DefinitionError
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.endpoint.executions import ExecutionStart
from mlops_sagemaker.emulator.endpoint.protocol.errors import ConflictError, NotFoundError, ValidationError
from mlops_sagemaker.emulator.endpoint.protocol.listing import in_order, is_between, page
from mlops_sagemaker.emulator.endpoint.state import Execution, Pipeline, Region, moment, now, present
from mlops_sagemaker.emulator.selection import select_steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.definition import Definition
    from mlops_sagemaker.emulator.endpoint.executions import EndpointExecutions
    from mlops_sagemaker.emulator.selection import Selection
    from mlops_sagemaker.service.executions import ExecutionRecord

    Request = Mapping[str, Any]
    Response = dict[str, Any]

_ID = string.ascii_lowercase + string.digits
_ID_LENGTH = 12
_UNSUPPORTED = {
    "MlflowExperimentName": "is not supported by this endpoint",
    "RoleArn": "cannot be used for a pipeline that you created",
}


class ExecutionCalls:
    """The operations; they start, stop and retry with `EndpointExecutions`."""

    def __init__(self, executions: EndpointExecutions) -> None:
        """Carry out executions with `executions`."""
        self._executions = executions

    # --- Start, stop, retry -------------------------------------------------------------------------------

    def start(self, region: Region, request: Request) -> Response:
        """``StartPipelineExecution``; a repeated request with the same token starts nothing."""
        pipeline = region.pipeline(request["PipelineName"])
        token = request["ClientRequestToken"]
        if token in pipeline.starts:
            former, arn = pipeline.starts[token]
            if former != _without_name(request):
                raise ConflictError(f"ClientRequestToken {token} was used with other arguments.")
            return {"PipelineExecutionArn": arn}
        for name, reason in _UNSUPPORTED.items():
            if name in request:
                raise ValidationError(f"{name} {reason}")
        execution = self._prepared(region, pipeline, request)
        pipeline.executions[execution.arn] = execution
        pipeline.starts[token] = (_without_name(request), execution.arn)
        pipeline.last_run = now()
        self._executions.begin(region, execution)
        return {"PipelineExecutionArn": execution.arn}

    def _prepared(self, region: Region, pipeline: Pipeline, request: Request) -> Execution:
        """Return an execution that has not begun.

        Raises:
            ValidationError: the definition cannot be executed, or with other arguments.
        """
        version = pipeline.version(request)
        parallelism = request.get("ParallelismConfiguration") or pipeline.parallelism or {}
        execution_id = "".join(secrets.choice(_ID) for _ in range(_ID_LENGTH))
        arn = f"{pipeline.arn}/execution/{execution_id}"
        try:
            definition = parse_definition(version.definition)
            values = definition.values(_parameters(request))
            start = ExecutionStart(
                definition=definition,
                arn=arn,
                pipeline=pipeline,
                values=values,
                max_parallel=parallelism.get("MaxParallelExecutionSteps"),
                selection=_selection(region, pipeline, request, definition),
            )
            running = self._executions.prepare(region, start)
        except DefinitionError as error:
            raise ValidationError(str(error)) from error
        return Execution(
            arn=arn,
            pipeline=pipeline,
            version=version,
            running=running,
            modified=now(),
            display_name=request.get("PipelineExecutionDisplayName") or f"execution-{execution_id}",
            description=request.get("PipelineExecutionDescription"),
            parallelism=parallelism or None,
            selective=request.get("SelectiveExecutionConfig"),
        )

    def stop(self, region: Region, request: Request) -> Response:
        """``StopPipelineExecution``."""
        execution = region.execution(request["PipelineExecutionArn"])
        status = execution.record.status
        if status.is_final:
            raise ConflictError(f"Only pipelines with 'Executing' status can be stopped: {execution.arn}")
        if status != "Stopping":
            execution.modified = now()
            self._executions.stop(region, execution)
        return {"PipelineExecutionArn": execution.arn}

    def retry(self, region: Region, request: Request) -> Response:
        """``RetryPipelineExecution``; a repeated request with the same token retries nothing."""
        execution = region.execution(request["PipelineExecutionArn"])
        token = request["ClientRequestToken"]
        if token in execution.retries:
            return {"PipelineExecutionArn": execution.arn}
        if execution.record.status not in ("Failed", "Stopped"):
            raise ConflictError(f"Only failed or stopped executions can be retried: {execution.arn}")
        execution.retries.add(token)
        execution.parallelism = request.get("ParallelismConfiguration") or execution.parallelism
        execution.modified = now()
        limit = (execution.parallelism or {}).get("MaxParallelExecutionSteps")
        self._executions.again(region, execution, max_parallel=limit)
        return {"PipelineExecutionArn": execution.arn}

    def update(self, region: Region, request: Request) -> Response:
        """``UpdatePipelineExecution``: what the request does not name is kept."""
        execution = region.execution(request["PipelineExecutionArn"])
        parallelism = request.get("ParallelismConfiguration")
        if parallelism and execution.record.status.is_final:
            raise ConflictError(f"The execution has ended, its parallelism cannot change: {execution.arn}")
        execution.display_name = request.get("PipelineExecutionDisplayName", execution.display_name)
        execution.description = request.get("PipelineExecutionDescription", execution.description)
        execution.modified = now()
        if parallelism:
            execution.parallelism = parallelism
            self._executions.limit(execution, parallelism["MaxParallelExecutionSteps"])
        return {"PipelineExecutionArn": execution.arn}

    # --- Callback steps -----------------------------------------------------------------------------------

    def send_success(self, _: Region, request: Request) -> Response:
        """``SendPipelineExecutionStepSuccess``."""
        outputs = {item["Name"]: item["Value"] for item in request.get("OutputParameters") or ()}
        return self._answer(request["CallbackToken"], outputs=outputs)

    def send_failure(self, _: Region, request: Request) -> Response:
        """``SendPipelineExecutionStepFailure``."""
        return self._answer(request["CallbackToken"], outputs=None, reason=request.get("FailureReason", ""))

    def _answer(self, token: str, *, outputs: Mapping[str, Any] | None, reason: str = "") -> Response:
        try:
            arn = self._executions.answer(token, outputs=outputs, reason=reason)
        except ValueError as error:
            raise ValidationError(str(error)) from error
        if arn is None:
            raise NotFoundError(f"No step waits for the callback token {token}.")
        return {"PipelineExecutionArn": arn}


# --- Descriptions -----------------------------------------------------------------------------------------


def describe_pipeline_execution(region: Region, request: Request) -> Response:
    """``DescribePipelineExecution``."""
    execution = region.execution(request["PipelineExecutionArn"])
    record = execution.record
    return present(
        {
            "PipelineArn": execution.pipeline.arn,
            "PipelineExecutionArn": execution.arn,
            "PipelineExecutionDisplayName": execution.display_name,
            "PipelineExecutionStatus": str(record.status),
            "PipelineExecutionDescription": execution.description,
            "FailureReason": record.failure,
            "CreationTime": moment(record.start),
            "LastModifiedTime": _modified(execution, record),
            "CreatedBy": {},
            "LastModifiedBy": {},
            "ParallelismConfiguration": execution.parallelism,
            "SelectiveExecutionConfig": execution.selective,
            "PipelineVersionId": execution.version.number,
            "PipelineVersionAliases": execution.version.aliases or None,
        }
    )


def describe_pipeline_definition_for_execution(region: Region, request: Request) -> Response:
    """``DescribePipelineDefinitionForExecution``."""
    execution = region.execution(request["PipelineExecutionArn"])
    return {"PipelineDefinition": execution.version.definition, "CreationTime": execution.version.created}


def list_pipeline_executions(region: Region, request: Request) -> Response:
    """``ListPipelineExecutions``."""
    pipeline = region.pipeline(request["PipelineName"])
    version = pipeline.version(request) if "PipelineVersionAlias" in request else None
    pairs = [
        (execution, record)
        for execution in pipeline.executions.values()
        if version in (None, execution.version)
        and is_between(request, _start(record := execution.record), after="CreatedAfter", before="CreatedBefore")
    ]
    keys = {"PipelineExecutionArn": lambda pair: pair[0].arn, "CreationTime": lambda pair: pair[1].start}
    ordered = in_order(pairs, request, keys=keys, default="CreationTime", is_descending=True)
    return page(request, [_summary(*pair) for pair in ordered], name="PipelineExecutionSummaries")


def list_pipeline_execution_steps(region: Region, request: Request) -> Response:
    """``ListPipelineExecutionSteps``."""
    if "PipelineExecutionArn" not in request:  # not required by the service model, but by the service
        raise ValidationError("PipelineExecutionArn is required")
    record = region.execution(request["PipelineExecutionArn"]).record
    steps = [step.describe() for step in record.steps]
    for step in steps:
        step |= {name: moment(step[name]) for name in ("StartTime", "EndTime") if name in step}
    if request.get("SortOrder") != "Ascending":
        steps.reverse()
    return page(request, steps, name="PipelineExecutionSteps")


def list_pipeline_parameters_for_execution(region: Region, request: Request) -> Response:
    """``ListPipelineParametersForExecution``."""
    values = region.execution(request["PipelineExecutionArn"]).record.parameters
    listed = [
        {"Name": name, "Value": value if isinstance(value, str) else json.dumps(value)}
        for name, value in values.items()
    ]
    return page(request, listed, name="PipelineParameters")


def _summary(execution: Execution, record: ExecutionRecord) -> Response:
    return present(
        {
            "PipelineExecutionArn": execution.arn,
            "StartTime": moment(record.start),
            "PipelineExecutionStatus": str(record.status),
            "PipelineExecutionDescription": execution.description,
            "PipelineExecutionDisplayName": execution.display_name,
            "PipelineExecutionFailureReason": record.failure,
            "PipelineVersionAliases": execution.version.aliases or None,
        }
    )


def _start(record: ExecutionRecord) -> Any:
    return moment(record.start)


def _modified(execution: Execution, record: ExecutionRecord) -> Any:
    """Return the time of the last change: of a step, of the status, or by a request."""
    times = [record.end, *(time for step in record.steps for time in (step.start, step.end))]
    return max([execution.modified, *(time for text in times if (time := moment(text)))])


def _without_name(request: Request) -> Request:
    """Return a request without the name of the pipeline, which can be its ARN, too."""
    return {name: value for name, value in request.items() if name != "PipelineName"}


def _parameters(request: Request) -> dict[str, str]:
    items = request.get("PipelineParameters") or []
    texts = {item["Name"]: item["Value"] for item in items}
    if len(texts) < len(items):
        raise ValidationError("PipelineParameters: a parameter is given twice")
    return texts


def _selection(region: Region, pipeline: Pipeline, request: Request, definition: Definition) -> Selection | None:
    """Return the steps of a selective execution; None if all steps are executed.

    Raises:
        DefinitionError: the selection does not fit to the definition or to the earlier execution.
        ValidationError: the earlier execution is not one of this pipeline, or has not ended.
    """
    config = request.get("SelectiveExecutionConfig")
    if config is None:
        return None
    source = None
    if "SourcePipelineExecutionArn" in config:
        execution = region.execution(config["SourcePipelineExecutionArn"])
        source = execution.record
        if execution.pipeline is not pipeline or source.status not in ("Succeeded", "Failed"):
            raise ValidationError(
                f"SourcePipelineExecutionArn: {execution.arn} is not an execution of pipeline '{pipeline.name}' "
                "that succeeded or failed"
            )
    return select_steps(definition, [step["StepName"] for step in config["SelectedSteps"]], source=source)
