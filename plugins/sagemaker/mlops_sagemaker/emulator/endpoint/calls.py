"""The operations of SageMaker that the endpoint serves, and those of moto that it completes.

Operations are those of this package, those that moto serves (experiments and others), and those that
are refused by name: because neither can do them, or because moto would report work as done that nobody did.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from moto.core.base_backend import BackendDict
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores, method_names_from_class
from moto.iam.models import iam_backends
from moto.iam.responses import IamResponse
from moto.sagemaker.responses import SageMakerResponse

from mlops_sagemaker.emulator.endpoint.inference import configurations, models
from mlops_sagemaker.emulator.endpoint.monitoring.scaling import ScalableVariants
from mlops_sagemaker.emulator.endpoint.operations import executions, packages, pipelines, tags
from mlops_sagemaker.emulator.endpoint.operations.jobs import job_calls
from mlops_sagemaker.emulator.endpoint.protocol.errors import UnsupportedError
from mlops_sagemaker.emulator.endpoint.protocol.model import operations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_sagemaker.emulator.endpoint.executions import EndpointExecutions
    from mlops_sagemaker.emulator.endpoint.inference.endpoints import HostedEndpoints
    from mlops_sagemaker.emulator.endpoint.inference.transforms import TransformJobs
    from mlops_sagemaker.emulator.endpoint.monitoring.metrics import MetricAlarms
    from mlops_sagemaker.emulator.endpoint.monitoring.scaling import FindVariant
    from mlops_sagemaker.emulator.endpoint.state import Region
    from mlops_sagemaker.emulator.endpoint.surroundings import Account

    Request = Mapping[str, Any]
    Response = dict[str, Any]
    Call = Callable[[Region, Request], Response]

_MARK = "_mlops_endpoint"
_SIMULATE = "simulate_principal_policy"
_ONLY_IN_PIPELINES = "jobs run only as steps of a pipeline here"
_REFUSED = {
    "CreateProcessingJob": _ONLY_IN_PIPELINES,
    "CreateTrainingJob": _ONLY_IN_PIPELINES,
    "CreateHyperParameterTuningJob": _ONLY_IN_PIPELINES,
    "CreateAutoMLJobV2": _ONLY_IN_PIPELINES,
    "CreateCompilationJob": _ONLY_IN_PIPELINES,
    "StopProcessingJob": "stop the execution of the pipeline",
    "DeleteHyperParameterTuningJob": "delete the pipeline",
}
"""Operations that moto serves without doing the work."""
_SEARCHED = ("Experiment", "ExperimentTrial", "ExperimentTrialComponent")


def own_calls(
    engine: EndpointExecutions,
    account: Callable[[Region], Account],
    *,
    transforms: TransformJobs,
    endpoints: HostedEndpoints,
) -> dict[str, Call]:
    """Return the operations of this package by name.

    Args:
        engine: carries out executions.
        account: returns the access to the services of the endpoint in a region.
        transforms: carries out transform jobs.
        endpoints: serves models.
    """
    inference: dict[str, Call] = {
        "CreateTransformJob": transforms.create,
        "StopTransformJob": transforms.stop,
        "CreateEndpoint": endpoints.create,
        "UpdateEndpoint": endpoints.update,
        "UpdateEndpointWeightsAndCapacities": endpoints.update_weights,
        "DescribeEndpoint": endpoints.describe,
        "ListEndpoints": endpoints.list,
        "DeleteEndpoint": endpoints.delete,
        "DeleteEndpointConfig": functools.partial(configurations.delete_configuration, is_used=endpoints.is_used),
    }
    own = {**_pipeline_calls(engine), **_package_calls(account), **job_calls(), **inference, **_model_calls()}
    return own | _tag_calls(endpoints)


def _pipeline_calls(engine: EndpointExecutions) -> dict[str, Call]:
    calls = executions.ExecutionCalls(engine)
    return {
        "CreatePipeline": pipelines.create_pipeline,
        "UpdatePipeline": pipelines.update_pipeline,
        "DescribePipeline": pipelines.describe_pipeline,
        "DeletePipeline": pipelines.delete_pipeline,
        "ListPipelines": pipelines.list_pipelines,
        "ListPipelineVersions": pipelines.list_pipeline_versions,
        "UpdatePipelineVersion": pipelines.update_pipeline_version,
        "StartPipelineExecution": calls.start,
        "StopPipelineExecution": calls.stop,
        "RetryPipelineExecution": calls.retry,
        "UpdatePipelineExecution": calls.update,
        "SendPipelineExecutionStepSuccess": calls.send_success,
        "SendPipelineExecutionStepFailure": calls.send_failure,
        "DescribePipelineExecution": executions.describe_pipeline_execution,
        "DescribePipelineDefinitionForExecution": executions.describe_pipeline_definition_for_execution,
        "ListPipelineExecutions": executions.list_pipeline_executions,
        "ListPipelineExecutionSteps": executions.list_pipeline_execution_steps,
        "ListPipelineParametersForExecution": executions.list_pipeline_parameters_for_execution,
    }


def _package_calls(account: Callable[[Region], Account]) -> dict[str, Call]:
    def create(region: Region, request: Request) -> Response:
        return packages.create_model_package(region, request, account=account(region))

    def update(region: Region, request: Request) -> Response:
        return packages.update_model_package(region, request, account=account(region))

    return {
        "CreateModelPackageGroup": packages.create_model_package_group,
        "DescribeModelPackageGroup": packages.describe_model_package_group,
        "DeleteModelPackageGroup": packages.delete_model_package_group,
        "ListModelPackageGroups": packages.list_model_package_groups,
        "PutModelPackageGroupPolicy": packages.put_model_package_group_policy,
        "GetModelPackageGroupPolicy": packages.get_model_package_group_policy,
        "DeleteModelPackageGroupPolicy": packages.delete_model_package_group_policy,
        "CreateModelPackage": create,
        "DescribeModelPackage": packages.describe_model_package,
        "BatchDescribeModelPackage": packages.batch_describe_model_package,
        "UpdateModelPackage": update,
        "DeleteModelPackage": packages.delete_model_package,
        "ListModelPackages": packages.list_model_packages,
    }


def _model_calls() -> dict[str, Call]:
    return {
        "CreateModel": models.create_model,
        "DescribeModel": models.describe_model,
        "DeleteModel": models.delete_model,
        "ListModels": models.list_models,
        "CreateEndpointConfig": configurations.create_configuration,
        "DescribeEndpointConfig": configurations.describe_configuration,
        "ListEndpointConfigs": configurations.list_configurations,
    }


def _tag_calls(endpoints: HostedEndpoints) -> dict[str, Call]:
    calls = {"AddTags": tags.add_tags, "DeleteTags": tags.delete_tags, "ListTags": tags.list_tags}
    return {name: functools.partial(call, is_endpoint=endpoints.has_arn) for name, call in calls.items()}


@functools.cache
def _of_moto() -> frozenset[str]:
    methods = set(method_names_from_class(SageMakerResponse))
    return frozenset(name for name in operations() if camelcase_to_underscores(name) in methods)


def require_served_by_moto(operation: str) -> None:
    """Raise for an operation that moto does not serve, or only seems to.

    Raises:
        UnsupportedError: names the operation.
    """
    if operation not in operations():
        raise UnsupportedError(f"SageMaker has no operation {operation!r}.")
    reason = _REFUSED.get(operation)
    if reason or operation not in _of_moto():
        raise UnsupportedError(f"{operation} is not supported by this endpoint{f': {reason}' if reason else ''}.")


def require_sensible(operation: str, request: Request) -> None:
    """Raise for a request that moto would answer wrongly.

    Raises:
        UnsupportedError: moto does not have the resources that are searched.
    """
    if operation == "Search" and request["Resource"] not in _SEARCHED:
        raise UnsupportedError(f"Search for {request['Resource']} is not supported by this endpoint.")


class CompletedMoto:
    """Methods of moto's response classes that are replaced from `install` to `remove`."""

    def __init__(self, alarms: MetricAlarms, find_variant: FindVariant) -> None:
        """Replace nothing yet.

        Args:
            alarms: evaluates the alarms of CloudWatch.
            find_variant: returns the variants that can be scaled.
        """
        self._former: Any = None
        self._alarms = alarms
        self._scaling = ScalableVariants()
        self._find_variant = find_variant

    def install(self) -> bool:
        """Install the methods; return False if another endpoint has installed its own."""
        if getattr(SageMakerResponse, _MARK, None) is not None:
            return False
        setattr(SageMakerResponse, _MARK, self)
        self._former = IamResponse.__dict__.get(_SIMULATE)
        setattr(IamResponse, _SIMULATE, _simulate_principal_policy)
        self._alarms.install()
        self._scaling.install(self._find_variant)
        return True

    def secret_of(self, access_key: str) -> str | None:
        """Return the secret of an access key that IAM or STS has issued; None if there is none."""
        for account in tuple(iam_backends.values()):
            for backend in tuple(account.values()):
                key = backend.access_keys.get(access_key)
                if key is not None and key.status == "Active":
                    return str(key.secret_access_key)
        return None

    def remove(self) -> None:
        """Restore the methods of moto, and drop all its state."""
        self._alarms.remove()
        self._scaling.remove()
        BackendDict.reset()
        delattr(SageMakerResponse, _MARK)
        if self._former is None:
            delattr(IamResponse, _SIMULATE)
        else:
            setattr(IamResponse, _SIMULATE, self._former)


def _simulate_principal_policy(response: Any) -> Any:
    """Report every action as allowed, because the endpoint checks no permissions."""
    resource = (_field(response, "ResourceArns") or ["*"])[0]
    results = [
        {"EvalActionName": name, "EvalResourceName": resource, "EvalDecision": "allowed"}
        for name in _field(response, "ActionNames") or ()
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _field(response: Any, name: str) -> Any:
    """Return a field of the request, as moto's own methods read it."""
    return response._get_param(name)  # noqa: SLF001  moto has no public accessor


def as_json(value: Any) -> str:
    """Return a response in the JSON protocol, in which times are seconds."""
    return json.dumps(value, default=lambda moment: moment.timestamp())
