"""Operations that moto lacks or does not execute, installed in its response classes while an endpoint runs."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult, EmptyResult
from moto.iam.responses import IamResponse
from moto.sagemaker.exceptions import ConflictException, ResourceNotFound, ValidationError
from moto.sagemaker.responses import SageMakerResponse

from mlops_core.runners import DefinitionError
from mlops_sagemaker.checking import check_text
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.endpoint.executions import EndpointExecutions, ExecutionStart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_sagemaker.service.executions import ExecutionRecord

_SHOWN = 5
_PAGE = 100
_MARK = "_mlops_endpoint"


class ReplacedCalls:
    """Methods that replace those of moto's response classes from `install` to `remove`."""

    def __init__(self, calls: Mapping[tuple[type, str], Callable[[Any], Any]]) -> None:
        """Keep the replacements, by response class and method name."""
        self._calls = calls
        self._former: dict[tuple[type, str], Any] = {}

    def install(self) -> bool:
        """Install the methods; return False if another endpoint has installed its own."""
        if getattr(SageMakerResponse, _MARK, None) is not None:
            return False
        setattr(SageMakerResponse, _MARK, self)
        for (owner, name), call in self._calls.items():
            self._former[owner, name] = owner.__dict__.get(name)
            setattr(owner, name, call)
        return True

    def remove(self) -> None:
        """Restore the methods of moto."""
        for (owner, name), former in self._former.items():
            if former is None:
                delattr(owner, name)
            else:
                setattr(owner, name, former)
        delattr(SageMakerResponse, _MARK)
        self._former.clear()


def replaced_calls(executions: EndpointExecutions) -> ReplacedCalls:
    """Return the replaced operations of an endpoint with these executions."""
    calls = _PipelineCalls(executions)
    names = [name for name in dir(_PipelineCalls) if not name.startswith("_")]
    methods: dict[tuple[type, str], Callable[[Any], Any]] = {
        (SageMakerResponse, name): _bound(getattr(calls, name)) for name in names
    }
    return ReplacedCalls(methods | {(IamResponse, "simulate_principal_policy"): _simulate_principal_policy})


