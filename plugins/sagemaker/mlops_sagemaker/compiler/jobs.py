"""Writes the jobs of a definition as Processing and Training steps.

`mlops_sagemaker.compiler.job_graph` determines the jobs and their inputs; `mlops_sagemaker.compiler.definition` writes
the gate and the registration.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_core import DATASET, StepKind
from mlops_core.runners.container.request import GATE_OUTPUT, ContainerRequest, GateRequest, Part
from mlops_sagemaker.compiler import expressions as ex
from mlops_sagemaker.compiler.arguments import COMMAND, ENTRYPOINT, to_arguments
from mlops_sagemaker.compiler.gates import PROPERTY_FILE, gate_parameters
from mlops_sagemaker.compiler.job_graph import IMAGE, ROLE, SEED, Job, JobContext
from mlops_sagemaker.layout import Layout
from mlops_sagemaker.machines import instance_type

if TYPE_CHECKING:
    from mlops_core import Step
    from mlops_sagemaker.compiler.arguments import ArgumentLimits

_FILES = "files"
"""Last part of the URI of an output: an input is a *prefix* of keys, and ``model`` would match ``model-card`` too."""
_MARGIN_S = 900
"""Time for transfers and for waits between attempts; the limit of a job must not end a step before its own timeout."""
_LONGEST = {Layout.PROCESSING: 777_600, Layout.TRAINING: 2_419_200}
_INPUTS = "/opt/ml/processing/input"
_OUTPUTS = "/opt/ml/processing/output"
RETRY_POLICIES = (
    {
        "ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"],
        "IntervalSeconds": 5,
        "BackoffRate": 2.0,
        "MaxAttempts": 6,
    },
    {
        "ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"],
        "IntervalSeconds": 60,
        "BackoffRate": 2.0,
        "MaxAttempts": 5,
    },
)
"""Policies for failures of the service; failures of a step are retried in its container."""


def emit_job(job: Job, context: JobContext) -> dict[str, Any]:
    """Return the step of a definition for a job."""
    emit = training_step if job.layout is Layout.TRAINING else processing_step
    step = emit(job, context)
    if is_cached(job, context):
        step["CacheConfig"] = {"Enabled": True, "ExpireAfter": context.settings.account.cache_duration}
    step["RetryPolicies"] = [dict(policy) for policy in RETRY_POLICIES]
    return step


def processing_step(job: Job, context: JobContext) -> dict[str, Any]:
    """Return a Processing step, with the arguments of CreateProcessingJob."""
    account, overrides = context.settings.account, context.settings_of(job.step)
    outputs: dict[str, Any] = {"Outputs": [_processing_output(job, output, context) for output in job.outputs]}
    if account.kms_key:
        outputs["KmsKeyId"] = account.kms_key
    arguments: dict[str, Any] = {
        "ProcessingResources": {"ClusterConfig": _cluster(job, context)},
        "AppSpecification": {
            "ImageUri": ex.parameter(IMAGE),
            "ContainerEntrypoint": list(ENTRYPOINT),
            "ContainerArguments": job_arguments(job, context),
        },
        "RoleArn": ex.parameter(ROLE),
        "ProcessingInputs": [_processing_input(job, name, context) for name in job.sources],
        "ProcessingOutputConfig": outputs,
        "StoppingCondition": {"MaxRuntimeInSeconds": _longest_s(job, context)},
    }
    if overrides.environment:
        arguments["Environment"] = dict(overrides.environment)
    network = _network(context)
    if network:
        arguments["NetworkConfig"] = network
    _add_tags(arguments, context)
    step: dict[str, Any] = {"Name": job.name, "Type": "Processing", "Arguments": arguments}
    if job.has_verdict:
        step["PropertyFiles"] = [
            {"PropertyFileName": PROPERTY_FILE, "OutputName": GATE_OUTPUT, "FilePath": "evaluation.json"}
        ]
    return step


def training_step(job: Job, context: JobContext) -> dict[str, Any]:
    """Return a Training step, with the arguments of CreateTrainingJob."""
    command = {"ContainerEntrypoint": list(ENTRYPOINT), "ContainerArguments": job_arguments(job, context)}
    return {"Name": job.name, "Type": "Training", "Arguments": training_arguments(job, context, command=command)}


def training_arguments(job: Job, context: JobContext, *, command: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of CreateTrainingJob; `command` is that of the container."""
    account, overrides = context.settings.account, context.settings_of(job.step)
    algorithm: dict[str, Any] = {
        "TrainingImage": ex.parameter(IMAGE),
        "TrainingInputMode": "File",
        **command,
    }
    metrics = [
        {"Name": m.job_name, "Regex": m.log_regex} for m in context.pipeline.metrics if m.job_name and m.log_regex
    ]
    if metrics:
        algorithm["MetricDefinitions"] = metrics
    output: dict[str, Any] = {"S3OutputPath": context.result_uri(job.name)}
    if account.kms_key:
        output["KmsKeyId"] = account.kms_key
    arguments: dict[str, Any] = {
        "AlgorithmSpecification": algorithm,
        "OutputDataConfig": output,
        "StoppingCondition": {"MaxRuntimeInSeconds": _longest_s(job, context)},
        "ResourceConfig": _cluster(job, context),
        "RoleArn": ex.parameter(ROLE),
        "InputDataConfig": [_channel(job, name, context) for name in job.sources],
    }
    if overrides.environment:
        arguments["Environment"] = dict(overrides.environment)
    arguments |= _network(context) | _spot(job, context)
    _add_tags(arguments, context)
    return arguments


# --- Inputs and outputs -----------------------------------------------------------------------------------


