"""Executes Training steps: writes channels and hyperparameters, runs the containers, uploads ``model.tar.gz``."""

from __future__ import annotations

import re
import shutil
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.compiler.arguments import ARGUMENT, ENTRYPOINT, TRAIN
from mlops_sagemaker.emulator.jobs.common import (
    Host,
    JobPlace,
    JobResult,
    fetch_input,
    make_hosts,
    make_order,
    run_hosts,
    run_job,
)
from mlops_sagemaker.emulator.jobs.script_mode import hyperparameters_of, script_command, script_environment
from mlops_sagemaker.emulator.objects import download_prefix, parse_uri, upload_folder
from mlops_sagemaker.emulator.support import require_supported

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_sagemaker.emulator.jobs.containers import ContainerOrder
    from mlops_sagemaker.service.uris import S3Uri

SIGNATURE = (
    "AlgorithmSpecification",
    "CheckpointConfig",
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "Environment",
    "HyperParameters",
    "InputDataConfig",
)
"""The arguments that identify a reusable result, as documented by the service."""
_FOLDERS = ("/opt/ml/model", "/opt/ml/output/data", "/opt/ml/code", "/opt/ml/input/data")


def run_training(name: str, request: Mapping[str, Any], place: JobPlace) -> JobResult:
    """Execute a training job.

    Args:
        name: name of the job.
        request: resolved arguments of ``CreateTrainingJob``.
        place: environment of the job.

    Raises:
        StepFault: the job failed.
        StepStopped: the execution was stopped.
    """
    require_supported("Training", request)
    arn = f"{place.arn_prefix}:training-job/{name}"
    parse_uri((request.get("OutputDataConfig") or {}).get("S3OutputPath"))
    hosts = make_hosts(place, name=name, cluster=request.get("ResourceConfig") or {})
    job = JobResult(
        properties={**request, "TrainingJobName": name, "TrainingJobArn": arn, "TrainingJobStatus": "InProgress"},
        metadata={"TrainingJob": {"Arn": arn}},
        logs=tuple(host.log.name for host in hosts),
    )
    try:
        return run_job(place, "Training", job, body=lambda: _run(place, hosts, job))
    finally:
        shutil.rmtree(place.work / name, ignore_errors=True)


def _run(place: JobPlace, hosts: tuple[Host, ...], job: JobResult) -> JobResult:
    """Run the containers of the job between the download of its channels and the upload of its model."""
    request, output = job.properties, job.properties["OutputDataConfig"]
    for host in hosts:
        _prepare(place, host, request)
    _run_containers(place, hosts, request)
    prefix = parse_uri(output["S3OutputPath"]).join(request["TrainingJobName"], "output")
    upload = _upload_folders if output.get("CompressionType") == "NONE" else _upload_archives
    model, written = upload(place, hosts, prefix)
    result = {
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "ModelArtifacts": {"S3ModelArtifacts": model},
        "FinalMetricDataList": _metrics(request, [host.log for host in hosts]),
    }
    return replace(job, properties={**request, **result}, written=written)


def _run_containers(place: JobPlace, hosts: tuple[Host, ...], request: Mapping[str, Any]) -> None:
    """Run the containers of the job, and upload the checkpoints even if they fail."""
    name, arn = request["TrainingJobName"], request["TrainingJobArn"]
    commands = {host.name: _command(place, host, request) for host in hosts}

    def order(host: Host) -> ContainerOrder:
        environment = script_environment(host, request, name=name, arn=arn)
        return make_order(place, host, command=commands[host.name], environment=environment, request=request)

    try:
        run_hosts(place, hosts, order=order)
    finally:
        _keep_checkpoints(place, hosts, request)


def _prepare(place: JobPlace, host: Host, request: Mapping[str, Any]) -> None:
    for folder in _FOLDERS:
        host.tree.folder(folder)
    channels = {}
    for channel in request.get("InputDataConfig") or ():
        name = channel["ChannelName"]
        source = channel["DataSource"]["S3DataSource"]
        fetch_input(place, host, source, folder=host.tree.folder(f"/opt/ml/input/data/{name}"))
        channels[name] = {
            "TrainingInputMode": channel.get("InputMode", "File"),
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            "ContentType": channel.get("ContentType", ""),
        }
    configuration = "/opt/ml/input/config"
    host.tree.write_json(f"{configuration}/hyperparameters.json", hyperparameters_of(request))
    host.tree.write_json(f"{configuration}/inputdataconfig.json", channels)
    host.tree.write_json(f"{configuration}/resourceconfig.json", host.resource_config)
    checkpoints = _checkpoints(request)
    if checkpoints:
        uri, folder = checkpoints
        target = host.tree.folder(folder)
        if any(place.objects.keys(uri)):
            download_prefix(place.objects, uri, target)