def _bound(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def method(response: Any) -> Any:
        return call(response)

    return method


def _simulate_principal_policy(response: Any) -> Any:
    """Report every action as allowed, because the endpoint checks no permissions."""
    resource = (_field(response, "ResourceArns") or ["*"])[0]
    results = [
        {"EvalActionName": name, "EvalResourceName": resource, "EvalDecision": "allowed"}
        for name in _field(response, "ActionNames") or ()
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


class _PipelineCalls:
    """A method for each operation; `response` is moto's response object, with request, account and region."""

    def __init__(self, executions: EndpointExecutions) -> None:
        self._executions = executions
        self._tokens: dict[tuple[str, str], str] = {}
        self._moto: dict[str, Any] = {name: SageMakerResponse.__dict__.get(name) for name in dir(type(self))}

    def _by_moto(self, name: str, response: Any) -> Any:
        return self._moto[name](response)

    # --- Pipelines ----------------------------------------------------------------------------------------

    def create_pipeline(self, response: Any) -> Any:
        _require_definition(response)
        return self._by_moto("create_pipeline", response)

    def update_pipeline(self, response: Any) -> Any:
        _pipeline(response)
        if _field(response, "PipelineDefinition") or _field(response, "PipelineDefinitionS3Location"):
            _require_definition(response)
        return self._by_moto("update_pipeline", response)

    def describe_pipeline(self, response: Any) -> Any:
        _pipeline(response)
        return self._by_moto("describe_pipeline", response)

    def delete_pipeline(self, response: Any) -> Any:
        _pipeline(response)
        return self._by_moto("delete_pipeline", response)

    # --- Executions ---------------------------------------------------------------------------------------

    def start_pipeline_execution(self, response: Any) -> Any:
        pipeline = _pipeline(response)
        token = (pipeline.arn, _field(response, "ClientRequestToken") or "")
        if token[1] and token in self._tokens:
            return ActionResult({"PipelineExecutionArn": self._tokens[token]})
        texts = {item["Name"]: item["Value"] for item in _field(response, "PipelineParameters") or ()}
        try:
            definition = parse_definition(_text(pipeline.pipeline_definition))
            values = definition.values(texts)
        except DefinitionError as error:
            raise ValidationError(str(error)) from error
        parallelism = _field(response, "ParallelismConfiguration") or pipeline.parallelism_configuration or {}
        result = self._by_moto("start_pipeline_execution", response)
        arn = _value(result, "PipelineExecutionArn")
        self._tokens[token] = arn
        start = ExecutionStart(
            definition=definition,
            arn=arn,
            pipeline=pipeline.pipeline_name,
            values=values,
            max_parallel=parallelism.get("MaxParallelExecutionSteps"),
        )
        self._executions.start(start)
        return result

    def describe_pipeline_execution(self, response: Any) -> Any:
        record = self._record(response)
        description = dict(self._by_moto("describe_pipeline_execution", response).result)
        description |= _status(record) | {"LastModifiedTime": _time(record.end or record.start)}
        description["CreationTime"] = _time(record.start)
        return ActionResult({name: value for name, value in description.items() if value not in ("", None)})

    def list_pipeline_executions(self, response: Any) -> Any:
        pipeline = _pipeline(response)
        records = [record for record in self._executions.records() if record.arn.startswith(f"{pipeline.arn}/")]
        if _field(response, "SortOrder") == "Ascending":
            records.reverse()
        summaries = [
            {
                "PipelineExecutionArn": record.arn,
                "StartTime": _time(record.start),
                "PipelineExecutionStatus": str(record.status),
                "PipelineExecutionDisplayName": _display_name(pipeline, record),
                **({"PipelineExecutionFailureReason": record.failure} if record.failure else {}),
            }
            for record in records
        ]
        return _page(response, "PipelineExecutionSummaries", summaries)

    def list_pipeline_execution_steps(self, response: Any) -> Any:
        steps = [step.describe() for step in self._record(response).steps]
        for step in steps:
            step |= {name: _time(step[name]) for name in ("StartTime", "EndTime") if name in step}
        if _field(response, "SortOrder") != "Ascending":
            steps.reverse()
        return _page(response, "PipelineExecutionSteps", steps)

    def stop_pipeline_execution(self, response: Any) -> Any:
        record = self._record(response)
        if record.status.is_final:
            raise ConflictException(f"Only pipelines with 'Executing' status can be stopped: {record.arn}")
        self._executions.stop(record.arn)
        return ActionResult({"PipelineExecutionArn": record.arn})

    def retry_pipeline_execution(self, response: Any) -> Any:
        record = self._record(response)
        if record.status not in ("Failed", "Stopped"):
            raise ConflictException(f"Only failed or stopped executions can be retried: {record.arn}")
        self._executions.retry(record.arn)
        return ActionResult({"PipelineExecutionArn": record.arn})

    # --- Callback steps -----------------------------------------------------------------------------------

    def send_pipeline_execution_step_success(self, response: Any) -> Any:
        outputs = {item["Name"]: item["Value"] for item in _field(response, "OutputParameters") or ()}
        return self._answer(response, outputs=outputs)

    def send_pipeline_execution_step_failure(self, response: Any) -> Any:
        return self._answer(response, outputs=None, reason=_field(response, "FailureReason") or "")

    def _answer(self, response: Any, *, outputs: Mapping[str, Any] | None, reason: str = "") -> Any:
        token = _field(response, "CallbackToken")
        arn = self._executions.answer(token, outputs=outputs, reason=reason)
        if arn is None:
            raise ResourceNotFound(message=f"No step waits for the callback token {token}.")
        return ActionResult({"PipelineExecutionArn": arn})

    # --- Jobs ---------------------------------------------------------------------------------------------

    def describe_processing_job(self, response: Any) -> Any:
        job = self._job(_field(response, "ProcessingJobName"), kind="Processing")
        return ActionResult(job) if job else self._by_moto("describe_processing_job", response)

    def describe_training_job(self, response: Any) -> Any:
        job = self._job(_field(response, "TrainingJobName"), kind="Training")
        return ActionResult(job) if job else self._by_moto("describe_training_job", response)

    def _job(self, name: str, *, kind: str) -> dict[str, Any] | None:
        for record in self._executions.records():
            for step in record.steps:
                if step.properties.get(f"{kind}JobName") == name:
                    status = {"Failed": "Failed", "Stopped": "Stopped"}.get(step.status)
                    job = dict(step.properties) | {"CreationTime": _time(step.start)}
                    job |= {f"{kind}JobStatus": status, "FailureReason": step.failure} if status else {}
                    return {key: value for key, value in job.items() if value not in ("", None)}
        return None

    # --- Model packages -----------------------------------------------------------------------------------

    def update_model_package(self, response: Any) -> Any:
        result = self._by_moto("update_model_package", response)
        arn = _value(result, "ModelPackageArn")
        package = response.sagemaker_backend.model_packages[arn]
        self._executions.account(arn).send_package(
            {
                "ModelPackageGroupName": package.model_package_group_name,
                "ModelPackageVersion": package.model_package_version,
                "ModelPackageArn": arn,
                "ModelPackageStatus": package.model_package_status,
                "ModelApprovalStatus": package.model_approval_status,
            }
        )
        return result

    def delete_model_package(self, response: Any) -> Any:
        backend = response.sagemaker_backend
        name = _field(response, "ModelPackageName")
        arn = backend.model_package_name_mapping.get(name, name)
        if arn not in backend.model_packages:
            raise ValidationError(f"ModelPackage {name} does not exist.")
        del backend.model_packages[arn]
        for alias in [alias for alias, target in backend.model_package_name_mapping.items() if target == arn]:
            del backend.model_package_name_mapping[alias]
        return EmptyResult()

    def delete_model_package_group(self, response: Any) -> Any:
        backend = response.sagemaker_backend
        name = _field(response, "ModelPackageGroupName").rpartition("/")[2]
        if name not in backend.model_package_groups:
            raise ValidationError(f"Model Package Group {name} does not exist.")
        if any(package.model_package_group_name == name for package in backend.model_packages.values()):
            raise ConflictException(f"Model Package Group {name} is not empty.")
        del backend.model_package_groups[name]
        return EmptyResult()

    def _record(self, response: Any) -> ExecutionRecord:
        arn = _field(response, "PipelineExecutionArn")
        record = self._executions.record(arn)
        if record is None:
            raise ResourceNotFound(message=f"Pipeline execution {arn} does not exist.")
        return record


def _field(response: Any, name: str, default: Any = None) -> Any:
    """Return a field of the request, as moto's own methods read it."""
    return response._get_param(name, default)  # noqa: SLF001  moto has no public accessor


def _pipeline(response: Any) -> Any:
    name = _field(response, "PipelineName").rpartition("/")[2]
    pipeline = response.sagemaker_backend.pipelines.get(name)
    if pipeline is None:
        raise ResourceNotFound(message=f"Pipeline '{name}' does not exist.")
    return pipeline


def _require_definition(response: Any) -> None:
    """Raise for a definition with faults.

    Raises:
        ValidationError: the definition has faults; contains the first ones.
    """
    text = _field(response, "PipelineDefinition")
    if not text:
        text = _from_s3(response, _field(response, "PipelineDefinitionS3Location") or {})
    faults = check_text(text)
    if faults:
        shown = "; ".join(map(str, faults[:_SHOWN])) + (
            f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        )
        raise ValidationError(f"Unable to parse pipeline definition. {shown}")


def _from_s3(response: Any, location: Mapping[str, Any]) -> str:
    from moto.s3.models import s3_backends

    backend = s3_backends[response.sagemaker_backend.account_id][response.sagemaker_backend.partition]
    key = backend.get_object(location.get("Bucket", ""), location.get("ObjectKey", ""))
    if key is None:
        raise ValidationError(f"The pipeline definition {dict(location)} does not exist.")
    return bytes(key.value).decode()


def _text(definition: Any) -> str:
    """Return a definition as text; moto stores definitions from S3 as parsed JSON."""
    return definition if isinstance(definition, str) else json.dumps(definition)


def _value(result: Any, name: str) -> str:
    return str(result.result[name])


def _status(record: ExecutionRecord) -> dict[str, Any]:
    return {"PipelineExecutionStatus": str(record.status), "FailureReason": record.failure}


def _display_name(pipeline: Any, record: ExecutionRecord) -> str:
    execution = pipeline.pipeline_executions.get(record.arn)
    name = execution.pipeline_execution_display_name if execution else None
    return str(name or f"execution-{record.execution_id}")


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _page(response: Any, name: str, items: list[dict[str, Any]]) -> Any:
    """Return the requested page of `items`."""
    size = int(_field(response, "MaxResults") or _PAGE)
    start = int(_field(response, "NextToken") or 0)
    page: dict[str, Any] = {name: items[start : start + size]}
    if start + size < len(items):
        page["NextToken"] = str(start + size)
    return ActionResult(page)