def _processing_input(job: Job, name: str, context: JobContext) -> dict[str, Any]:
    return {
        "InputName": name,
        "AppManaged": False,
        "S3Input": {
            "S3Uri": job.sources[name].uri,
            "LocalPath": f"{_INPUTS}/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": _distribution(job, name, context),
            "S3CompressionType": "None",
        },
    }


def _channel(job: Job, name: str, context: JobContext) -> dict[str, Any]:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": job.sources[name].uri,
        "S3DataDistributionType": _distribution(job, name, context),
    }
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": source},
        "CompressionType": "None",
        "InputMode": "File",
    }


def _distribution(job: Job, name: str, context: JobContext) -> str:
    is_sharded = job.part is Part.SHARD and name in context.settings_of(job.step).sharded_inputs
    return "ShardedByS3Key" if is_sharded else "FullyReplicated"


def _processing_output(job: Job, output: str, context: JobContext) -> dict[str, Any]:
    return {
        "OutputName": output,
        "AppManaged": False,
        "S3Output": {
            "S3Uri": context.result_uri(job.name, output, _FILES),
            "LocalPath": f"{_OUTPUTS}/{output}",
            "S3UploadMode": "EndOfJob",
        },
    }


# --- The container's command ------------------------------------------------------------------------------


def job_arguments(job: Job, context: JobContext, *, limits: ArgumentLimits = COMMAND) -> list[Any]:
    """Return the arguments of a container's command, as texts and expressions."""
    request = _request(job, context)
    names = [each.name for each in (*request.parameters, *(request.gate.parameters if request.gate else ()))]
    return to_arguments(
        request,
        code=context.code[job.step.name],
        seed=ex.parameter(SEED),
        values={name: ex.parameter(name) for name in names},
        dataset_digest=context.dataset_digest if DATASET in job.step.inputs.values() else "",
        limits=limits,
    )


def _request(job: Job, context: JobContext) -> ContainerRequest:
    pipeline, step = context.pipeline, job.step
    parameters = {each.name: each for each in pipeline.parameters}
    gate = None
    if job.has_verdict:
        gate = GateRequest(gate=pipeline.gate, parameters=gate_parameters(pipeline), licences=pipeline.licences)
    return ContainerRequest(
        use_case=context.use_case,
        layout=job.layout,
        part=job.part,
        step=_timed(step, context),
        config={name: context.sections[name] for name in step.config},
        parameters=tuple(parameters[name] for name in step.parameters),
        model_output=context.model_output(step) if job.layout is Layout.TRAINING else "",
        packed={name: source.packed for name, source in job.sources.items() if source.packed is not None},
        sharded_inputs=context.settings_of(step).sharded_inputs if job.part is Part.SHARD else (),
        is_trained=pipeline.is_trained,
        metrics=pipeline.metrics if step.kind is StepKind.EVALUATION or step.tuning else (),
        gate=gate,
    )


def _timed(step: Step, context: JobContext) -> Step:
    """Return the step with the timeout of the settings, which the container enforces and the job's limit includes."""
    timeout_s = context.settings_of(step).timeout_s
    return replace(step, resources=replace(step.resources, timeout_s=float(timeout_s))) if timeout_s else step


# --- Machines ---------------------------------------------------------------------------------------------


def _cluster(job: Job, context: JobContext) -> dict[str, Any]:
    overrides, resources = context.settings_of(job.step), job.step.resources
    cluster: dict[str, Any] = {
        "InstanceCount": job.instances,
        "InstanceType": instance_type(job.step, overrides),
        "VolumeSizeInGB": overrides.volume_gb or resources.disk_gb,
    }
    if context.settings.account.volume_kms_key:
        cluster["VolumeKmsKeyId"] = context.settings.account.volume_kms_key
    return cluster


def _longest_s(job: Job, context: JobContext) -> int:
    resources = _timed(job.step, context).resources
    longest_s = math.ceil(resources.timeout_s * (resources.retries + 1)) + _MARGIN_S
    return min(longest_s, _LONGEST[job.layout])


def _spot(job: Job, context: JobContext) -> dict[str, Any]:
    overrides = context.settings_of(job.step)
    arguments: dict[str, Any] = {}
    if overrides.spot:
        longest_s = _longest_s(job, context)
        wait_s = max(longest_s, overrides.max_wait_s or 2 * longest_s)
        arguments["EnableManagedSpotTraining"] = True
        arguments["StoppingCondition"] = {"MaxRuntimeInSeconds": longest_s, "MaxWaitTimeInSeconds": wait_s}
    if overrides.checkpoints:
        uri = context.result_uri(job.name, "checkpoints")
        arguments["CheckpointConfig"] = {"S3Uri": uri, "LocalPath": "/opt/ml/checkpoints"}
    return arguments


def _network(context: JobContext) -> dict[str, Any]:
    account = context.settings.account
    arguments: dict[str, Any] = {}
    if account.encrypt_traffic:
        arguments["EnableInterContainerTrafficEncryption"] = True
    if account.network_isolation:
        arguments["EnableNetworkIsolation"] = True
    if account.subnets:
        arguments["VpcConfig"] = {"SecurityGroupIds": list(account.security_groups), "Subnets": list(account.subnets)}
    return arguments


def _add_tags(arguments: dict[str, Any], context: JobContext) -> None:
    tags = context.settings.account.tags
    if tags:
        arguments["Tags"] = [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def is_cached(job: Job, context: JobContext) -> bool:
    """Return whether the service may reuse results; it compares URIs, so data sets are only cached by digest."""
    if not (context.settings.account.cache_duration and context.settings_of(job.step).cache):
        return False
    return bool(context.dataset_digest) or DATASET not in job.step.inputs.values()
