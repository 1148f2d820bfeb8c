"""Executes Processing steps: downloads the inputs, runs the command on each instance, uploads the outputs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.jobs.common import (
    Host,
    JobPlace,
    JobResult,
    exit_message,
    fetch_input,
    make_hosts,
    make_order,
    run_hosts,
    run_job,
)
from mlops_sagemaker.emulator.objects import parse_uri, upload_folder
from mlops_sagemaker.emulator.support import require_supported

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNATURE = ("AppSpecification", "Environment", "ProcessingInputs")
"""The arguments that identify a reusable result, as documented by the service."""


def run_processing(name: str, request: Mapping[str, Any], place: JobPlace) -> JobResult:
    """Execute a processing job.

    Args:
        name: name of the job.
        request: resolved arguments of ``CreateProcessingJob``.
        place: environment of the job.

    Raises:
        StepFault: the job failed.
        StepStopped: the execution was stopped.
    """
    require_supported("Processing", request)
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
    try:
        return run_job(place, "Processing", job, body=lambda: _run(place, hosts, job, outputs=outputs))
    finally:
        shutil.rmtree(place.work / name, ignore_errors=True)


def _run(place: JobPlace, hosts: tuple[Host, ...], job: JobResult, *, outputs: list[Mapping[str, Any]]) -> JobResult:
    """Run the containers of the job between the download of its inputs and the upload of its outputs."""
    request, name, arn = job.properties, job.properties["ProcessingJobName"], job.properties["ProcessingJobArn"]
    for host in hosts:
        _prepare(place, host, request, arn=arn, outputs=outputs)
    environment = {"PROCESSING_JOB_ARN": arn, "PROCESSING_JOB_NAME": name, **(request.get("Environment") or {})}
    run_hosts(
        place,
        hosts,
        order=lambda host: make_order(place, host, command=_command(request), environment=environment, request=request),
    )
    written = tuple(dict.fromkeys(uri for host in hosts for uri in _upload(place, host, outputs)))
    message = exit_message(hosts[0], "message")
    properties = {**request, "ProcessingJobStatus": "Completed", "ExitMessage": message}
    return replace(job, properties=properties, written=written)


def _command(request: Mapping[str, Any]) -> list[Any]:
    specification = request.get("AppSpecification") or {}
    entry = specification.get("ContainerEntrypoint") or ()
    return [*entry, *(specification.get("ContainerArguments") or ())] if entry else []


def _prepare(
    place: JobPlace, host: Host, request: Mapping[str, Any], *, arn: str, outputs: list[Mapping[str, Any]]
) -> None:
    for data_input in request.get("ProcessingInputs") or ():
        source = data_input["S3Input"]
        fetch_input(place, host, source, folder=host.tree.folder(source["LocalPath"]))
    for output in outputs:
        host.tree.folder(output["S3Output"]["LocalPath"])
    host.tree.folder("/opt/ml/output")
    host.tree.write_json("/opt/ml/config/processingjobconfig.json", {"ProcessingJobArn": arn, **request})
    host.tree.write_json("/opt/ml/config/resourceconfig.json", host.resource_config)


def _upload(place: JobPlace, host: Host, outputs: list[Mapping[str, Any]]) -> list[str]:
    """Upload the outputs of an instance and return the prefixes below which it wrote files."""
    written = []
    for output in outputs:
        target = output["S3Output"]
        if upload_folder(place.objects, host.tree.path(target["LocalPath"]), parse_uri(target["S3Uri"])):
            written.append(str(target["S3Uri"]))
    return written