def _checkpoints(request: Mapping[str, Any]) -> tuple[S3Uri, str] | None:
    """Return the S3 prefix of the checkpoints, which ends with ``/``, and their folder in the container."""
    config = request.get("CheckpointConfig") or {}
    if not config.get("S3Uri"):
        return None
    return parse_uri(f"{str(config['S3Uri']).rstrip('/')}/"), str(config.get("LocalPath", "/opt/ml/checkpoints"))


def _keep_checkpoints(place: JobPlace, hosts: Sequence[Host], request: Mapping[str, Any]) -> None:
    """Upload the checkpoints, also after a failure or a stop, so that the next training can resume from them."""
    checkpoints = _checkpoints(request)
    if checkpoints:
        uri, folder = checkpoints
        for host in hosts:
            upload_folder(place.objects, host.tree.path(folder), uri)


# --- The command ------------------------------------------------------------------------------------------


def _command(place: JobPlace, host: Host, request: Mapping[str, Any]) -> list[Any]:
    """Return entry point and arguments or, without an entry point, the command of the training toolkit."""
    specification = request.get("AlgorithmSpecification") or {}
    entry = specification.get("ContainerEntrypoint")
    if entry:
        return [*entry, *(specification.get("ContainerArguments") or ())]
    if any(name.startswith(ARGUMENT) for name in request.get("HyperParameters") or ()):
        return [*ENTRYPOINT, TRAIN]  # as the entry point of a step image starts it
    return script_command(place, host, request)


# --- Results ----------------------------------------------------------------------------------------------


def _upload_archives(place: JobPlace, hosts: Sequence[Host], prefix: S3Uri) -> tuple[str, tuple[str, ...]]:
    """Upload the models of all instances in one archive, and their other outputs in another.

    Returns:
        The URI of the model, and the URIs of everything that was written.
    """
    written = []
    for inside, name, is_needed in (("/opt/ml/model", "model", True), ("/opt/ml/output/data", "output", False)):
        folders = [host.tree.path(inside) for host in hosts]
        if not is_needed and not any(any(folder.iterdir()) for folder in folders):
            continue
        archive = hosts[0].tree.root / f"{name}.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for folder in folders:
                for path in sorted(folder.iterdir()):
                    tar.add(path, arcname=path.name)
        place.objects.upload(archive, prefix.join(archive.name))
        written.append(str(prefix.join(archive.name)))
    return written[0], tuple(written)


def _upload_folders(place: JobPlace, hosts: Sequence[Host], prefix: S3Uri) -> tuple[str, tuple[str, ...]]:
    """Upload the models of all instances and their other outputs as single objects.

    Returns:
        The prefix of the model, which ends with ``/``, and the prefixes below which files were written.
    """
    prefixes = {"/opt/ml/model": prefix.join("model"), "/opt/ml/output/data": prefix.join("data")}
    written = {
        f"{uri}/": None
        for host in hosts
        for inside, uri in prefixes.items()
        if upload_folder(place.objects, host.tree.path(inside), uri)
    }
    return f"{prefixes['/opt/ml/model']}/", tuple(written)


def _metrics(request: Mapping[str, Any], logs: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the last value of each declared metric in the logs."""
    text = "\n".join(log.read_text(encoding="utf-8", errors="replace") for log in logs if log.exists())
    metrics = []
    for definition in (request.get("AlgorithmSpecification") or {}).get("MetricDefinitions") or ():
        values = re.findall(definition["Regex"], text)
        last = values[-1] if values else None
        last = next((group for group in last if group), None) if isinstance(last, tuple) else last
        try:
            if last is not None:
                metrics.append({"MetricName": definition["Name"], "Value": float(last)})
        except ValueError:
            continue
    return metrics
