"""Executes Training steps: writes channels and hyperparameters, runs the containers, uploads ``model.tar.gz``."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.jobs.common import (
    Host,
    JobPlace,
    JobResult,
    fetch_input,
    job_name,
    make_hosts,
    make_order,
    run_hosts,
)
from mlops_sagemaker.emulator.objects import download_prefix, parse_uri, upload_folder

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
_TOOLKIT = "sagemaker_"
_FOLDERS = ("/opt/ml/model", "/opt/ml/output/data", "/opt/ml/code", "/opt/ml/input/data")


def run_training(step: str, request: Mapping[str, Any], place: JobPlace) -> JobResult:
    """Execute a training job.

    Args:
        step: name of the pipeline step.
        request: resolved arguments of ``CreateTrainingJob``.
        place: environment of the job.

    Raises:
        StepFault: the job failed.
        StepStopped: the execution was stopped.
    """
    name = job_name(place, step)
    arn = f"{place.arn_prefix}:training-job/{name}"
    output = parse_uri((request.get("OutputDataConfig") or {}).get("S3OutputPath"))
    hosts = make_hosts(place, name=name, cluster=request.get("ResourceConfig") or {})
    job = JobResult(
        properties={**request, "TrainingJobName": name, "TrainingJobArn": arn, "TrainingJobStatus": "InProgress"},
        metadata={"TrainingJob": {"Arn": arn}},
        logs=tuple(host.log.name for host in hosts),
    )
    place.announce(job)
    try:
        for host in hosts:
            _prepare(place, host, request)
        _run_containers(place, hosts, job.properties)
        model = output.join(name, "output", "model.tar.gz")
        _upload(place, hosts, model=model, data=output.join(name, "output", "output.tar.gz"))
    finally:
        shutil.rmtree(place.work / name, ignore_errors=True)
    result = {
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "ModelArtifacts": {"S3ModelArtifacts": str(model)},
        "FinalMetricDataList": _metrics(request, [host.log for host in hosts]),
    }
    return replace(job, properties={**job.properties, **result})


def _run_containers(place: JobPlace, hosts: tuple[Host, ...], request: Mapping[str, Any]) -> None:
    """Run the containers of the job, and upload the checkpoints even if they fail."""
    name, arn = request["TrainingJobName"], request["TrainingJobArn"]
    commands = {host.name: _command(place, host, request) for host in hosts}

    def order(host: Host) -> ContainerOrder:
        environment = _environment(host, request, name=name, arn=arn)
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
        source = (channel.get("DataSource") or {}).get("S3DataSource")
        if source is None:
            raise StepFault(FaultKind.CLIENT, f"channel '{name}': only S3DataSource is supported here")
        fetch_input(place, host, source, folder=host.tree.folder(f"/opt/ml/input/data/{name}"))
        channels[name] = {
            "TrainingInputMode": channel.get("InputMode", "File"),
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            "ContentType": channel.get("ContentType", ""),
        }
    configuration = "/opt/ml/input/config"
    host.tree.write_json(f"{configuration}/hyperparameters.json", _hyperparameters(request))
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


def _hyperparameters(request: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in (request.get("HyperParameters") or {}).items()}


def _plain(text: str) -> Any:
    """Return the value of a hyperparameter, which the training toolkit encodes as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# --- The command ------------------------------------------------------------------------------------------


def _command(place: JobPlace, host: Host, request: Mapping[str, Any]) -> list[Any]:
    """Return entry point and arguments or, without an entry point, the command of the training toolkit."""
    specification = request.get("AlgorithmSpecification") or {}
    entry = specification.get("ContainerEntrypoint")
    if entry:
        return [*entry, *(specification.get("ContainerArguments") or ())]
    hyperparameters = {name: _plain(text) for name, text in _hyperparameters(request).items()}
    program = hyperparameters.get(f"{_TOOLKIT}program")
    if not program:
        return []
    source = hyperparameters.get(f"{_TOOLKIT}submit_directory")
    if source and str(source).startswith("s3://"):
        _unpack(place, host, parse_uri(source))
    arguments = []
    for name, value in hyperparameters.items():
        if not name.startswith(_TOOLKIT):
            arguments += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return ["python3", f"/opt/ml/code/{program}", *arguments]


def _unpack(place: JobPlace, host: Host, source: S3Uri) -> None:
    archive = host.tree.path("/opt/ml/input/source.tar.gz")
    place.objects.download(source, archive)
    with tarfile.open(archive) as tar:
        tar.extractall(host.tree.folder("/opt/ml/code"), filter="data")


def _environment(host: Host, request: Mapping[str, Any], *, name: str, arn: str) -> dict[str, str]:
    """Return the environment variables of the service and of the training toolkit."""
    hyperparameters = {
        name: _plain(text) for name, text in _hyperparameters(request).items() if not name.startswith(_TOOLKIT)
    }
    channels = {
        c["ChannelName"]: f"/opt/ml/input/data/{c['ChannelName']}" for c in request.get("InputDataConfig") or ()
    }
    variables = {
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": arn,
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_OUTPUT_DIR": "/opt/ml/output",
        "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
        "SM_INPUT_DIR": "/opt/ml/input",
        "SM_INPUT_CONFIG_DIR": "/opt/ml/input/config",
        "SM_CHANNELS": json.dumps(sorted(channels)),
        "SM_HPS": json.dumps(hyperparameters, sort_keys=True),
        "SM_HOSTS": json.dumps(list(host.names)),
        "SM_CURRENT_HOST": host.name,
        "SM_NUM_GPUS": "0",
        "SM_NUM_CPUS": str(os.cpu_count() or 1),
    }
    variables |= {f"SM_CHANNEL_{channel.upper()}": path for channel, path in channels.items()}
    variables |= {f"SM_HP_{key.upper()}": _as_text(value) for key, value in hyperparameters.items()}
    return variables | {key: str(value) for key, value in (request.get("Environment") or {}).items()}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# --- Results ----------------------------------------------------------------------------------------------


def _upload(place: JobPlace, hosts: Sequence[Host], *, model: S3Uri, data: S3Uri) -> None:
    """Upload the models of all instances in one archive, and their other outputs in another."""
    for inside, uri, is_needed in (("/opt/ml/model", model, True), ("/opt/ml/output/data", data, False)):
        folders = [host.tree.path(inside) for host in hosts]
        if not is_needed and not any(any(folder.iterdir()) for folder in folders):
            continue
        archive = hosts[0].tree.root / uri.key.rpartition("/")[2]
        with tarfile.open(archive, "w:gz") as tar:
            for folder in folders:
                for path in sorted(folder.iterdir()):
                    tar.add(path, arcname=path.name)
        place.objects.upload(archive, uri)


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
