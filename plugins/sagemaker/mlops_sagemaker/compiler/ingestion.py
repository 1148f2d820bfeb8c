"""The step ``ingest``: a Processing step that makes the data set of an execution from what has arrived in S3.

It is never reused, because the objects behind an address change. Its exit message is the digest of the data set, so
that the model package names the data that the model was trained on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.compiler import expressions as ex
from mlops_sagemaker.compiler.arguments import CONTAINER_ROOT, ENTRYPOINT, INGEST
from mlops_sagemaker.compiler.job_graph import IMAGE, INGEST_OUTPUT, INGEST_STEP, ROLE, JobContext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_sagemaker.settings import CompileSettings

DATASET_URI, DATASET_VERSION, ANNOTATIONS_URI = "DatasetUri", "DatasetVersion", "AnnotationsUri"
REPORT_OUTPUT = "report"
UNKNOWN_VERSION = "unknown"
"""`DATASET_VERSION` of an execution whose starter does not say which version it means."""
_INPUT, _OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"
_LIMIT_S = 86_400


def ingest_parameters(settings: CompileSettings, *, dataset: str, digest: str) -> Iterator[dict[str, Any]]:
    """Yield the parameters of a definition with the step.

    Args:
        settings: of the account and the step.
        dataset: name of the data set.
        digest: of the data set that `mlops run` has uploaded; empty if there is none.
    """
    bucket, ingest = settings.account.bucket, settings.ingest
    uploaded = f"s3://{bucket}/train/datasets/{dataset}/" if bucket else None
    uri = ingest.dataset_uri or uploaded
    yield {"Name": DATASET_URI, "Type": "String", **({"DefaultValue": uri} if uri else {})}
    version = digest if uri == uploaded and digest else UNKNOWN_VERSION
    yield {"Name": DATASET_VERSION, "Type": "String", "DefaultValue": version}
    if ingest.annotations_uri:
        yield {"Name": ANNOTATIONS_URI, "Type": "String", "DefaultValue": ingest.annotations_uri}


def ingest_step(context: JobContext, *, retries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the step, with the arguments of CreateProcessingJob."""
    account, ingest = context.settings.account, context.settings.ingest
    inputs = [_input("source", DATASET_URI)]
    if ingest.annotations_uri:
        inputs.append(_input("annotations", ANNOTATIONS_URI))
    outputs: dict[str, Any] = {"Outputs": [_output(name, context) for name in (INGEST_OUTPUT, REPORT_OUTPUT)]}
    if account.kms_key:
        outputs["KmsKeyId"] = account.kms_key
    cluster: dict[str, Any] = {
        "InstanceCount": 1,
        "InstanceType": ingest.instance_type,
        "VolumeSizeInGB": ingest.volume_gb,
    }
    if account.volume_kms_key:
        cluster["VolumeKmsKeyId"] = account.volume_kms_key
    arguments: dict[str, Any] = {
        "ProcessingResources": {"ClusterConfig": cluster},
        "AppSpecification": {
            "ImageUri": ex.parameter(IMAGE),
            "ContainerEntrypoint": list(ENTRYPOINT),
            "ContainerArguments": _arguments(context),
        },
        "RoleArn": ex.parameter(ROLE),
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": outputs,
        "StoppingCondition": {"MaxRuntimeInSeconds": _LIMIT_S},
    }
    if account.tags:
        arguments["Tags"] = [{"Key": key, "Value": value} for key, value in sorted(account.tags.items())]
    return {"Name": INGEST_STEP, "Type": "Processing", "Arguments": arguments, "RetryPolicies": retries}


def _arguments(context: JobContext) -> list[Any]:
    ingest = context.settings.ingest
    arguments: list[Any] = [
        INGEST,
        f"--root={CONTAINER_ROOT}",
        ex.join("", "--uri=", ex.parameter(DATASET_URI)),
        ex.join("", "--version=", ex.parameter(DATASET_VERSION)),
    ]
    if ingest.labels:
        table = ingest.labels
        arguments.append(f"--labels={json.dumps([table.file, table.sample, table.label])}")
    return arguments


def _input(name: str, parameter: str) -> dict[str, Any]:
    return {
        "InputName": name,
        "AppManaged": False,
        "S3Input": {
            "S3Uri": ex.parameter(parameter),
            "LocalPath": f"{_INPUT}/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        },
    }


def _output(name: str, context: JobContext) -> dict[str, Any]:
    return {
        "OutputName": name,
        "AppManaged": False,
        "S3Output": {
            "S3Uri": context.result_uri(INGEST_STEP, name, "files"),
            "LocalPath": f"{_OUTPUT}/{name}",
            "S3UploadMode": "EndOfJob",
        },
    }


def dataset_properties() -> dict[str, Any]:
    """Return the properties of a model package that say which data its model was trained on."""
    return {
        "dataset_digest": ex.step_property(INGEST_STEP, "ExitMessage"),
        "dataset_uri": ex.parameter(DATASET_URI),
        "dataset_version": ex.parameter(DATASET_VERSION),
    }
