"""Writes a batch-prediction step as a Model step and a Transform step, which starts the model's serving image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mlops_core import PipelineError
from mlops_sagemaker.compiler import expressions as ex
from mlops_sagemaker.compiler.job_graph import MODEL_SUFFIX, ROLE, SERVING_IMAGE
from mlops_sagemaker.machines import instance_type, machines

if TYPE_CHECKING:
    from mlops_core import BatchPrediction, Step
    from mlops_sagemaker.compiler.job_graph import JobContext

FILES = "files"
"""Last part of the URI of an output, as for all steps."""
_STRATEGIES = {"single": "SingleRecord", "multi": "MultiRecord"}
_CHOICES = {"none": "None", "line": "Line"}


def transform_steps(step: Step, batch: BatchPrediction, context: JobContext) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the steps of a definition for a batch prediction.

    Raises:
        PipelineError: the service could not read the model or the data.
    """
    return _model_step(step, context), _transform_step(step, batch, context)


def _model_step(step: Step, context: JobContext) -> dict[str, Any]:
    account = context.settings.account
    source = context.source(step.inputs["model"])
    container: dict[str, Any] = {
        "Image": ex.parameter(SERVING_IMAGE),
        "Environment": {"USECASE_NAME": context.use_case},
    }
    if source.packed == "":
        container["ModelDataUrl"] = source.uri
    elif source.packed is None:
        folder = {"S3Uri": ex.join("/", source.uri, ""), "S3DataType": "S3Prefix", "CompressionType": "None"}
        container["ModelDataSource"] = {"S3DataSource": folder}
    else:
        raise PipelineError(_packed(step, "model", step.inputs["model"]))
    arguments: dict[str, Any] = {"ExecutionRoleArn": ex.parameter(ROLE), "PrimaryContainer": container}
    if account.network_isolation:
        arguments["EnableNetworkIsolation"] = True
    if account.subnets:
        arguments["VpcConfig"] = {"SecurityGroupIds": list(account.security_groups), "Subnets": list(account.subnets)}
    if account.tags:
        arguments["Tags"] = _tags(context)
    return {"Name": f"{step.name}{MODEL_SUFFIX}", "Type": "Model", "Arguments": arguments}


def _transform_step(step: Step, batch: BatchPrediction, context: JobContext) -> dict[str, Any]:
    account, overrides = context.settings.account, context.settings_of(step)
    source = context.source(step.inputs["data"])
    if source.packed is not None:
        raise PipelineError(_packed(step, "data", step.inputs["data"]))
    output: dict[str, Any] = {
        "S3OutputPath": context.result_uri(step.name, *step.outputs, FILES),
        "Accept": batch.accept,
        "AssembleWith": _CHOICES[batch.assemble],
    }
    if account.kms_key:
        output["KmsKeyId"] = account.kms_key
    kind = instance_type(step, overrides)
    machine: dict[str, Any] = {"InstanceType": kind, "InstanceCount": 1}
    if account.volume_kms_key:
        machine["VolumeKmsKeyId"] = account.volume_kms_key
    arguments: dict[str, Any] = {
        "ModelName": ex.step_property(f"{step.name}{MODEL_SUFFIX}", "ModelName"),
        "MaxConcurrentTransforms": batch.max_concurrent,
        "MaxPayloadInMB": batch.max_payload_mb,
        "ModelClientConfig": {
            "InvocationsTimeoutInSeconds": batch.timeout_s,
            "InvocationsMaxRetries": batch.retries,
        },
        "Environment": _environment(batch, kind) | dict(overrides.environment),
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": ex.join("/", source.uri, "")}},
            "ContentType": batch.content_type,
            "CompressionType": "None",
            "SplitType": _CHOICES[batch.split],
        },
        "TransformOutput": output,
        "TransformResources": machine,
    }
    if batch.split != "none":  # the service has no strategy without records
        arguments["BatchStrategy"] = _STRATEGIES[batch.strategy]
    if account.tags:
        arguments["Tags"] = _tags(context)
    return {"Name": step.name, "Type": "Transform", "Arguments": arguments}


def _environment(batch: BatchPrediction, kind: str) -> dict[str, str]:
    """Return what the serving image reads: it would else give up before the service does.

    There is at most one worker per core of the machine, since each holds a copy of the model. The image sees to that
    where the machine is not in our table.
    """
    cores = next((int(machine.cpus) for machine in machines() if machine.name == kind), batch.max_concurrent)
    return {
        "SAGEMAKER_MODEL_SERVER_TIMEOUT": str(math.ceil(batch.timeout_s)),
        "SAGEMAKER_MODEL_SERVER_WORKERS": str(min(batch.max_concurrent, cores)),
    }


def _tags(context: JobContext) -> list[dict[str, str]]:
    tags = context.settings.account.tags
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def _packed(step: Step, name: str, reference: str) -> str:
    return (
        f"step '{step.name}': its {name} '{reference}' is a folder in the archive of a training job, which a batch "
        "prediction cannot read; let a processing step write it"
    )
