"""Processing steps: inputs to ``/opt/ml/processing``, the command on each instance, outputs back to S3."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.jobs.common import (
    Host,
    JobPlace,
    JobResult,
    fetch_input,
    job_name,
    left_message,
    make_hosts,
    make_order,
    run_hosts,
)
from mlops_sagemaker.emulator.objects import parse_uri, upload_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNATURE = ("AppSpecification", "Environment", "ProcessingInputs")
"""The arguments that decide whether a former result may be taken; the service documents these."""


def run_processing(step: str, request: Mapping[str, Any], place: JobPlace) -> JobResult:
    """Execute one processing job.

    Args:
        step: name of the pipeline step.
        request: the arguments of ``CreateProcessingJob``, resolved.
        place: where it happens.

    Raises:
        StepFault: it failed.
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
        message = left_message(hosts[0], "message")
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
    for given in request.get("ProcessingInputs") or ():
        if "S3Input" not in given:
            raise StepFault(FaultKind.CLIENT, f"input '{given.get('InputName')}': only S3Input can be executed here")
        source = given["S3Input"]
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
