"""A pipeline compiled to a SageMaker pipeline definition: no AWS call, no credentials, equal bytes on every call.

The steps become jobs (`mlops_sagemaker.compiler.jobs`), the gate a Condition step whose conditions are
`mlops_sagemaker.compiler.gates`; an accepted model is registered, a rejected one ends the execution as failed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core import ConfigError, ParameterType, StepKind
from mlops_core.runners import EVALUATION_OUTPUT, PipelineError, did_you_mean
from mlops_core.runners.container.request import GATE_OUTPUT, code_digest
from mlops_sagemaker.compiler import expressions as ex
from mlops_sagemaker.compiler.gates import compile_gate
from mlops_sagemaker.compiler.job_graph import BUCKET, IMAGE, MERGE_SUFFIX, ROLE, SEED, JobContext, jobs_of
from mlops_sagemaker.compiler.jobs import RETRY_POLICIES, emit_job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core import Parameter, Step
    from mlops_core.runners import ParameterValue, RunRequest
    from mlops_sagemaker.settings import CompileSettings

VERSION = "2020-12-01"
GROUP, APPROVAL = "ModelPackageGroupName", "ModelApprovalStatus"
GATE_STEP, REGISTER_STEP, FAIL_STEP = "gate", "register", "fail"
RESERVED_PARAMETERS = (ROLE, BUCKET, IMAGE, GROUP, APPROVAL, SEED)
_TYPES = {
    ParameterType.FLOAT: "Float",
    ParameterType.INTEGER: "Integer",
    ParameterType.STRING: "String",
    ParameterType.BOOLEAN: "Boolean",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A compiled pipeline.

    Attributes:
        data: the definition as JSON types.
        dataset: catalogue name of the data set that it reads below ``train/datasets/`` of the bucket.
        max_parallel_steps: of one execution; said when the pipeline is created. None for the service's default.
    """

    data: Mapping[str, Any]
    dataset: str
    max_parallel_steps: int | None = None

    def to_text(self) -> str:
        """Return the definition as people read it; equal for equal pipelines."""
        return json.dumps(self.data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_compact_text(self) -> str:
        """Return the definition as it is submitted."""
        return json.dumps(self.data, separators=(",", ":"), allow_nan=False)


def compile_pipeline(request: RunRequest, settings: CompileSettings, *, dataset_digest: str = "") -> Definition:
    """Return the definition of a use case's pipeline.

    Args:
        request: what a local run would be given; its parameters and seed become the defaults.
        settings: of the account and the steps.
        dataset_digest: of the data set; without it, the service may not reuse results of steps that read it.

    Raises:
        PipelineError: a name is taken, or a step's configuration is too large for a container's command.
        ConfigError: a secret would be written into the definition, or the settings name an unknown step.
    """
    from mlops_core.runners import CodeIndex

    _check_names(request)
    _check_secrets(request)
    _check_settings(request, settings)
    index = CodeIndex()
    context = JobContext(
        use_case=request.use_case.name,
        pipeline=request.pipeline,
        sections=request.config.sections(),
        code={step.name: code_digest(request.use_case, step, code=index) for step in request.pipeline.steps},
        settings=settings,
        dataset_digest=dataset_digest,
    )
    data = {
        "Version": VERSION,
        "Metadata": {},
        "Parameters": list(_parameters(request, settings)),
        "PipelineExperimentConfig": {"ExperimentName": ex.PIPELINE_NAME, "TrialName": ex.EXECUTION_ID},
        "Steps": list(_steps(request, context)),
    }
    return Definition(
        data=json.loads(json.dumps(data)),
        dataset=request.pipeline.dataset,
        max_parallel_steps=settings.account.max_parallel_steps,
    )


def _steps(request: RunRequest, context: JobContext) -> Iterator[dict[str, Any]]:
    for step in request.pipeline.ordered():
        for job in jobs_of(step, context):
            yield _merged(emit_job(job, context), context.settings_of(step).raw)
    yield condition_step(request, context)
    yield from context.settings.raw_steps


# --- Parameters -------------------------------------------------------------------------------------------


def _parameters(request: RunRequest, settings: CompileSettings) -> Iterator[dict[str, Any]]:
    account = settings.account
    yield _text(ROLE, account.role)
    yield _text(BUCKET, account.bucket)
    yield _text(IMAGE, account.image)
    yield _text(GROUP, account.model_package_group or model_package_group(request.use_case.name))
    approvals = ["PendingManualApproval", "Approved", "Rejected"]
    yield _text(APPROVAL, account.approval_status) | {"EnumValues": approvals}
    yield {"Name": SEED, "Type": "Integer", "DefaultValue": request.seed}
    for parameter in request.pipeline.parameters:
        yield _declared(parameter, request.parameters[parameter.name])


def _text(name: str, default: str | None) -> dict[str, Any]:
    found = {"Name": name, "Type": "String"}
    return found if default is None else {**found, "DefaultValue": default}


def _declared(parameter: Parameter, value: ParameterValue) -> dict[str, Any]:
    return {"Name": parameter.name, "Type": _TYPES[parameter.type], "DefaultValue": value}


def model_package_group(use_case: str) -> str:
    """Return the name of the use case as the service accepts it for a group: hyphens for underscores."""
    return "-".join(part for part in use_case.replace("_", "-").split("-") if part)


# --- After the evaluation ---------------------------------------------------------------------------------


def condition_step(request: RunRequest, context: JobContext) -> dict[str, Any]:
    """Return the gate: register the model if every condition holds, else fail."""
    conditions = compile_gate(request.pipeline, evaluation=context.evaluation_job())
    arguments = {
        "Conditions": conditions,
        "IfSteps": [register_step(request, context)],
        "ElseSteps": [fail_step(context)],
    }
    return {"Name": GATE_STEP, "Type": "Condition", "Arguments": arguments}


def fail_step(context: JobContext) -> dict[str, Any]:
    """Return the end of a rejected model; its message is the verdict that the evaluation's container left.

    A definition cannot say which of several clauses failed, so the text is a property of the evaluation's job.
    """
    message = ex.step_property(context.evaluation_job(), "ExitMessage")
    return {"Name": FAIL_STEP, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def register_step(request: RunRequest, context: JobContext) -> dict[str, Any]:
    """Return the registration: a model package with its metrics, its approval status and what it was made from."""
    evaluation = ex.processing_output(context.evaluation_job(), EVALUATION_OUTPUT)
    statistics = {"ContentType": "application/json", "S3Uri": ex.join("/", evaluation, "evaluation.json")}
    arguments = {
        "ModelPackageGroupName": ex.parameter(GROUP),
        "ModelPackageDescription": f"{request.use_case.name}, accepted by: {request.pipeline.gate.condition}"[:1024],
        "ModelMetrics": {"ModelQuality": {"Statistics": statistics}},
        "InferenceSpecification": _inference(context),
        "ModelApprovalStatus": ex.parameter(APPROVAL),
        "CustomerMetadataProperties": {
            "use_case": request.use_case.name,
            "plugin": f"{request.use_case.installed.distribution} {request.use_case.installed.version}",
            "dataset": request.pipeline.dataset,
            "execution": ex.EXECUTION_ID,
        },
    }
    retries = [dict(RETRY_POLICIES[0])]
    return {"Name": REGISTER_STEP, "Type": "RegisterModel", "Arguments": arguments, "RetryPolicies": retries}


def _inference(context: JobContext) -> dict[str, Any]:
    inference = context.settings.inference
    source = context.source(context.pipeline.model)
    container: dict[str, Any] = {"Image": inference.image or ex.parameter(IMAGE)}
    if source.packed == "":
        container["ModelDataUrl"] = source.uri
    else:
        container["ModelDataSource"] = {"S3DataSource": _model_folder(source.uri, source.packed)}
    return {
        "Containers": [container],
        "SupportedContentTypes": list(inference.content_types),
        "SupportedResponseMIMETypes": list(inference.response_types),
        "SupportedRealtimeInferenceInstanceTypes": list(inference.realtime_instances),
        "SupportedTransformInstanceTypes": list(inference.transform_instances),
    }


def _model_folder(uri: ex.Expression, packed: str | None) -> dict[str, Any]:
    if packed is not None:
        raise PipelineError("the registered model must be a step's own output, not one folder of an archive")
    return {"S3Uri": ex.join("/", uri, ""), "S3DataType": "S3Prefix", "CompressionType": "None"}


# --- What is refused --------------------------------------------------------------------------------------


def _check_names(request: RunRequest) -> None:
    pipeline = request.pipeline
    for parameter in pipeline.parameters:
        if parameter.name in RESERVED_PARAMETERS:
            raise PipelineError(
                f"parameter '{parameter.name}' is a definition's own; reserved: {', '.join(RESERVED_PARAMETERS)}"
            )
    names = {step.name for step in pipeline.steps}
    for step in pipeline.steps:
        if step.shards > 1 and f"{step.name}{MERGE_SUFFIX}" in names:
            raise PipelineError(f"step '{step.name}{MERGE_SUFFIX}': the name is that of the merge of '{step.name}'")
        if len(step.name) + len(MERGE_SUFFIX) > 64 and step.shards > 1:
            raise PipelineError(f"step '{step.name}': its name is too long for the name of its merge, 64 characters")
    if GATE_OUTPUT in pipeline.evaluation_step.outputs:
        raise PipelineError(f"step '{pipeline.evaluation_step.name}': the output '{GATE_OUTPUT}' is core's own")


def _check_secrets(request: RunRequest) -> None:
    for step in request.pipeline.steps:
        for section in step.config:
            for key in sorted(request.config.secrets):
                if key == section or key.startswith((f"{section}.", f"{section}[")):
                    raise ConfigError(
                        f"{key} is a secret, and step '{step.name}' reads it: a definition is readable by everybody in "
                        "the account; keep it out of the configuration and let the step's role fetch it"
                    )


def _check_settings(request: RunRequest, settings: CompileSettings) -> None:
    steps = {step.name: step for step in request.pipeline.steps}
    for name, changed in settings.steps.items():
        if name not in steps:
            raise ConfigError(f"steps.{name}: no such step{did_you_mean(name, steps) or ';'} steps: {', '.join(steps)}")
        step = steps[name]
        if (changed.spot or changed.checkpoints) and step.kind is not StepKind.TRAINING:
            raise ConfigError(f"steps.{name}: spot and checkpoints are for training steps; it is of kind {step.kind}")
        _check_sharded(step, changed.sharded_inputs)


def _check_sharded(step: Step, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in step.inputs:
            raise ConfigError(
                f"steps.{step.name}.sharded_inputs: no input '{name}'{did_you_mean(name, step.inputs) or ';'} "
                f"inputs: {', '.join(step.inputs)}"
            )
    if names and (step.shards == 1 or step.merge or step.kind is StepKind.EVALUATION):
        raise ConfigError(
            f"steps.{step.name}.sharded_inputs: the step must have shards, no merge of its own, and be no evaluation"
        )


def _merged(step: dict[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the step with `raw` laid over it; dicts are merged key by key, everything else is replaced."""
    result = dict(step)
    for key, value in raw.items():
        current = result.get(key)
        result[key] = _merged(current, value) if isinstance(current, dict) and isinstance(value, dict) else value
    return result


__all__ = ["RESERVED_PARAMETERS", "Definition", "compile_pipeline", "model_package_group"]
