"""Executes Processing steps: downloads the inputs, runs the command on each instance, uploads the outputs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.jobs.common import (
    Host,
    JobPlace,
    JobResult,
    exit_message,
    fetch_input,
    job_name,
    make_hosts,
    make_order,
    run_hosts,
)
from mlops_sagemaker.emulator.objects import parse_uri, upload_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNATURE = ("AppSpecification", "Environment", "ProcessingInputs")
"""The arguments that identify a reusable result, as documented by the service."""


def run_processing(step: str, request: Mapping[str, Any], place: JobPlace) -> JobResult:
    """Execute a processing job.

    Args:
        step: name of the pipeline step.
        request: resolved arguments of ``CreateProcessingJob``.
        place: environment of the job.

    Raises:
        StepFault: the job failed.
        StepStopped: the execution was stopped.
    """
    name = job_name(place, step)
    cluster = (request.get("ProcessingResources") or {}).get("ClusterConfig") or {}
    outputs = list((request.get("ProcessingOutputConfig") or {}).get("Outputs") or ())
    arn = f"{place.arn_prefix}:processing-job/{name}"
    hosts = make_hosts(place, name=name, cluster=cluster)
    job = JobResult(
        properties={
            **request,
            "ProcessingJobName": name,
            "ProcessingJobArn": arn,
            "ProcessingJobStatus": "InProgress",
        },
        metadata={"ProcessingJob": {"Arn": arn}},
        logs=tuple(host.log.name for host in hosts),
    )
    place.announce(job)
    try:
        for host in hosts:
            _prepare(place, host, request, arn=arn, outputs=outputs)
        environment = dict(request.get("Environment") or {})
        job_environment = {"PROCESSING_JOB_ARN": arn, "PROCESSING_JOB_NAME": name}
        run_hosts(
            place,
            hosts,
            order=lambda host: make_order(
                place, host, command=_command(request), environment=job_environment | environment, request=request
            ),
        )
        for host in hosts:
            _upload(place, host, outputs)
        message = exit_message(hosts[0], "message")
    finally:
        shutil.rmtree(place.work / name, ignore_errors=True)
    return replace(job, properties={**job.properties, "ProcessingJobStatus": "Completed", "ExitMessage": message})


def _command(request: Mapping[str, Any]) -> list[Any]:
    specification = request.get("AppSpecification") or {}
    entry = specification.get("ContainerEntrypoint") or ()
    return [*entry, *(specification.get("ContainerArguments") or ())] if entry else []


def _prepare(
    place: JobPlace, host: Host, request: Mapping[str, Any], *, arn: str, outputs: list[Mapping[str, Any]]
) -> None:
    for data_input in request.get("ProcessingInputs") or ():
        if "S3Input" not in data_input:
            name = data_input.get("InputName")
            raise StepFault(FaultKind.CLIENT, f"input '{name}': only S3Input is supported here")
        source = data_input["S3Input"]
        fetch_input(place, host, source, folder=host.tree.folder(source["LocalPath"]))
    for output in outputs:
        host.tree.folder(output["S3Output"]["LocalPath"])
    host.tree.folder("/opt/ml/output")
    host.tree.write_json("/opt/ml/config/processingjobconfig.json", {"ProcessingJobArn": arn, **request})
    host.tree.write_json("/opt/ml/config/resourceconfig.json", host.resource_config)


def _upload(place: JobPlace, host: Host, outputs: list[Mapping[str, Any]]) -> None:
    for output in outputs:
        target = output["S3Output"]
        upload_folder(place.objects, host.tree.path(target["LocalPath"]), parse_uri(target["S3Uri"]))
