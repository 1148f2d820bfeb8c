"""Compiles a pipeline to a SageMaker pipeline definition, without AWS calls or credentials, and deterministically.

Steps become jobs (`mlops_sagemaker.compiler.jobs`). The gate becomes a Condition step with the conditions of
`mlops_sagemaker.compiler.gates`: an accepted model is registered, a rejected one ends the execution as failed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core import ConfigError, ParameterType, StepKind
from mlops_core.runners import EVALUATION_OUTPUT, PipelineError, did_you_mean, find_searches, is_selection
from mlops_core.runners.container.request import CHAMPION_INPUT, GATE_OUTPUT, code_digest
from mlops_sagemaker.compiler import expressions as ex
from mlops_sagemaker.compiler.gates import compile_gate
from mlops_sagemaker.compiler.ingestion import (
    ANNOTATIONS_URI,
    DATASET_URI,
    DATASET_VERSION,
    dataset_properties,
    ingest_parameters,
    ingest_step,
)
from mlops_sagemaker.compiler.job_graph import (
    BUCKET,
    CHAMPION,
    IMAGE,
    INGEST_STEP,
    MERGE_SUFFIX,
    MODEL_SUFFIX,
    ROLE,
    SEED,
    SERVING_IMAGE,
    JobContext,
    jobs_of,
)
from mlops_sagemaker.compiler.jobs import RETRY_POLICIES, emit_job
from mlops_sagemaker.compiler.searches import search_step
from mlops_sagemaker.compiler.secrets import check_definition_texts, check_request
from mlops_sagemaker.compiler.transform import transform_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core import Parameter, Pipeline, Step
    from mlops_core.runners import CodeIndex, ParameterValue, RunRequest
    from mlops_sagemaker.settings import CompileSettings

VERSION = "2020-12-01"
GROUP, APPROVAL = "ModelPackageGroupName", "ModelApprovalStatus"
GATE_STEP, REGISTER_STEP, FAIL_STEP = "gate", "register", "fail"
RESERVED_PARAMETERS = (ROLE, BUCKET, IMAGE, GROUP, APPROVAL, SEED, CHAMPION, SERVING_IMAGE)
INGEST_PARAMETERS = (DATASET_URI, DATASET_VERSION, ANNOTATIONS_URI)
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
        max_parallel_steps: number of steps of an execution to run in parallel, which is set when the pipeline is
            created; None for the service's default.
    """

    data: Mapping[str, Any]
    max_parallel_steps: int | None = None

    def to_text(self) -> str:
        """Return the definition as indented JSON; equal for equal pipelines."""
        return json.dumps(self.data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_compact_text(self) -> str:
        """Return the definition as compact JSON, as it is submitted."""
        return json.dumps(self.data, separators=(",", ":"), allow_nan=False)


def compile_pipeline(
    request: RunRequest, settings: CompileSettings, *, dataset_digest: str = "", champion: str = ""
) -> Definition:
    """Return the definition of a use case's pipeline.

    Args:
        request: request of a run; its parameters and seed become the defaults.
        settings: settings of the account and the steps.
        dataset_digest: digest of the data set; without it, results of steps that read the data set are not reused.
        champion: digest of the best version's predictions in the bucket, for a gate that compares with them; without
            it, an execution must be started with the parameter `CHAMPION`.

    Raises:
        PipelineError: a name is reserved, or the configuration of a step is too large for the container's command.
        ConfigError: a secret would be written into the definition, or the settings do not fit the pipeline.
    """
    from mlops_core.runners import CodeIndex, read_settings

    _check_names(request, settings)
    check_request(request)
    _check_settings(request, settings)
    index = CodeIndex()
    context = JobContext(
        use_case=request.use_case.name,
        pipeline=request.pipeline,
        sections=request.config.sections(),
        code=_code(request, index),
        settings=settings,
        dataset_digest="" if settings.ingest.enabled else dataset_digest,
        dataset_place=_dataset_place(request),
    )
    data = {
        "Version": VERSION,
        "Metadata": {},
        "Parameters": [
            *_parameters(request, settings, champion=champion),
            *_ingest_parameters(request, settings, dataset_digest),
        ],
        "PipelineExperimentConfig": {"ExperimentName": ex.PIPELINE_NAME, "TrialName": ex.EXECUTION_ID},
        "Steps": list(_steps(request, context)),
    }
    check_definition_texts(data, read_settings().environ)
    return Definition(
        data=json.loads(json.dumps(data)),
        max_parallel_steps=settings.account.max_parallel_steps,
    )


def _dataset_place(request: RunRequest) -> str:
    """Return the address of data that are used in place; empty for a data set that is uploaded.

    Raises:
        ConfigError: it is the address of another store.
    """
    entry = request.dataset_choice().entry
    place = entry.place if entry is not None else ""
    if place and not place.startswith("s3://"):
        raise ConfigError(f"dataset.source.url: SageMaker reads data in place from S3 only, not from {place}")
    return place.rstrip("/") + "/" if place else ""


def _steps(request: RunRequest, context: JobContext) -> Iterator[dict[str, Any]]:
    if context.settings.ingest.enabled:
        yield ingest_step(context, retries=[dict(policy) for policy in RETRY_POLICIES])
    searches = {search.name: search for search in find_searches(request.pipeline)}
    for step in request.pipeline.ordered():
        if step.batch:
            model, transform = transform_steps(step, step.batch, context)
            yield from (_retried(model), _retried(_merged(transform, context.settings_of(step).raw)))
            continue
        if step.trial is not None:
            continue
        if step.name in searches:
            yield _merged(search_step(searches[step.name], context), context.settings_of(step).raw)
            continue
        for job in jobs_of(step, context):
            yield _merged(emit_job(job, context), context.settings_of(step).raw)
    yield condition_step(request, context)
    yield from context.settings.raw_steps


def _retried(step: dict[str, Any]) -> dict[str, Any]:
    return {
        **step,
        "RetryPolicies": [dict(policy) for policy in RETRY_POLICIES[: 1 if step["Type"] == "Model" else None]],
    }


def _code(request: RunRequest, index: CodeIndex) -> dict[str, str]:
    """Return the digest of the code of each step; a search has that of its trials."""
    steps = request.pipeline.steps
    code = {step.name: code_digest(request.use_case, step, code=index) for step in steps if not is_selection(step)}
    return code | {search.name: code[search.trials[0].name] for search in find_searches(request.pipeline)}


# --- Parameters -------------------------------------------------------------------------------------------


def _parameters(request: RunRequest, settings: CompileSettings, *, champion: str) -> Iterator[dict[str, Any]]:
    account = settings.account
    yield _text(ROLE, account.role)
    yield _text(BUCKET, account.bucket)
    yield _text(IMAGE, account.image)
    if any(step.batch for step in request.pipeline.steps):
        yield _text(SERVING_IMAGE, settings.inference.image)
    yield _text(GROUP, account.model_package_group or model_package_group(request.use_case.name))
    approvals = ["PendingManualApproval", "Approved", "Rejected"]
    yield _text(APPROVAL, account.approval_status) | {"EnumValues": approvals}
    yield {"Name": SEED, "Type": "Integer", "DefaultValue": request.seed}
    if request.pipeline.gate.needs_champion:
        yield _text(CHAMPION, champion or None)
    for parameter in request.pipeline.parameters:
        yield _declared(parameter, request.parameters[parameter.name])


def _ingest_parameters(request: RunRequest, settings: CompileSettings, digest: str) -> Iterator[dict[str, Any]]:
    if settings.ingest.enabled:
        yield from ingest_parameters(settings, dataset=request.pipeline.dataset, digest=digest)


def _text(name: str, default: str | None) -> dict[str, Any]:
    declaration = {"Name": name, "Type": "String"}
    return declaration if default is None else {**declaration, "DefaultValue": default}


def _declared(parameter: Parameter, value: ParameterValue) -> dict[str, Any]:
    return {"Name": parameter.name, "Type": _TYPES[parameter.type], "DefaultValue": value}


def model_package_group(use_case: str) -> str:
    """Return a use case's name in the form that the service accepts for groups: hyphens for underscores."""
    return "-".join(part for part in use_case.replace("_", "-").split("-") if part)


# --- After the evaluation ---------------------------------------------------------------------------------


def condition_step(request: RunRequest, context: JobContext) -> dict[str, Any]:
    """Return the gate: a Condition step that registers the model if every condition holds, and fails otherwise."""
    conditions = compile_gate(request.pipeline, evaluation=context.evaluation_job())
    arguments = {
        "Conditions": conditions,
        "IfSteps": [register_step(request, context)],
        "ElseSteps": [fail_step(context)],
    }
    waits = _unread_batches(request.pipeline)  # as a local run, whose verdict comes after all steps
    return {"Name": GATE_STEP, "Type": "Condition", **({"DependsOn": waits} if waits else {}), "Arguments": arguments}


def _unread_batches(pipeline: Pipeline) -> list[str]:
    """Return the batch predictions that the evaluation does not read."""
    read = pipeline.ancestors(pipeline.evaluation_step.name)
    return [step.name for step in pipeline.ordered() if step.batch and step.name not in read]


def fail_step(context: JobContext) -> dict[str, Any]:
    """Return the Fail step for a rejected model; its message is the verdict of the evaluation's container.

    A definition cannot express which of several clauses failed, so the message is a property of the evaluation's job.
    """
    message = ex.step_property(context.evaluation_job(), "ExitMessage")
    return {"Name": FAIL_STEP, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def register_step(request: RunRequest, context: JobContext) -> dict[str, Any]:
    """Return the RegisterModel step: a model package with its metrics, approval status and origin."""
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
            **(dataset_properties() if context.settings.ingest.enabled else {}),
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


# --- Checks -----------------------------------------------------------------------------------------------


def _check_names(request: RunRequest, settings: CompileSettings) -> None:
    pipeline = request.pipeline
    reserved = RESERVED_PARAMETERS + (INGEST_PARAMETERS if settings.ingest.enabled else ())
    for parameter in pipeline.parameters:
        if parameter.name in reserved:
            raise PipelineError(f"parameter '{parameter.name}' has a reserved name; reserved: {', '.join(reserved)}")
    names = {step.name for step in pipeline.steps}
    for step in pipeline.steps:
        if step.shards > 1 and f"{step.name}{MERGE_SUFFIX}" in names:
            raise PipelineError(
                f"step '{step.name}{MERGE_SUFFIX}': this name is reserved for the merge of '{step.name}'"
            )
        if len(step.name) + len(MERGE_SUFFIX) > 64 and step.shards > 1:
            raise PipelineError(
                f"step '{step.name}': with '{MERGE_SUFFIX}' for its merge, its name is longer than 64 characters"
            )
    for step in pipeline.steps:
        name = f"{step.name}{MODEL_SUFFIX}"
        if step.batch and (name in names or len(name) > 64):
            raise PipelineError(f"step '{step.name}': the name '{name}' of its model is taken or too long; rename one")
    if pipeline.gate.needs_champion and CHAMPION_INPUT in pipeline.evaluation_step.inputs:
        raise PipelineError(f"step '{pipeline.evaluation_step.name}': the input name '{CHAMPION_INPUT}' is reserved")
    if GATE_OUTPUT in pipeline.evaluation_step.outputs:
        raise PipelineError(f"step '{pipeline.evaluation_step.name}': the output name '{GATE_OUTPUT}' is reserved")


def _check_settings(request: RunRequest, settings: CompileSettings) -> None:
    if settings.ingest.enabled and any(step.name == INGEST_STEP for step in request.pipeline.steps):
        raise PipelineError(f"step '{INGEST_STEP}': this name is reserved for the step that ingests what arrived")
    earlier = request.dataset_choice().earlier_split if settings.ingest.enabled else None
    if earlier is not None:
        raise ConfigError(
            f"{earlier.keys[0]}: the earlier split of {earlier.train} cannot be joined to data that an execution "
            "ingests; expected ingest.enabled: false, or no earlier split"
        )
    steps = {step.name: step for step in request.pipeline.steps if step.trial is None}
    steps |= {search.name: search.trials[0] for search in find_searches(request.pipeline)}
    for name, overrides in settings.steps.items():
        if name not in steps:
            raise ConfigError(f"steps.{name}: unknown step{did_you_mean(name, steps) or ';'} steps: {', '.join(steps)}")
        step = steps[name]
        if (overrides.spot or overrides.checkpoints) and step.kind is not StepKind.TRAINING:
            raise ConfigError(f"steps.{name}: spot and checkpoints need a training step; its kind is {step.kind}")
        _check_sharded(step, overrides.sharded_inputs)


def _check_sharded(step: Step, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in step.inputs:
            raise ConfigError(
                f"steps.{step.name}.sharded_inputs: unknown input '{name}'{did_you_mean(name, step.inputs) or ';'} "
                f"inputs: {', '.join(step.inputs)}"
            )
    if names and (step.shards == 1 or step.merge or step.kind is StepKind.EVALUATION):
        raise ConfigError(
            f"steps.{step.name}.sharded_inputs: needs a step with shards and without a merge that is not the evaluation"
        )


def _merged(step: dict[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the step with `raw` merged over it; dicts are merged by key, all other values are replaced."""
    result = dict(step)
    for key, value in raw.items():
        current = result.get(key)
        result[key] = _merged(current, value) if isinstance(current, dict) and isinstance(value, dict) else value
    return result
